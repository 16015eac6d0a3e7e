import { connect } from "node:net";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  CallSchema,
  type Complete,
  CompleteSchema,
  type Failure,
  FailureSchema,
  type Progress,
  ProgressSchema,
} from "../../../gen/loqui/worker/v1/worker_pb.ts";
import { createFrameReader, type Frame, FrameKind, writeFrames } from "../../worker/frames.ts";

/** The connection ended before the call did: the worker is gone, or has lost its way. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  /** Whether the worker can have seen the call. */
  readonly connected: boolean;

  constructor(connected: boolean, cause?: unknown) {
    super("the connection to the worker was lost", { cause });
    this.connected = connected;
  }
}

/** What a worker sends: how far the call is, encoded response messages, then how it ended. */
export type Reply =
  | { readonly case: "progress"; readonly value: Progress }
  | { readonly case: "message"; readonly value: Uint8Array }
  | { readonly case: "failure"; readonly value: Failure }
  | { readonly case: "complete"; readonly value: Complete };

/** Bytes of replies that wait to be taken, above which the socket isn't read on. */
const maxWaitingBytes = 64 * 1024;

/** What sockets are read into, one after the other: a frame's payload is copied out of it. Large ones are read where they belong. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * Sends a call on a connection of its own and yields the worker's replies up
 * to and including the last one. Leaving the loop early closes the connection,
 * which cancels the call. Throws the signal's reason when it is aborted and
 * {@link ConnectionLost} when the worker goes away.
 *
 * An iterator and a socket without a stream's machinery: it runs once a token,
 * beside a decode that wants every core.
 */
export function callWorker(
  socketPath: string,
  call: MessageInitShape<typeof CallSchema>,
  signal: AbortSignal,
): AsyncIterableIterator<Reply, void, undefined> {
  signal.throwIfAborted();
  const waiting: { readonly reply: Reply; readonly bytes: number }[] = [];
  let waitingBytes = 0;
  let taker: PromiseWithResolvers<IteratorResult<Reply, void>> | undefined;
  /** Why nothing comes any more; thrown once what waits is taken, an abort's reason at once. */
  let end: { readonly error: unknown } | undefined;
  let connected = false;
  let paused = false;
  let failure: unknown;

  const reader = createFrameReader((frame) => {
    const reply = replyOf(frame);
    if (taker === undefined) {
      waiting.push({ reply, bytes: frame.payload.length });
      waitingBytes += frame.payload.length;
    } else {
      taker.resolve({ value: reply, done: false });
      taker = undefined;
    }
  });
  const socket = connect({
    path: socketPath,
    onread: {
      buffer: () => reader.missing ?? readBuffer,
      callback(length, buffer) {
        try {
          reader.push(Buffer.from(buffer.buffer, buffer.byteOffset, length));
        } catch (error) {
          socket.destroy(error as Error);
        }
        paused = waitingBytes > maxWaitingBytes;
        return !paused;
      },
    },
  });
  socket.on("connect", () => {
    connected = true;
  });
  socket.on("error", (error) => {
    failure = error;
  });
  socket.on("close", () => {
    // Not after each call: an error costs its stack.
    if (end === undefined) finish(new ConnectionLost(connected, failure));
  });
  const onAbort = () => {
    waiting.length = 0;
    finish(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });

  function finish(error: unknown): void {
    end ??= { error };
    signal.removeEventListener("abort", onAbort);
    socket.destroy();
    taker?.reject(end.error);
    taker = undefined;
  }

  writeFrames(socket, [{ kind: FrameKind.call, payload: toBinary(CallSchema, create(CallSchema, call)) }]);
  return {
    next() {
      const first = waiting.shift();
      if (first !== undefined) {
        const { reply, bytes } = first;
        waitingBytes -= bytes;
        if (paused && waiting.length === 0) {
          paused = false;
          socket.resume();
        }
        return Promise.resolve({ value: reply, done: false });
      }
      if (end !== undefined) return Promise.reject(end.error);
      taker = Promise.withResolvers();
      return taker.promise;
    },
    return() {
      finish(undefined);
      return Promise.resolve({ value: undefined, done: true });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function replyOf({ kind, payload }: Frame): Reply {
  switch (kind) {
    case FrameKind.message:
      return { case: "message", value: payload };
    case FrameKind.progress:
      return { case: "progress", value: fromBinary(ProgressSchema, payload) };
    case FrameKind.failure:
      return { case: "failure", value: fromBinary(FailureSchema, payload) };
    case FrameKind.complete:
      return { case: "complete", value: fromBinary(CompleteSchema, payload) };
    default:
      throw new RangeError("a worker sends no calls");
  }
}
