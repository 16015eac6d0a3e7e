import { Code, ConnectError } from "@connectrpc/connect";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { type HttpRequest, type HttpResponse, headerOf, sendEmpty, sendJson } from "./http.ts";

/**
 * gRPC allows timeouts of up to 99,999,999 hours. Connect would start a timer
 * of that length, and Node fires those that overflow at once.
 */
export function dropEndlessTimeout(request: HttpRequest): void {
  const grpc = /^(\d{1,8})([HMS])$/.exec(headerOf(request, "grpc-timeout") ?? "");
  const seconds = grpc === null ? 0 : Number(grpc[1]) * { H: 3600, M: 60, S: 1 }[grpc[2] as "H" | "M" | "S"];
  if (seconds * 1000 >= 2 ** 31) delete request.headers["grpc-timeout"];
  const connect = headerOf(request, "connect-timeout-ms") ?? "";
  if (/^\d{1,10}$/.test(connect) && Number(connect) >= 2 ** 31) delete request.headers["connect-timeout-ms"];
}

/** Where each protocol names the encoding of a request, and where the answer to an unknown one says what is known. */
const encodingHeaders = [
  ["grpc-encoding", "grpc-accept-encoding"],
  ["connect-content-encoding", "connect-accept-encoding"],
  ["content-encoding", "accept-encoding"],
] as const;

/** Tells a client that compresses in an unknown way which one it could use; connect-es forgets to. */
export function offerEncodings(request: HttpRequest, response: HttpResponse): void {
  for (const [asked, offered] of encodingHeaders) {
    const encoding = headerOf(request, asked);
    if (encoding !== undefined && encoding !== "gzip" && encoding !== "identity") response.setHeader(offered, "gzip");
  }
}

/** Whether a request is gRPC by its content type; gRPC-Web is not. */
export function isGrpc(request: HttpRequest): boolean {
  return /^application\/grpc(\+|;|$)/i.test(contentTypeOf(request));
}

/**
 * Has the gRPC status message encoded as the protocol asks (only `%` and what
 * is not printable ASCII). connect-es encodes far more, and grpc-js leaves
 * `%3A`, `%2C` or `%2F` as they are: its users would not see `n: 3 of 2`.
 */
export function readableGrpcMessage(response: HttpResponse): void {
  const addTrailers = response.addTrailers.bind(response) as (trailers: Record<string, unknown>) => void;
  response.addTrailers = (trailers: object) => {
    const { "grpc-message": message, ...others } = trailers as Record<string, unknown>;
    if (typeof message !== "string") return addTrailers(others);
    addTrailers({ ...others, "grpc-message": encodeGrpcMessage(decodeURIComponent(message)) });
  };
}

/** https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses, `Percent-Encoded`. */
function encodeGrpcMessage(message: string): string {
  return message.replace(/[^ -$&-~]+/gu, encodeURIComponent);
}

/** Whether a request is a call by gRPC, gRPC-Web or Connect, as far as that can be told from one of REST. */
export function isRpc(request: HttpRequest): boolean {
  if (request.method !== "POST") return false;
  if (hasEnvelopes(request) || headerOf(request, "connect-protocol-version") !== undefined) return true;
  return /^application\/proto(;|$)/i.test(contentTypeOf(request));
}

/** Whether the messages of a call come in envelopes (`flags, length, message`); those of Connect's unary calls don't. */
export function hasEnvelopes(request: HttpRequest): boolean {
  return isAnyGrpc(request) || isConnectStream(request);
}

/** gRPC or gRPC-Web. */
function isAnyGrpc(request: HttpRequest): boolean {
  return /^application\/grpc(-web)?(\+|;|$)/i.test(contentTypeOf(request));
}

function isConnectStream(request: HttpRequest): boolean {
  return /^application\/connect\+/i.test(contentTypeOf(request));
}

/**
 * Answers a call with an error and nothing else, in the shape of its protocol.
 * A stream of Connect's gets no body: there the HTTP status stands for the code.
 */
export function sendRefusal(request: HttpRequest, response: HttpResponse, error: ConnectError, status: number): void {
  if (sendGrpcStatus(request, response, error)) return;
  for (const [name, value] of error.metadata) response.setHeader(name, value);
  if (isConnectStream(request)) sendEmpty(response, status);
  else sendJson(request, response, status, errorToJson(error, undefined));
}

/** Ends a call of gRPC or gRPC-Web with a status and nothing else; false for what is neither. */
function sendGrpcStatus(request: HttpRequest, response: HttpResponse, error: ConnectError): boolean {
  if (!isAnyGrpc(request)) return false;
  const trailers = Object.fromEntries(setTrailerStatus(new Headers(), error));
  const message = encodeGrpcMessage(error.rawMessage);
  sendEmpty(response, 200, { ...trailers, "content-type": contentTypeOf(request), "grpc-message": message });
  return true;
}

function contentTypeOf(request: HttpRequest): string {
  return headerOf(request, "content-type") ?? "";
}

/**
 * Answers a call whose one message has not arrived in time, by the status that
 * its protocol has for that: DEADLINE_EXCEEDED, or 408 and `deadline_exceeded`.
 */
export function refuseSlowBody(request: HttpRequest, response: HttpResponse, timeoutMs: number): void {
  if (response.headersSent) return;
  const message = `the request body did not arrive within ${timeoutMs} ms`;
  if (sendGrpcStatus(request, response, new ConnectError(message, Code.DeadlineExceeded))) return;
  sendJson(request, response, 408, { code: "deadline_exceeded", message });
}
