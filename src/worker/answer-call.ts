import type { Socket } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Call,
  CallSchema,
  CompleteSchema,
  FailureSchema,
  ProgressSchema,
} from "../../gen/loqui/worker/v1/worker_pb.ts";
import { LoquiError, toLoquiError } from "../errors.ts";
import { encodeFailure } from "./failure.ts";
import { createFrameReader, FrameKind, type OutgoingFrame, type Parts, writeFrames } from "./frames.ts";
import type { CallResult, WorkerMethods } from "./method.ts";
import type { Pace } from "./pace.ts";
import type { WorkCounter } from "./pulse.ts";

/** Writes to the worker's standard error what went wrong where; the front logs it. */
export type Complain = (where: string, error: unknown) => void;

/**
 * Answers the one call of a connection. Closing the connection before the last
 * frame cancels the call, and so does its deadline. The first and
 * the last messages are sent at once, the others at the worker's pace.
 */
export function answerCall(
  socket: Socket,
  methods: WorkerMethods,
  pace: Pace,
  work: WorkCounter,
  complain: Complain,
): void {
  const controller = new AbortController();
  let called = false;
  const reader = createFrameReader(({ kind, payload }) => {
    if (called || kind !== FrameKind.call) throw new RangeError("a connection carries one call");
    called = true;
    const call = fromBinary(CallSchema, payload);
    void work.count(() =>
      answer(
        createOutbox(socket, pace, (error) => controller.abort(error)),
        call,
        methods,
        controller,
        complain,
      ),
    );
  });
  socket.on("data", (bytes) => {
    try {
      reader.push(bytes);
    } catch (error) {
      complain("a call that can't be read", error);
      socket.destroy();
    }
  });
  socket.on("close", () => controller.abort(new LoquiError("cancelled", "the client left")));
  // A broken connection is closed next.
  socket.on("error", () => {});
}

async function answer(
  outbox: Outbox,
  call: Call,
  methods: WorkerMethods,
  controller: AbortController,
  complain: Complain,
): Promise<void> {
  const { timeoutMs } = call;
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => controller.abort(new LoquiError("timeout", "the deadline has passed")), timeoutMs);
  try {
    const { last, totals } = await runMethod(outbox, call, methods, controller.signal);
    const complete = create(CompleteSchema, {
      ...(totals !== undefined && {
        totals: {
          promptTokens: totals.promptTokens,
          cachedTokens: totals.cachedTokens,
          completionTokens: totals.completionTokens,
          queueMs: totals.queueMs,
          firstTokenMs: totals.firstTokenMs,
          generationMs: totals.generationMs,
        },
      }),
    });
    outbox.close([
      ...last.map(messageFrame),
      { kind: FrameKind.complete, payload: toBinary(CompleteSchema, complete) },
    ]);
  } catch (reason) {
    const error = toLoquiError(reason);
    if (error.kind === "internal") complain(`request ${call.requestId}`, error.cause ?? error);
    outbox.close([{ kind: FrameKind.failure, payload: toBinary(FailureSchema, encodeFailure(error)) }]);
  } finally {
    clearTimeout(timer);
  }
}

/** The frames of a call on their way out, in order. */
interface Outbox {
  /** Frames, or what makes them when they leave. */
  add(frames: readonly OutgoingFrame[] | (() => readonly OutgoingFrame[])): void;
  /** Sends what is left and these, the last ones. */
  close(frames: readonly OutgoingFrame[]): void;
}

/** What the front may leave unread of an answer, in bytes, before the generation is ended: about a hundred thousand tokens of text. */
const maxOutboxBytes = 16 * 1024 * 1024;

/** How often the front is told what a call has taken. */
const progressMs = 1_000;

/** `onFull` is told why nothing should be added any more. */
function createOutbox(socket: Socket, pace: Pace, onFull: (reason: LoquiError) => void): Outbox {
  let waiting: Parameters<Outbox["add"]>[0][] = [];
  let begun = false;
  function flush(): void {
    const frames = waiting.flatMap((part) => (typeof part === "function" ? part() : part));
    if (frames.length > 0 && !socket.destroyed) writeFrames(socket, frames);
    waiting = [];
    if (socket.writableLength > maxOutboxBytes) {
      const message = `more than ${maxOutboxBytes} bytes of the answer wait to be read`;
      onFull(new LoquiError("cancelled", message, { code: "stalled" }));
    }
  }
  return {
    add(frames) {
      if (waiting.length === 0) {
        if (begun) pace.join(flush);
        else setImmediate(flush);
      }
      begun = true;
      waiting.push(frames);
    },
    close(frames) {
      waiting.push(frames);
      flush();
      socket.end();
    },
  };
}

async function runMethod(outbox: Outbox, call: Call, methods: WorkerMethods, signal: AbortSignal): Promise<CallResult> {
  const method = methods.get(call.method);
  if (method === undefined) throw new LoquiError("unimplemented", `this model does not answer ${call.method}`);
  let toldAt = Number.NEGATIVE_INFINITY;
  return method(call.request, {
    requestId: call.requestId,
    tenant: call.tenant,
    signal,
    progress(totals) {
      const now = performance.now();
      if (now - toldAt < progressMs) return;
      toldAt = now;
      const payload = toBinary(ProgressSchema, create(ProgressSchema, totals));
      outbox.add([{ kind: FrameKind.progress, payload }]);
    },
    send: (...messages) => outbox.add(messages.map(messageFrame)),
    sendComposed: (compose) => outbox.add(() => compose().map(messageFrame)),
  });
}

function messageFrame(payload: Parts): OutgoingFrame {
  return { kind: FrameKind.message, payload };
}
