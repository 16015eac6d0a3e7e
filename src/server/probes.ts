import { LoquiError, openaiErrorBody, toLoquiError } from "../errors.ts";
import { sendError } from "../rest/error-response.ts";
import { send } from "../rest/http.ts";
import { watchReader } from "../rest/slow-reader.ts";
import type { Exposition } from "../telemetry/exposition.ts";
import { type HttpHandler, type HttpRequest, type HttpResponse, headerOf, pathOf, sendJson } from "./http.ts";

/** What `GET /` says of the server. */
export interface About {
  readonly name: string;
  readonly version: string;
  readonly [key: string]: unknown;
}

/** Makes the page of `/metrics`, in the format that an `accept` header asks for. */
export type MetricsPage = (accept: string | undefined) => Promise<Exposition>;

export interface ProbesOptions {
  readonly about: About;
  /** Why the server can't answer requests; undefined while it can. */
  readonly notReady: () => string | undefined;
  /** What `/metrics` answers, to whom `enter` lets in; left out, `fallback` answers that. */
  readonly metrics?: {
    readonly page: MetricsPage;
    /** Throws what a request is refused with. */
    readonly enter: (request: HttpRequest, response: HttpResponse) => Promise<unknown>;
  };
  /** Takes each error that a request for one of these pages ended with. */
  readonly onRefused?: (request: HttpRequest, response: HttpResponse, error: LoquiError) => void;
  /** Answers every other path. */
  readonly fallback: HttpHandler;
}

const noStore = { "cache-control": "no-store" };
/** For a client that reads a page slowly. */
const stallMs = 10_000;

/**
 * `/livez` (the process runs), `/readyz` (it can answer requests), `/health`
 * (the same in llama-server's shape), `GET /` and `/metrics`.
 */
export function createProbes({ about, notReady, metrics, onRefused, fallback }: ProbesOptions): HttpHandler {
  const json = (read: () => [status: number, body: unknown]): HttpHandler => {
    return (request, response) => {
      const [status, body] = read();
      sendJson(request, response, status, body, noStore);
    };
  };
  const probes = new Map<string, HttpHandler>([
    ["/", json(() => [200, about])],
    ["/livez", json(() => [200, { status: "ok" }])],
    [
      "/readyz",
      json(() => {
        const reason = notReady();
        return reason === undefined ? [200, { status: "ok" }] : [503, { status: "not ready", reason }];
      }),
    ],
    [
      "/health",
      json(() => {
        const reason = notReady();
        if (reason === undefined) return [200, { status: "ok" }];
        return [503, { error: { message: reason, type: "unavailable_error", code: 503 } }];
      }),
    ],
  ]);
  if (metrics !== undefined) probes.set("/metrics", metricsHandler(metrics, onRefused));

  return (request, response) => {
    const probe = probes.get(pathOf(request));
    if (probe === undefined) return fallback(request, response);
    if (request.method !== "GET" && request.method !== "HEAD") {
      const error = new LoquiError(
        "method_not_allowed",
        `${pathOf(request)} takes GET and HEAD, not ${request.method}`,
      );
      onRefused?.(request, response, error);
      return sendJson(request, response, error.http, openaiErrorBody(error), { allow: "GET, HEAD" });
    }
    probe(request, response);
  };
}

function metricsHandler(
  { page, enter }: NonNullable<ProbesOptions["metrics"]>,
  onRefused: ProbesOptions["onRefused"],
): HttpHandler {
  return (request, response) => {
    watchReader(response, stallMs, () => {});
    enter(request, response)
      .then(() => page(headerOf(request, "accept")))
      .then(
        ({ contentType, body }) => send(request, response, 200, { "content-type": contentType, ...noStore }, body),
        (reason) => {
          const error = toLoquiError(reason);
          onRefused?.(request, response, error);
          sendError(request, response, error, undefined, noStore);
        },
      );
  };
}
