import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { errorDetail } from "../error-detail.ts";
import { type ErrorKind, LoquiError, toLoquiError } from "../errors.ts";

/**
 * An error as gRPC, gRPC-Web and Connect send it: the code, the message, a
 * `loqui.v1.ErrorDetail` unless the code says it all, and `retry-after` (in
 * seconds, as in HTTP) where trying again may help. What caused it stays here.
 */
export function toConnectError(reason: unknown): ConnectError {
  const error = toLoquiError(reason);
  const headers: Record<string, string> =
    error.retryAfterMs === undefined ? {} : { "retry-after": String(Math.ceil(error.retryAfterMs / 1000)) };
  // A lone surrogate, quoted from a JSON request, would make the encoding of the status throw.
  const sent = new ConnectError(error.message.toWellFormed(), error.grpc, headers, undefined, error.cause);
  if (error.status !== undefined) sent.details = [...error.status.details];
  else if (!bare.has(error.kind)) sent.details = [{ desc: ErrorDetailSchema, value: errorDetail(error) }];
  return sent;
}

/** What the protocols themselves have a code for; their errors carry no details, whoever notices them. */
const bare = new Set<ErrorKind>(["cancelled", "timeout", "unimplemented"]);

const kinds: Partial<Record<Code, ErrorKind>> = {
  [Code.InvalidArgument]: "invalid_request",
  [Code.ResourceExhausted]: "too_large",
  [Code.Unimplemented]: "unimplemented",
  [Code.Canceled]: "cancelled",
  [Code.Aborted]: "cancelled",
  [Code.DeadlineExceeded]: "timeout",
  // connect-es calls a message that it can't parse an internal error; inside a request it is the client's.
  [Code.Internal]: "invalid_request",
};

const statuses: Partial<Record<number, ErrorKind>> = {
  408: "timeout",
  415: "unsupported_media_type",
  429: "too_large",
  499: "cancelled",
  504: "timeout",
};

/** The kind of error behind the status with which Connect refused a request: gRPC's, or else HTTP's. */
export function kindOfStatus(status: number): ErrorKind {
  return kinds[status as Code] ?? statuses[status] ?? "invalid_request";
}

/** connect-es of a message that is marked as compressed in a stream that has no encoding. */
const undeclaredCompression = /^received compressed envelope, but do not know how to decompress/;

/**
 * What Connect throws while it reads request messages (malformed, too large,
 * compressed in an unknown way, broken off) as an error of ours.
 */
export function fromConnectError(reason: unknown): LoquiError {
  if (!(reason instanceof ConnectError)) return toLoquiError(reason);
  const error = new LoquiError(kinds[reason.code] ?? "internal", reason.rawMessage);
  // INTERNAL, though it is the client's fault: grpc/doc/compression.md asks for it.
  const code = undeclaredCompression.test(error.message) ? Code.Internal : error.grpc;
  return new LoquiError(error.kind, error.message, { cause: reason, status: { code, details: [] } });
}
