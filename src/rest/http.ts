import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";

/** A request of either HTTP version; Node's compatibility layer makes them alike. */
export type HttpRequest = IncomingMessage | Http2ServerRequest;

/** The response to an {@link HttpRequest}. */
export type HttpResponse = ServerResponse | Http2ServerResponse;

/** The path and the query of a request target, neither of them decoded. */
export function targetOf(request: HttpRequest): { path: string; query: string } {
  let target = request.url ?? "";
  // Absolute form (RFC 9112, 3.2.2): what proxies are sent.
  const absolute = /^https?:\/\/[^/?]*/i.exec(target);
  if (absolute !== null) target = target.slice(absolute[0].length);
  const fragment = target.indexOf("#");
  if (fragment !== -1) target = target.slice(0, fragment);
  const question = target.indexOf("?");
  if (question === -1) return { path: target, query: "" };
  return { path: target.slice(0, question), query: target.slice(question + 1) };
}

/** A header's value; those that came several times are joined by commas. */
export function headerOf(request: HttpRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

/** A media type and its parameters, in lower case but for the parameters' values. */
export interface MediaType {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Parses a `content-type` header; undefined where there is none. */
export function mediaTypeOf(request: HttpRequest): MediaType | undefined {
  const header = headerOf(request, "content-type");
  if (header === undefined) return undefined;
  const [type = "", ...rest] = header.split(";");
  const parameters = new Map<string, string>();
  for (const parameter of rest) {
    const equals = parameter.indexOf("=");
    if (equals === -1) continue;
    const value = parameter.slice(equals + 1).trim();
    parameters.set(parameter.slice(0, equals).trim().toLowerCase(), value.replace(/^"(.*)"$/, "$1"));
  }
  return { type: type.trim().toLowerCase(), parameters };
}

const continuations = new WeakMap<HttpRequest, () => void>();

/** Remembers how a client that waits for it (`Expect: 100-continue`) is told to send its body. */
export function onBodyWanted(request: HttpRequest, tell: () => void): void {
  continuations.set(request, tell);
}

/**
 * Tells a client that waits for it to send its body. Called by whoever is about
 * to read it: after everything that a request can be refused for by its header.
 */
export function wantBody(request: HttpRequest): void {
  continuations.get(request)?.();
  continuations.delete(request);
}

/** Whether a request announces a body, be it empty. */
export function announcesBody(request: HttpRequest): boolean {
  if ("stream" in request) return !request.stream.endAfterHeaders;
  return request.headers["transfer-encoding"] !== undefined || (headerOf(request, "content-length") ?? "0") !== "0";
}

/**
 * Sends what is written to a response in this turn of the event loop together.
 * A worker's tokens come several at a time; each write of its own would be a
 * system call, and on HTTP/2 a frame.
 */
export function gatherWrites(response: HttpResponse): void {
  // Not the HTTP/1.1 response itself, which counts the corks of its socket, also of the next response's.
  const target = "stream" in response ? response.stream : response.socket;
  if (!target || target.writableCorked > 0) return;
  target.cork();
  setImmediate(() => target.uncork());
}

/** Writes a piece of a response; false where the receiver is slower. */
export function write(response: HttpResponse, data: string | Uint8Array): boolean {
  gatherWrites(response);
  // The two overloads are alike, but TypeScript can't call their union.
  return "stream" in response ? response.write(data) : response.write(data);
}

/** Ends a response so that its receiver can't take what it has for the whole. */
export function breakOff(response: HttpResponse): void {
  if ("stream" in response && response.stream !== undefined) {
    response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  } else {
    response.destroy();
  }
}

/**
 * What is handed over in one piece at most. Of a larger one nobody could tell
 * whether the client takes it, and HTTP/2 would hold all of it in the memory of
 * the connection. Each takes a turn of the event loop: of 64 KiB they were slower.
 */
export const pieceBytes = 256 * 1024;

/** Ends a response with a body, in pieces that wait for its receiver. */
async function endInPieces(response: HttpResponse, body: Uint8Array): Promise<void> {
  let at = 0;
  for (; body.length - at > pieceBytes; at += pieceBytes) {
    if (!write(response, body.subarray(at, at + pieceBytes))) await drained(response);
    if (isClosed(response)) return;
  }
  response.end(body.subarray(at));
}

/** Waits until a response whose `write` has said so can take more, or has closed. */
export async function drained(response: HttpResponse): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  response.once("drain", resolve);
  response.once("close", resolve);
  if (isClosed(response)) resolve();
  try {
    await promise;
  } finally {
    response.off("drain", resolve);
    response.off("close", resolve);
  }
}

function isClosed(response: HttpResponse): boolean {
  return "stream" in response ? (response.stream?.destroyed ?? true) : response.destroyed;
}

/**
 * Sends a whole response; a HEAD request gets the headers only.
 *
 * Where the request's body has not been read to its end, the connection goes on
 * to be read for a moment, so that a client that is still sending finds the
 * response instead of a reset connection.
 */
export function send(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array,
): void {
  if (response.headersSent || response.writableEnded || response.destroyed) return;
  // Not writeHead: its overloads differ between the two HTTP versions.
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  if (status !== 204 && status !== 304) response.setHeader("content-length", String(bytes.byteLength));
  if (!request.complete && announcesBody(request)) {
    const declared = Number(headerOf(request, "content-length") ?? Number.POSITIVE_INFINITY);
    if (declared > smallBytes || status === 408) {
      sendEarly(request, response, bytes);
      return;
    }
    request.resume();
  }
  if (request.method === "HEAD") response.end();
  else void endInPieces(response, bytes);
}

/** A body that is sooner read than a new connection made. */
const smallBytes = 64 * 1024;

/** How long, and how many bytes, a client that was refused is read on. */
const lingerMs = 1_000;
const lingerBytes = 4 * 1024 * 1024;

/**
 * Sends a response to a client that is still sending, and reads on for a moment
 * so that it finds the response. HTTP/1.1 then closes the connection; HTTP/2
 * resets the stream without an error, which asks the client to stop (RFC 9113,
 * 8.1). Neither is done at once: curl takes a reset close behind a response,
 * which Node sends when nobody reads the request, for a failure.
 */
function sendEarly(request: HttpRequest, response: HttpResponse, body: Uint8Array): void {
  const stream = "stream" in response ? response.stream : undefined;
  if (stream === undefined) response.setHeader("connection", "close");
  if (request.method !== "HEAD") write(response, body);
  // The whole response is out; on HTTP/1.1 its end would close the connection.
  if (stream !== undefined) response.end();

  let bytes = 0;
  const finish = () => {
    clearTimeout(timer);
    request.off("data", count);
    if (stream !== undefined) stream.close(constants.NGHTTP2_NO_ERROR);
    else if (!response.writableEnded) response.end();
  };
  const count = (chunk: Uint8Array) => {
    bytes += chunk.byteLength;
    // Whoever can't send on looks at what has come.
    if (bytes > lingerBytes) request.pause();
  };
  const timer = setTimeout(finish, lingerMs);
  request.on("data", count);
  request.once("end", finish);
  request.once("close", finish);
  request.resume();
}

/**
 * Reads on what a client still sends after the response is complete, so that
 * the connection can take its next request: Node leaves a body that was read in
 * part where it is, and an HTTP/1.1 connection would wait for it for ever. Only
 * for a moment: a client that sends on loses its connection, on HTTP/2 its
 * stream (reset without an error, RFC 9113, 8.1).
 */
export function discardBody(request: HttpRequest): void {
  if (request.complete || request.destroyed) return;
  let bytes = 0;
  const stop = () => {
    clearTimeout(timer);
    request.off("readable", read).off("end", stop).off("close", stop);
  };
  const giveUp = () => {
    stop();
    if ("stream" in request) request.stream.close(constants.NGHTTP2_NO_ERROR);
    else request.destroy();
  };
  const read = () => {
    for (let chunk = request.read(); chunk !== null; chunk = request.read()) bytes += chunk.byteLength;
    if (bytes > lingerBytes) giveUp();
  };
  const timer = setTimeout(giveUp, lingerMs);
  // Not resume(): whoever began to read has left a "readable" listener, with which nothing flows.
  request.on("readable", read).once("end", stop).once("close", stop);
  read();
}
