import type { RejectSink } from "../telemetry/rejections.ts";
import type { HttpRequest, HttpResponse } from "./http.ts";
import { sendEmpty } from "./http.ts";
import type { ServerLimits } from "./limits.ts";

/**
 * Refuses a request whose header has too many fields or bytes, or two hosts,
 * and says so. What Node leaves to do: of too many fields in HTTP/1.1 it would
 * keep the first without a word, of two `Host`s likewise, and over HTTP/2 it
 * counts bytes only against clients that have confirmed the limit.
 */
export function refuseHeader(
  request: HttpRequest,
  response: HttpResponse,
  limits: ServerLimits,
  onRejected: RejectSink,
): boolean {
  const { rawHeaders } = request;
  const isHttp2 = request.httpVersionMajor === 2;
  let bytes = 0;
  let fields = 0;
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    // As RFC 9113, section 6.5.2 counts them.
    bytes += name.length + (rawHeaders[index + 1] ?? "").length + 32;
    if (name.startsWith(":")) continue;
    fields += 1;
    if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
  }
  if (fields > limits.maxHeaderFields || (isHttp2 && bytes > limits.maxHeaderBytes)) {
    onRejected("header_too_large");
    refuse(response, 431, isHttp2);
    return true;
  }
  if (hosts > 1) {
    // RFC 9112, section 3.2: whoever is before or behind the server may take the other one.
    onRejected("bad_http");
    refuse(response, 400, isHttp2);
    return true;
  }
  return false;
}

function refuse(response: HttpResponse, status: number, isHttp2: boolean): void {
  sendEmpty(response, status, isHttp2 ? {} : { connection: "close" });
}
