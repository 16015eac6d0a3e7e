import { grpcCode } from "../errors.ts";
import { type HttpRequest, type HttpResponse, headerOf, pathOf, sendEmpty, sendJson } from "./http.ts";

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
  return /^application\/grpc(\+|;|$)/i.test(headerOf(request, "content-type") ?? "");
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

/** Answers a gRPC call of an unknown method; a client could not make sense of a REST error. */
export function refuseUnknownGrpc(request: HttpRequest, response: HttpResponse): boolean {
  if (request.method !== "POST") return false;
  return sendGrpcStatus(request, response, grpcCode.unimplemented, `${pathOf(request).slice(1)} is not implemented`);
}

/** Ends a call of gRPC or gRPC-Web with a status and nothing else; false for what is neither. */
function sendGrpcStatus(request: HttpRequest, response: HttpResponse, code: number, message: string): boolean {
  const type = headerOf(request, "content-type") ?? "";
  if (!/^application\/grpc(-web)?(\+|;|$)/i.test(type)) return false;
  sendEmpty(response, 200, {
    "content-type": type,
    "grpc-status": String(code),
    "grpc-message": encodeGrpcMessage(message),
  });
  return true;
}

/**
 * The same for Connect, where its request can be told from one of REST. A
 * stream's refusal has no body: there the status stands for the code.
 */
export function refuseUnknownConnect(request: HttpRequest, response: HttpResponse): boolean {
  const type = headerOf(request, "content-type") ?? "";
  const streams = /^application\/connect\+/i.test(type);
  const unary = headerOf(request, "connect-protocol-version") !== undefined || /^application\/proto(;|$)/i.test(type);
  if (request.method !== "POST" || !(streams || unary)) return false;
  if (streams) sendEmpty(response, 404);
  else
    sendJson(request, response, 404, {
      code: "unimplemented",
      message: `${pathOf(request).slice(1)} is not implemented`,
    });
  return true;
}

/**
 * Answers a call whose one message has not arrived in time, by the status that
 * its protocol has for that: DEADLINE_EXCEEDED, or 408 and `deadline_exceeded`.
 */
export function refuseSlowBody(request: HttpRequest, response: HttpResponse, timeoutMs: number): void {
  if (response.headersSent) return;
  const message = `the request body did not arrive within ${timeoutMs} ms`;
  if (sendGrpcStatus(request, response, grpcCode.deadlineExceeded, message)) return;
  sendJson(request, response, 408, { code: "deadline_exceeded", message });
}
