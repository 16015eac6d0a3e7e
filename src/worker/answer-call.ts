import type { Socket } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Call, CallSchema, CompleteSchema, type Reply, ReplySchema } from "../../gen/loqui/worker/v1/worker_pb.ts";
import { LoquiError, toLoquiError } from "../errors.ts";
import { encodeFailure } from "./failure.ts";
import { createFrameReader, writeFrames } from "./frames.ts";
import type { CallResult, WorkerMethods } from "./method.ts";

/**
 * Answers the one call of a connection. Closing the connection before the last
 * frame cancels the call, and so does its deadline.
 */
export function answerCall(socket: Socket, methods: WorkerMethods): void {
  const controller = new AbortController();
  let called = false;
  const reader = createFrameReader((payload) => {
    if (called) throw new RangeError("a connection carries one call");
    called = true;
    void answer(socket, fromBinary(CallSchema, payload), methods, controller);
  });
  socket.on("data", (bytes) => {
    try {
      reader.push(bytes);
    } catch (error) {
      console.error("a call that can't be read:", error);
      socket.destroy();
    }
  });
  socket.on("close", () => controller.abort(new LoquiError("cancelled", "the client left")));
  // A broken connection is closed next.
  socket.on("error", () => {});
}

async function answer(socket: Socket, call: Call, methods: WorkerMethods, controller: AbortController): Promise<void> {
  const { timeoutMs } = call;
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => controller.abort(new LoquiError("timeout", "the deadline has passed")), timeoutMs);
  const outbox = createOutbox(socket);
  try {
    const { last, totals } = await runMethod(outbox, call, methods, controller.signal);
    const complete = create(CompleteSchema, {
      promptTokens: totals.promptTokens,
      cachedTokens: totals.cachedTokens,
      completionTokens: totals.completionTokens,
      queueMs: totals.queueMs,
      firstTokenMs: totals.firstTokenMs,
    });
    outbox.close([...last.map(messageFrame), frame({ case: "complete", value: complete })]);
  } catch (reason) {
    const error = toLoquiError(reason);
    if (error.kind === "internal") console.error(`request ${call.requestId}:`, error.cause ?? error);
    outbox.close([frame({ case: "failure", value: encodeFailure(error) })]);
  } finally {
    clearTimeout(timer);
    socket.end();
  }
}

/** The frames of a call on their way out, in order. */
interface Outbox {
  add(frames: readonly Uint8Array[]): void;
  /** Sends what is left and these, the last ones. */
  close(frames: readonly Uint8Array[]): void;
}

/**
 * Holds frames back to the end of this turn of the event loop. A token is
 * handed out in the turn in which the next decode is started: that comes first,
 * and writing to sockets and waking their readers goes on beside it.
 */
function createOutbox(socket: Socket): Outbox {
  let waiting: Uint8Array[] = [];
  function flush(): void {
    if (waiting.length > 0 && !socket.destroyed) writeFrames(socket, waiting);
    waiting = [];
  }
  return {
    add(frames) {
      if (waiting.length === 0) setImmediate(flush);
      waiting.push(...frames);
    },
    close(frames) {
      waiting.push(...frames);
      flush();
    },
  };
}

async function runMethod(outbox: Outbox, call: Call, methods: WorkerMethods, signal: AbortSignal): Promise<CallResult> {
  const method = methods.get(call.method);
  if (method === undefined) throw new LoquiError("unimplemented", `this model does not answer ${call.method}`);
  return method(call.request, {
    requestId: call.requestId,
    tenant: call.tenant,
    signal,
    send: (...messages) => outbox.add(messages.map(messageFrame)),
  });
}

function messageFrame(message: Uint8Array): Uint8Array {
  return frame({ case: "message", value: message });
}

function frame(reply: Reply["reply"]): Uint8Array {
  return toBinary(ReplySchema, create(ReplySchema, { reply }));
}
