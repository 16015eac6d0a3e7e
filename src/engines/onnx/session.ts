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
  /** Runs first where there is one; the model takes what comes out of it as its input `hidden`. */
  readonly exported?: ExportedGraph | undefined;
}

/** A graph that somebody exported: it takes rows padded to one length. */
export interface ExportedGraph {
  readonly model: Uint8Array<ArrayBuffer>;
  /** Where the files of its external data lie. */
  readonly folder: string;
  readonly inputs: readonly ExportedInput[];
  readonly output: ExportedOutput;
  /** The token that rows are padded with. */
  readonly padding: number;
}

export interface ExportedInput {
  readonly name: "input_ids" | "attention_mask" | "token_type_ids" | "position_ids";
  readonly type: "int32" | "int64";
}

export interface ExportedOutput {
  readonly name: string;
  /** Hidden states, `[rows, longest, width]`, or vectors, `[rows, width]`. */
  readonly kind: "hidden" | "vectors";
  readonly width: number;
}

/** Rows of tokens, packed one after the other. */
export interface SessionRequest {
  readonly ids: Int32Array<ArrayBuffer>;
  readonly lengths: Int32Array<ArrayBuffer>;
  /** How many tokens of each row are of the first type; absent where the graph knows no types. */
  readonly firsts?: Int32Array<ArrayBuffer> | undefined;
  /** Outputs of the graph beside `vectors` that are wanted, by name. */
  readonly more?: readonly string[];
}

export type SessionReply =
  | { readonly ready: true }
  | { readonly vectors: Float32Array<ArrayBuffer>; readonly more: readonly Float32Array<ArrayBuffer>[] }
  | { readonly error: string };

/** An ONNX Runtime session on a thread of its own. */
export interface Session extends AsyncDisposable {
  /**
   * The vectors of a batch, row by row. One run at a time; it can't be stopped:
   * onnxruntime-node runs synchronously, and ignores `terminate` of the options
   * of a run. Throws where the runtime does.
   */
  run(request: SessionRequest): Promise<Float32Array<ArrayBuffer>>;
  /** Likewise, with the outputs of `more`, in its order. */
  runMore(request: SessionRequest): Promise<Extract<SessionReply, { vectors: unknown }>>;
}

const entry = new URL(`./session-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

/**
 * Starts the thread and loads the model. Throws `model_unavailable` where the
 * runtime refuses it, or what was exported doesn't take two rows as it should.
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  const models = [options.model.buffer, ...(options.exported === undefined ? [] : [options.exported.model.buffer])];
  const thread = new Worker(entry, { workerData: options, transferList: models });
  try {
    const reply = await nextReply(thread);
    if ("error" in reply) throw new Error(reply.error);
  } catch (error) {
    await thread.terminate();
    throw unusable("ONNX Runtime refuses the model; the log says why", error);
  }
  if (options.exported !== undefined) await tryOut(thread);
  // Without its thread the process is of no use: this ends it.
  thread.on("error", (error) => {
    throw error;
  });
  async function runMore(request: SessionRequest) {
    const replied = nextReply(thread);
    thread.postMessage(request, [request.ids.buffer, request.lengths.buffer]);
    const reply = await replied;
    if ("vectors" in reply) return reply;
    throw new Error(`ONNX Runtime: ${"error" in reply ? reply.error : "no answer"}`);
  }

  return {
    run: async (request) => (await runMore(request)).vectors,
    runMore,
    async [Symbol.asyncDispose]() {
      await thread.terminate();
    },
  };
}

/** How long two rows may take, of which any model computes thousands a minute. */
const tryOutMs = 60_000;

/** Lets it compute two rows of different lengths. Throws `model_unavailable` where it can't, or not in time. */
async function tryOut(thread: Worker): Promise<void> {
  const replied = nextReply(thread);
  thread.postMessage({ ids: Int32Array.of(0, 0, 0), lengths: Int32Array.of(2, 1) } satisfies SessionRequest);
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<SessionReply>((resolve) => {
    timer = setTimeout(() => resolve({ error: `no answer within ${tryOutMs / 1000} seconds` }), tryOutMs);
  });
  try {
    const reply = await Promise.race([replied, timeout]);
    if (!("error" in reply)) return;
    // Not awaited: a run can't be stopped.
    void thread.terminate();
    throw unusable(`the exported graph can't be run: ${reply.error.slice(0, 500)}`);
  } finally {
    clearTimeout(timer);
  }
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
