import { LoquiError, openaiErrorBody } from "../errors.ts";
import { type HttpHandler, pathOf, sendJson } from "./http.ts";

/** What `GET /` says of the server. */
export interface About {
  readonly name: string;
  readonly version: string;
  readonly [key: string]: unknown;
}

export interface ProbesOptions {
  readonly about: About;
  /** Why the server can't answer requests; undefined while it can. */
  readonly notReady: () => string | undefined;
  /** Answers every other path. */
  readonly fallback: HttpHandler;
}

/**
 * `/livez` (the process runs), `/readyz` (it can answer requests), `/health`
 * (the same in llama-server's shape) and `GET /`. None needs a key.
 */
export function createProbes({ about, notReady, fallback }: ProbesOptions): HttpHandler {
  const probes = new Map<string, () => [status: number, body: unknown]>([
    ["/", () => [200, about]],
    ["/livez", () => [200, { status: "ok" }]],
    [
      "/readyz",
      () => {
        const reason = notReady();
        return reason === undefined ? [200, { status: "ok" }] : [503, { status: "not ready", reason }];
      },
    ],
    [
      "/health",
      () => {
        const reason = notReady();
        if (reason === undefined) return [200, { status: "ok" }];
        return [503, { error: { message: reason, type: "unavailable_error", code: 503 } }];
      },
    ],
  ]);

  return (request, response) => {
    const probe = probes.get(pathOf(request));
    if (probe === undefined) return fallback(request, response);
    if (request.method !== "GET" && request.method !== "HEAD") {
      const error = new LoquiError(
        "method_not_allowed",
        `${pathOf(request)} takes GET and HEAD, not ${request.method}`,
      );
      return sendJson(request, response, error.http, openaiErrorBody(error), { allow: "GET, HEAD" });
    }
    const [status, body] = probe();
    sendJson(request, response, status, body, { "cache-control": "no-store" });
  };
}
