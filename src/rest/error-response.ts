import { ErrorFormat } from "../../gen/loqui/rest/v1/annotations_pb.ts";
import { type LoquiError, openaiErrorBody } from "../errors.ts";
import { BodyTimeout } from "./body.ts";
import { type HttpRequest, type HttpResponse, send } from "./http.ts";

/** The JSON of an error, in the shape that the method's clients know. */
export function errorJson(error: LoquiError, format: ErrorFormat = ErrorFormat.OPENAI): string {
  if (format !== ErrorFormat.ANTHROPIC) return JSON.stringify(openaiErrorBody(error));
  return JSON.stringify({ type: "error", error: { type: anthropicType(error), message: error.message } });
}

/** HTTP status of an error. */
export function statusOf(error: LoquiError): number {
  return error instanceof BodyTimeout ? 408 : error.http;
}

/**
 * Sends an error as a response of its own: status, JSON, `retry-after` in whole
 * seconds where trying again may help, and `x-should-retry: false` where the
 * SDKs would repeat what can't succeed. Does nothing where the response has begun.
 */
export function sendError(
  request: HttpRequest,
  response: HttpResponse,
  error: LoquiError,
  format: ErrorFormat = ErrorFormat.OPENAI,
  headers: Readonly<Record<string, string>> = {},
): void {
  const all: Record<string, string> = { ...headers, "content-type": "application/json" };
  if (error.retryAfterMs !== undefined) all["retry-after"] = String(Math.ceil(error.retryAfterMs / 1000));
  if (!error.retryable && (error.http >= 500 || error.kind === "input_quarantined")) all["x-should-retry"] = "false";
  send(request, response, statusOf(error), all, errorJson(error, format));
}

/** The `type` in Anthropic's errors (docs.anthropic.com, API errors). */
function anthropicType(error: LoquiError): string {
  const status = statusOf(error);
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}
