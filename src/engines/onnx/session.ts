import { Worker } from "node:worker_threads";
import type { Positions } from "./architectures/encoder.ts";
import { unusable } from "./checkpoint.ts";
import type { PoolingMode } from "./pooling.ts";

/** What a session's thread is started with. */
export interface SessionOptions {
  /** The ONNX model. */
  readonly model: Uint8Array<ArrayBuffer>;
  /** Where the files of its weights lie. */
  readonly folder: string;
  readonly threads: number;
  readonly positions: Positions;
  readonly pooling: readonly PoolingMode[];
}

/** Rows of tokens, packed one after the other. */
export interface SessionRequest {
  readonly ids: Int32Array<ArrayBuffer>;
  readonly lengths: Int32Array<ArrayBuffer>;
  /** How many tokens of each row are of the first type; absent where the graph knows no types. */
  readonly firsts?: Int32Array<ArrayBuffer> | undefined;
}

export type SessionReply =
  | { readonly ready: true }
  | { readonly vectors: Float32Array<ArrayBuffer> }
  | { readonly error: string };

/** An ONNX Runtime session on a thread of its own. */
export interface Session extends AsyncDisposable {
  /** The vectors of a batch, row by row. One run at a time; it can't be stopped. Throws where the runtime does. */
  run(request: SessionRequest): Promise<Float32Array<ArrayBuffer>>;
}

const entry = new URL(`./session-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

/** Starts the thread and loads the model. Throws `model_unavailable` where the runtime refuses it. */
export async function openSession(options: SessionOptions): Promise<Session> {
  const thread = new Worker(entry, { workerData: options, transferList: [options.model.buffer] });
  try {
    await nextReply(thread);
  } catch (error) {
    await thread.terminate();
    throw unusable("ONNX Runtime refuses the model; the log says why", error);
  }
  // Without its thread the process is of no use: this ends it.
  thread.on("error", (error) => {
    throw error;
  });
  return {
    async run(request) {
      const replied = nextReply(thread);
      thread.postMessage(request, [request.ids.buffer, request.lengths.buffer]);
      const reply = await replied;
      if ("vectors" in reply) return reply.vectors;
      throw new Error(`ONNX Runtime: ${"error" in reply ? reply.error : "no answer"}`);
    },
    async [Symbol.asyncDispose]() {
      await thread.terminate();
    },
  };
}

/** The thread's next message; throws what ended it. */
function nextReply(thread: Worker): Promise<SessionReply> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void) => {
      thread.off("message", onMessage).off("error", onError).off("exit", onExit);
      end();
    };
    const onMessage = (reply: SessionReply) => settle(() => resolve(reply));
    const onError = (error: unknown) => settle(() => reject(error));
    const onExit = () => settle(() => reject(new Error("the session's thread has ended")));
    thread.once("message", onMessage).once("error", onError).once("exit", onExit);
  });
}
