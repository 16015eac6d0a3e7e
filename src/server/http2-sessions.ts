import { constants, type ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import type { RejectSink } from "../telemetry/rejections.ts";
import type { ServerLimits } from "./limits.ts";
import { createRate } from "./rate.ts";

/** How long a client may take to close the connection, once it was told to go. */
const closingMs = 1_000;

/** The receipt of a PING: the largest frame that goes out in answer to a client that only asks. */
const receiptBytes = 17;

/** The open HTTP/2 connections. Ends those that are idle, dead or a flood. */
export interface Http2Sessions {
  /** A new connection, over this socket. */
  add(session: ServerHttp2Session, socket: Socket): void;
  /** Sends GOAWAY on each; they close when their last stream has ended. */
  stop(): void;
  /** Closes each, whatever is in flight. */
  destroy(): void;
}

export function createHttp2Sessions(limits: ServerLimits, onRejected: RejectSink): Http2Sessions {
  const sessions = new Map<ServerHttp2Session, Socket>();

  return {
    add(session, socket) {
      sessions.set(session, socket);
      session.once("close", () => sessions.delete(session));
      // The stream window alone leaves the connection's at 64 KiB: nodejs/node#31084.
      session.setLocalWindowSize(limits.connectionWindowBytes);
      let calmed = false;
      session.once("error", () => {
        if (!calmed) onRejected("http2_error");
      });
      limitFloods(session, socket, limits, () => {
        if (session.destroyed) return;
        calmed = true;
        onRejected("http2_flood");
        // RFC 9113, section 10.5; nghttp2's own limits would say INTERNAL_ERROR.
        end(session, socket, new Error("the client floods the connection"), constants.NGHTTP2_ENHANCE_YOUR_CALM);
      });
      closeWhenIdle(session, socket, limits, () => onRejected("first_byte_timeout"));
      closeWhenDead(session, socket, limits, () => onRejected("dead_peer"));
    },
    stop() {
      for (const session of sessions.keys()) session.close();
    },
    destroy() {
      // Not in an event of a stream: a session destroyed there loses the trailers that nghttp2 has made and Node not sent.
      setImmediate(() => {
        for (const [session, socket] of sessions) end(session, socket);
      });
    },
  };
}

/** Destroys a session, and its socket too where the client doesn't close it: Node would wait for that without end. */
function end(session: ServerHttp2Session, socket: Socket, error?: Error, code?: number): void {
  session.destroy(error, code);
  const timer = setTimeout(() => socket.destroy(), closingMs);
  socket.once("close", () => clearTimeout(timer));
}

/**
 * Streams that end by a reset, the client's (CVE-2023-44487) or one that it
 * provoked (CVE-2025-8671), and control frames come at a bounded rate. A PING counts only while the client is
 * sent nothing else: one for each window of data is how gRPC measures the
 * connection.
 */
function limitFloods(session: ServerHttp2Session, socket: Socket, limits: ServerLimits, onFlood: () => void): void {
  const resets = createRate(limits.http2ResetsPerSecond, 10 * limits.http2ResetsPerSecond);
  const controls = createRate(limits.http2ControlFramesPerSecond, 10 * limits.http2ControlFramesPerSecond);
  session.on("stream", (stream) => {
    stream.once("close", () => {
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR && !resets()) onFlood();
    });
  });
  let written = 0;
  session.on("ping", () => {
    const idle = socket.bytesWritten - written <= receiptBytes;
    written = socket.bytesWritten;
    if (idle && !controls()) onFlood();
  });
  session.on("remoteSettings", () => {
    if (!controls()) onFlood();
  });
}

/** Closes a session that says no SETTINGS after its preface, and later one without a stream. */
function closeWhenIdle(session: ServerHttp2Session, socket: Socket, limits: ServerLimits, onSilent: () => void): void {
  let streams = 0;
  let timer = setTimeout(() => {
    onSilent();
    end(session, socket);
  }, limits.firstByteTimeoutMs);

  function rest(): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      session.close();
      // It would stay for a client that takes no GOAWAY.
      timer = setTimeout(() => end(session, socket), closingMs);
    }, limits.http2IdleTimeoutMs);
  }

  session.once("remoteSettings", () => {
    if (streams === 0) rest();
  });
  session.on("stream", (stream) => {
    streams += 1;
    clearTimeout(timer);
    stream.once("close", () => {
      streams -= 1;
      if (streams === 0 && !session.destroyed) rest();
    });
  });
  session.once("close", () => clearTimeout(timer));
}

/** Asks a client from which nothing has come for a while whether it is still there. */
function closeWhenDead(session: ServerHttp2Session, socket: Socket, limits: ServerLimits, onDead: () => void): void {
  let read = -1;
  let waiting: NodeJS.Timeout | undefined;
  const timer = setInterval(() => {
    const quiet = socket.bytesRead === read;
    read = socket.bytesRead;
    if (!quiet || waiting !== undefined || session.destroyed) return;
    waiting = setTimeout(() => {
      onDead();
      end(session, socket);
    }, limits.http2PingTimeoutMs);
    session.ping(() => {
      clearTimeout(waiting);
      waiting = undefined;
    });
  }, limits.http2PingIntervalMs);
  session.once("close", () => {
    clearInterval(timer);
    clearTimeout(waiting);
  });
}
