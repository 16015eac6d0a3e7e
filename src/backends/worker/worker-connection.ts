import { connect } from "node:net";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { CallSchema, type Reply, ReplySchema } from "../../../gen/loqui/worker/v1/worker_pb.ts";
import { createFrameReader, writeFrames } from "../../worker/frames.ts";

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

/** Replies that wait to be taken, above which the socket isn't read on. */
const maxWaiting = 64;

/**
 * Sends a call on a connection of its own and yields the worker's replies up
 * to and including the last one. Leaving the loop early closes the connection,
 * which cancels the call. Throws the signal's reason when it is aborted and
 * {@link ConnectionLost} when the worker goes away.
 */
export async function* callWorker(
  socketPath: string,
  call: MessageInitShape<typeof CallSchema>,
  signal: AbortSignal,
): AsyncGenerator<Reply["reply"], void, undefined> {
  signal.throwIfAborted();
  const waiting: Reply["reply"][] = [];
  let wake: () => void = () => {};
  let connected = false;
  let closed = false;
  let failure: unknown;

  const socket = connect(socketPath);
  const reader = createFrameReader((payload) => waiting.push(fromBinary(ReplySchema, payload).reply));
  socket.on("connect", () => {
    connected = true;
  });
  socket.on("data", (bytes) => {
    try {
      reader.push(bytes);
    } catch (error) {
      socket.destroy(error as Error);
    }
    if (waiting.length > maxWaiting) socket.pause();
    wake();
  });
  socket.on("error", (error) => {
    failure = error;
  });
  socket.on("close", () => {
    closed = true;
    wake();
  });
  const onAbort = () => {
    socket.destroy();
    wake();
  };
  signal.addEventListener("abort", onAbort, { once: true });

  try {
    writeFrames(socket, [toBinary(CallSchema, create(CallSchema, call))]);
    for (;;) {
      signal.throwIfAborted();
      const reply = waiting.shift();
      if (reply !== undefined) {
        if (waiting.length === 0 && socket.isPaused()) socket.resume();
        yield reply;
        if (reply.case === "complete" || reply.case === "failure") return;
      } else if (closed) {
        throw new ConnectionLost(connected, failure);
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    socket.destroy();
  }
}
