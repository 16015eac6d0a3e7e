import { type HttpRequest, type HttpResponse, send, targetOf } from "../rest/http.ts";

export {
  announcesBody,
  breakOff,
  discardBody,
  type HttpRequest,
  type HttpResponse,
  headerOf,
  onBodyWanted,
  targetOf,
  wantBody,
} from "../rest/http.ts";

/** Answers a request. Neither throws nor rejects: what goes wrong is a response. */
export type HttpHandler = (request: HttpRequest, response: HttpResponse) => void;

/** The path of a request, without its query, not decoded. */
export function pathOf(request: HttpRequest): string {
  return targetOf(request).path;
}

/** The authority that the client asked for: `Host`, or `:authority` on HTTP/2. */
export function authorityOf(request: HttpRequest): string | undefined {
  return "authority" in request && request.authority !== "" ? request.authority : request.headers.host;
}

/** Sends a JSON value. A HEAD request gets the headers only. */
export function sendJson(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const type = { "content-type": "application/json" };
  send(request, response, status, { ...type, ...headers }, JSON.stringify(value));
}

/**
 * Sends a response without a body. On HTTP/2 its headers end the stream, as
 * gRPC's trailers-only responses must.
 */
export function sendEmpty(
  response: HttpResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end();
}
