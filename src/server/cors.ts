import { cors as connectCors } from "@connectrpc/connect";
import { LoquiError } from "../errors.ts";
import { authorityOf, type HttpRequest, type HttpResponse, headerOf, sendEmpty } from "./http.ts";

const allowedMethods = [...new Set([...connectCors.allowedMethods, "GET", "POST", "PATCH", "DELETE"])].join(", ");

const allowedHeaders = [
  ...connectCors.allowedHeaders,
  "Authorization",
  "X-Api-Key",
  "X-Request-Id",
  "X-Request-Timeout",
  "X-Loqui-Strict",
  "Traceparent",
  "Tracestate",
  "OpenAI-Organization",
  "OpenAI-Project",
];

const exposedHeaders = [
  ...connectCors.exposedHeaders,
  "X-Request-Id",
  "Retry-After",
  "X-Should-Retry",
  "X-Loqui-Ignored",
  "WWW-Authenticate",
  ...["Limit", "Remaining", "Reset"].flatMap((what) => [`X-RateLimit-${what}-Requests`, `X-RateLimit-${what}-Tokens`]),
].join(", ");

/** A browser may keep the answer to a preflight for this long; Chromium's maximum. */
const maxAgeSeconds = 7200;

/**
 * Which web pages may call the server. By default only those that it serves
 * itself: a page's request carries its `Origin`, and one that is neither the
 * server's own nor on the list is refused, because a POST without a body and a
 * multipart form reach the server without a preflight. Requests without an
 * `Origin` don't come from a page's script and pass.
 */
export interface OriginPolicy {
  /** Why the request is refused; undefined where it is not. */
  refusal(request: HttpRequest): LoquiError | undefined;
  /** Marks the response as readable by the page that asked, where it may be. */
  apply(request: HttpRequest, response: HttpResponse): void;
  /** Whether a request only asks what a page may send. */
  isPreflight(request: HttpRequest): boolean;
  /** Answers a preflight: with what the page may send, or 403; then it says why. */
  answerPreflight(request: HttpRequest, response: HttpResponse): LoquiError | undefined;
}

/** `allowed`: origins such as `https://app.example`, or `*` for all of them. */
export function createOriginPolicy(allowed: readonly string[]): OriginPolicy {
  const list = new Set(allowed.map((origin) => origin.toLowerCase()));

  function isAllowed(origin: string): boolean {
    return list.has("*") || list.has(origin.toLowerCase());
  }

  function apply(request: HttpRequest, response: HttpResponse): void {
    if (list.size === 0) return;
    response.setHeader("vary", "Origin");
    const origin = headerOf(request, "origin");
    if (origin === undefined || !isAllowed(origin)) return;
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", exposedHeaders);
  }

  return {
    apply,
    refusal(request) {
      const origin = headerOf(request, "origin");
      if (origin === undefined || isAllowed(origin) || isOwn(origin, authorityOf(request))) return undefined;
      return originRefused();
    },
    isPreflight(request) {
      const { headers } = request;
      return request.method === "OPTIONS" && "access-control-request-method" in headers && "origin" in headers;
    },
    answerPreflight(request, response) {
      if (!isAllowed(headerOf(request, "origin") ?? "")) {
        sendEmpty(response, 403);
        return originRefused();
      }
      apply(request, response);
      const asked = (headerOf(request, "access-control-request-headers") ?? "").split(",").map((name) => name.trim());
      // OpenAI's SDK describes its runtime in a dozen headers of this prefix.
      const described = asked.filter((name) => /^x-stainless-[a-z-]+$/i.test(name));
      response.setHeader("access-control-allow-methods", allowedMethods);
      response.setHeader("access-control-allow-headers", [...allowedHeaders, ...described].join(", "));
      response.setHeader("access-control-max-age", String(maxAgeSeconds));
      response.setHeader("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
      sendEmpty(response, 204);
      return undefined;
    },
  };
}

function originRefused(): LoquiError {
  return new LoquiError("origin_refused", "requests from this origin are not allowed");
}

/**
 * Whether a page's origin is the authority that it asked. The scheme is left
 * out: behind a proxy that ends TLS the server can't know it.
 */
function isOwn(origin: string, authority: string | undefined): boolean {
  const url = URL.parse(origin);
  if (url === null || authority === undefined) return false;
  const asked = URL.parse(`${url.protocol}//${authority}`);
  return asked !== null && asked.host === url.host;
}
