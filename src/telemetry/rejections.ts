import type { ErrorKind } from "../errors.ts";
import type { Protocol } from "../request-context.ts";

/** Why a connection was closed, or a request refused, before any handler saw it. */
export type ConnectionRejectReason =
  /** As many connections are open as there may be. */
  | "connection_limit"
  /** As many from one address as there may be. */
  | "address_limit"
  /** The TLS handshake failed, or took too long. */
  | "tls_handshake"
  /** Nothing, or a part of HTTP/2's preface and settings, came in time. */
  | "first_byte_timeout"
  /** 408: HTTP/1.1's header or body took too long. */
  | "request_timeout"
  /** 431: more fields or bytes than a header may have. */
  | "header_too_large"
  /** 400: no HTTP/1.1, or such that it can be understood in two ways. */
  | "bad_http"
  /** More requests on one HTTP/1.1 connection than may wait for their responses. */
  | "pipelining_limit"
  /** HTTP/2: an error of the protocol. */
  | "http2_error"
  /** HTTP/2: more resets or control frames than allowed. */
  | "http2_flood"
  /** HTTP/2: a PING was not answered. */
  | "dead_peer";

/**
 * Why something was turned away: the kind of the error that a request was
 * refused with, or what became of a connection that brought no request.
 */
export type RejectReason = ErrorKind | ConnectionRejectReason;

/** Takes what was turned away before it became a call, which leaves a record. `protocol` where it is known. */
export type RejectSink = (reason: RejectReason, protocol?: Protocol) => void;
