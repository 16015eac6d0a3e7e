import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** A request of either HTTP version; Node's compatibility layer makes them alike. */
export type HttpRequest = IncomingMessage | Http2ServerRequest;

/** The response to an {@link HttpRequest}. */
export type HttpResponse = ServerResponse | Http2ServerResponse;

/** Answers a request. Neither throws nor rejects: what goes wrong is a response. */
export type HttpHandler = (request: HttpRequest, response: HttpResponse) => void;

/** The path of a request, without its query. */
export function pathOf(request: HttpRequest): string {
  const target = request.url ?? "";
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

/** A header with one value; undefined where it is missing or was sent more than once as a list. */
export function headerOf(request: HttpRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === "string" ? value : undefined;
}

/** The authority that the client asked for: `Host`, or `:authority` on HTTP/2. */
export function authorityOf(request: HttpRequest): string | undefined {
  return "authority" in request && request.authority !== "" ? request.authority : request.headers.host;
}

/** Sends a response in one piece. A HEAD request gets the headers only. */
export function send(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body = "",
): void {
  // Not writeHead: its overloads differ between the two HTTP versions.
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (body !== "") response.setHeader("content-length", String(Buffer.byteLength(body)));
  // Without an argument HTTP/2 ends the stream with the headers, as gRPC's trailers-only response must.
  if (body === "" || request.method === "HEAD") response.end();
  else response.end(body);
}

/** Sends a JSON value. */
export function sendJson(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  send(request, response, status, { "content-type": "application/json", ...headers }, JSON.stringify(value));
}
