import { checkLimits } from "../rest/limits.ts";

/**
 * The bounds of the server, all in one place. Each has a default that suits
 * one machine behind no proxy or behind a common load balancer.
 */
export interface ServerLimits {
  /**
   * Connections at a time; one more is closed at once. Default 10,000, but never
   * above three quarters of the files that the process may open.
   */
  readonly maxConnections: number;
  /** The same from one address; 0 for no such limit, as behind a proxy. Default 0. */
  readonly maxConnectionsPerAddress: number;
  /** TLS: time for the handshake. Default 10 s. */
  readonly tlsHandshakeTimeoutMs: number;
  /** TLS: how often the files of certificate, key and client CA are looked at. Default 5 s. */
  readonly tlsCheckMs: number;
  /** A new connection that has not said which HTTP version it speaks is closed, as is one of HTTP/2 that has not sent its settings. Default 10 s. */
  readonly firstByteTimeoutMs: number;
  /** HTTP/1.1: time for the whole header to arrive, then 408. Default 20 s. */
  readonly headersTimeoutMs: number;
  /** HTTP/1.1: time for header and body to arrive, then 408. Default 5 min. */
  readonly requestTimeoutMs: number;
  /** Both HTTP versions: time for the body of a call that takes one message, then 408 or DEADLINE_EXCEEDED. Default 2 min. */
  readonly bodyTimeoutMs: number;
  /** HTTP/1.1: idle time between two requests. Above the 60 s of common load balancers. Default 65 s. */
  readonly keepAliveTimeoutMs: number;
  /** HTTP/2: a connection without a stream for this long is closed (GOAWAY). Default 5 min. */
  readonly http2IdleTimeoutMs: number;
  /** HTTP/2: a connection on which nothing has come for this long gets a PING. Default 1 min. */
  readonly http2PingIntervalMs: number;
  /** HTTP/2: a client that has not answered a PING by then is gone. Default 20 s. */
  readonly http2PingTimeoutMs: number;
  /** Both HTTP versions: size of a request's header, above that 431. Default 16 KiB. */
  readonly maxHeaderBytes: number;
  /** Both HTTP versions: fields of a request's header, above that 431. Default 100. */
  readonly maxHeaderFields: number;
  /** Requests at a time on one connection. HTTP/2 clients queue the rest; HTTP/1.1 pipelining beyond it closes the connection. Default 100. */
  readonly maxConcurrentStreams: number;
  /** HTTP/2: streams a second that may end by a reset, beyond a burst of ten times as many; above that GOAWAY. Default 100. */
  readonly http2ResetsPerSecond: number;
  /** HTTP/2: the same for SETTINGS, and for PINGs while the client is sent nothing else. Default 50. */
  readonly http2ControlFramesPerSecond: number;
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
  /** A client that takes nothing of a response for this long is cut off. Default 1 min. */
  readonly stallMs: number;
  /** How long calls in flight may go on after the server was told to stop. Default 30 s. */
  readonly drainMs: number;
  /** How long, after that, the errors that end the rest may take to be sent. Default 2 s. */
  readonly flushMs: number;
}

const mebibyte = 1 << 20;

export const defaultLimits: ServerLimits = {
  maxConnections: 10_000,
  maxConnectionsPerAddress: 0,
  tlsHandshakeTimeoutMs: 10_000,
  tlsCheckMs: 5_000,
  firstByteTimeoutMs: 10_000,
  headersTimeoutMs: 20_000,
  requestTimeoutMs: 300_000,
  bodyTimeoutMs: 120_000,
  keepAliveTimeoutMs: 65_000,
  http2IdleTimeoutMs: 300_000,
  http2PingIntervalMs: 60_000,
  http2PingTimeoutMs: 20_000,
  maxHeaderBytes: 16 * 1024,
  maxHeaderFields: 100,
  maxConcurrentStreams: 100,
  http2ResetsPerSecond: 100,
  http2ControlFramesPerSecond: 50,
  streamWindowBytes: mebibyte,
  connectionWindowBytes: 4 * mebibyte,
  maxRequestBytes: 64 * mebibyte,
  maxResponseBytes: 256 * mebibyte,
  maxTimeoutMs: 3_600_000,
  stallMs: 60_000,
  drainMs: 30_000,
  flushMs: 2_000,
};

const mayBeZero: ReadonlySet<string> = new Set(["maxConnectionsPerAddress", "drainMs", "flushMs"]);

/** The defaults with some of them replaced. Throws RangeError for a limit that is no sane number. */
export function serverLimits(overrides: Partial<ServerLimits> = {}): ServerLimits {
  const limits = { ...defaultLimits, ...overrides };
  checkLimits(limits, (name) => (mayBeZero.has(name) ? 0 : 1));
  return limits;
}
