import { checkLimits } from "../rest/limits.ts";

/**
 * The bounds of the server, all in one place. Each has a default that suits
 * one machine behind no proxy or behind a common load balancer.
 */
export interface ServerLimits {
  /** A new connection that has not said which HTTP version it speaks is closed. Default 10 s. */
  readonly firstByteTimeoutMs: number;
  /** HTTP/1.1: time for the whole header to arrive, then 408. Default 20 s. */
  readonly headersTimeoutMs: number;
  /** HTTP/1.1: time for header and body to arrive, then 408. Default 5 min. */
  readonly requestTimeoutMs: number;
  /** HTTP/1.1: idle time between two requests. Above the 60 s of common load balancers. Default 65 s. */
  readonly keepAliveTimeoutMs: number;
  /** Both HTTP versions: size of a request's header. Default 16 KiB. */
  readonly maxHeaderBytes: number;
  /** HTTP/2: requests at a time on one connection; clients queue the rest. Default 100. */
  readonly maxConcurrentStreams: number;
  /** HTTP/2: bytes that a client may send on one stream before they are read. Default 1 MiB. */
  readonly streamWindowBytes: number;
  /** HTTP/2: the same for all streams of a connection together. Default 4 MiB. */
  readonly connectionWindowBytes: number;
  /** Size of one request message, after decompression. Default 64 MiB. */
  readonly maxRequestBytes: number;
  /** Size of one response message. Default 256 MiB. */
  readonly maxResponseBytes: number;
  /** The longest that a call may take; a client's shorter deadline wins. Default 1 h. */
  readonly maxTimeoutMs: number;
  /** How long calls in flight may go on after the server was told to stop. Default 30 s. */
  readonly drainMs: number;
  /** How long, after that, the errors that end the rest may take to be sent. Default 2 s. */
  readonly flushMs: number;
}

const mebibyte = 1 << 20;

export const defaultLimits: ServerLimits = {
  firstByteTimeoutMs: 10_000,
  headersTimeoutMs: 20_000,
  requestTimeoutMs: 300_000,
  keepAliveTimeoutMs: 65_000,
  maxHeaderBytes: 16 * 1024,
  maxConcurrentStreams: 100,
  streamWindowBytes: mebibyte,
  connectionWindowBytes: 4 * mebibyte,
  maxRequestBytes: 64 * mebibyte,
  maxResponseBytes: 256 * mebibyte,
  maxTimeoutMs: 3_600_000,
  drainMs: 30_000,
  flushMs: 2_000,
};

/** The defaults with some of them replaced. Throws RangeError for a limit that is no sane number. */
export function serverLimits(overrides: Partial<ServerLimits> = {}): ServerLimits {
  const limits = { ...defaultLimits, ...overrides };
  checkLimits(limits, (name) => (name === "drainMs" || name === "flushMs" ? 0 : 1));
  return limits;
}
