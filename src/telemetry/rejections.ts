import type { ErrorKind } from "../errors.ts";
import type { Protocol } from "../request-context.ts";

/**
 * Why something was turned away: the kind of the error that a request was
 * refused with, or what became of a connection that brought no request.
 */
export type RejectReason =
  | ErrorKind
  | "connection_limit"
  | "first_byte_timeout"
  | "header_timeout"
  | "header_too_large"
  | "bad_http"
  | "stream_flood"
  | "tls_handshake";

/** Takes what was turned away before it became a call, which leaves a record. `protocol` where it is known. */
export type RejectSink = (reason: RejectReason, protocol?: Protocol) => void;
