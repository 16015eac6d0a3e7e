import type { DescMethod, DescService } from "@bufbuild/protobuf";
import type { DecodeMode } from "../codec/codec.ts";
import { LoquiError } from "../errors.ts";
import { reportIgnored } from "../ignored-header.ts";
import { anyone, type Caller, requestIdFrom } from "../request-context.ts";
import type { Dispatcher } from "../services/dispatcher.ts";
import { type Binding, httpBodyTypeName, type Target } from "./bindings.ts";
import { eventStreamHeaders } from "./event-stream.ts";
import { createExchange, type Exchange } from "./exchange.ts";
import { type HttpRequest, type HttpResponse, headerOf, send, targetOf } from "./http.ts";
import { bytesResponder, eventResponder, type Responder, unaryResponder } from "./invoke.ts";
import { type RestLimits, restLimits } from "./limits.ts";
import type { OpenApiInfo } from "./openapi.ts";
import { openApiDocument, openApiPath, sendOpenApi } from "./openapi-response.ts";
import { createReplier } from "./reply.ts";
import { createRequestReader, type RequestReader } from "./request.ts";
import { createRouteTable, type RouteMatch, type RouteTable } from "./routes.ts";

/** What is known of a request that failed. */
export interface FailedRequest {
  readonly requestId: string;
  readonly httpMethod: string;
  readonly path: string;
  /** The dispatcher has its record, so that it needs no other. */
  readonly dispatched: boolean;
}

/**
 * Lets a request in before its body is read, and says whose it is. `methods`:
 * what it may lead to; none where it leads to no method. Throws the refusal.
 */
export type Admit = (request: HttpRequest, response: HttpResponse, methods: readonly DescMethod[]) => Promise<Caller>;

export interface RestOptions {
  readonly dispatcher: Dispatcher;
  /** What REST reaches. Default: all that the dispatcher serves. */
  readonly services?: readonly DescService[];
  /** Default: everybody may do everything. */
  readonly admit?: Admit;
  /** What is left out has its default. */
  readonly limits?: Partial<RestLimits>;
  /** Members that the schema doesn't know are refused; `x-loqui-strict: 1` asks for it per request. Default: false. */
  readonly strict?: boolean;
  /** What /openapi.json says of the server. */
  readonly info?: OpenApiInfo;
  /** Takes each error that a request ended with. Default: none is told. */
  readonly onError?: (error: LoquiError, request: FailedRequest) => void;
}

/** Answers every request; see {@link createRestHandler}. */
export interface RestHandler {
  (request: HttpRequest, response: HttpResponse): void;
  readonly routeTable: RouteTable;
}

interface Endpoint {
  /** Where its requests may lead. */
  readonly methods: readonly DescMethod[];
  readonly read: RequestReader;
  readonly responders: ReadonlyMap<Target, Responder>;
}

/**
 * REST as one more protocol over the dispatcher, compiled from descriptors:
 * google.api.http says where a method lives, `loqui.rest.v1.method` how it is
 * spoken to. Throws where the schema contradicts itself.
 *
 * The handler takes requests of both HTTP versions, answers each, and never
 * throws. Every wait is bounded: the body by `bodyTimeoutMs`, the answer by the
 * call's deadline, the client's reading by `stallMs`.
 */
export function createRestHandler(options: RestOptions): RestHandler {
  const { dispatcher, strict = false, admit = async () => anyone } = options;
  const limits = restLimits(options.limits);
  const services = options.services ?? dispatcher.services;
  const routeTable = createRouteTable(services);
  const endpoints = new Map(routeTable.bindings.map((binding) => [binding, compileEndpoint(binding, limits)]));
  const openApi = openApiDocument({ services, routeTable, ...(options.info && { info: options.info }) });

  const dispatched = new WeakSet<Exchange>();

  async function serve(exchange: Exchange, path: string, query: string): Promise<void> {
    const { request, response } = exchange;
    const httpMethod = request.method ?? "GET";
    if (timeoutOf(request, limits.maxTimeoutMs) === undefined) {
      const given = headerOf(request, "x-request-timeout");
      throw new LoquiError("invalid_request", `x-request-timeout ${given} is not a number of seconds`);
    }
    const match = path === openApiPath ? openApiOnly : routeTable.match(httpMethod, path);
    const endpoint = match.kind === "found" ? endpoints.get(match.binding) : undefined;
    if (match.kind === "found") exchange.errorFormat = match.binding.errorFormat;
    const caller = await admit(request, response, endpoint?.methods ?? []);
    if (exchange.ended) return;
    if (path === openApiPath && (httpMethod === "GET" || httpMethod === "HEAD")) {
      const document = openApi();
      exchange.end();
      sendOpenApi(request, response, document);
      return;
    }
    if (match.kind === "not_found") throw new LoquiError("not_found", `there is no ${shown(path)}`);
    if (match.kind === "method_not_allowed") {
      const allow = match.allow.join(", ");
      response.setHeader("allow", allow);
      if (httpMethod !== "OPTIONS") {
        throw new LoquiError("method_not_allowed", `${shown(path)} takes ${allow}, not ${httpMethod}`);
      }
      exchange.end();
      send(request, response, 204, {}, "");
      return;
    }

    const { binding, variables } = match;
    if (endpoint === undefined) throw new Error(`${binding.template.source} was not compiled`);
    const mode: DecodeMode = strict || headerOf(request, "x-loqui-strict") === "1" ? "strict" : "lenient";
    const { target, message, ignored } = await endpoint.read(request, variables, query, mode);
    if (exchange.ended) return;
    if (ignored.length > 0) reportIgnored(exchange.metadata.response, ignored);
    if (httpMethod === "HEAD" && target.method.methodKind !== "unary") {
      exchange.metadata.apply(response);
      // A stream has no length to tell, and nobody would read it.
      for (const [name, value] of Object.entries(target.sse ? eventStreamHeaders : {})) response.setHeader(name, value);
      exchange.end();
      response.end();
      return;
    }
    const responder = endpoint.responders.get(target);
    if (responder === undefined) throw new Error(`${target.method.name} was not compiled`);
    dispatched.add(exchange);
    await responder(exchange, dispatcher.run(target.method, message, exchange.call(caller)));
  }
  function handle(request: HttpRequest, response: HttpResponse): void {
    const { path, query } = targetOf(request);
    const requestId = requestIdOf(request, response);
    response.setHeader("x-request-id", requestId);
    const timeoutMs = timeoutOf(request, limits.maxTimeoutMs) ?? limits.maxTimeoutMs;
    const exchange = createExchange(request, response, {
      requestId,
      timeoutMs,
      stallMs: limits.stallMs,
      onError: (error) =>
        options.onError?.(error, {
          requestId,
          httpMethod: request.method ?? "",
          path,
          dispatched: dispatched.has(exchange),
        }),
    });
    // The dispatcher keeps the deadline; this is for handlers that don't notice.
    const overdue = setTimeout(
      () => exchange.fail(new LoquiError("timeout", `the deadline of ${timeoutMs} ms has passed`)),
      timeoutMs + graceMs,
    );
    serve(exchange, path, query)
      .catch((error) => exchange.fail(error))
      .finally(() => clearTimeout(overdue));
  }

  return Object.assign(handle, { routeTable });
}

const openApiOnly: RouteMatch = { kind: "method_not_allowed", allow: ["GET", "HEAD", "OPTIONS"] };

/** What a handler may take to notice that its time is over. */
const graceMs = 2_000;

function compileEndpoint(binding: Binding, limits: RestLimits): Endpoint {
  const read = createRequestReader(binding, {
    bytes: limits.bodyBytes,
    timeoutMs: limits.bodyTimeoutMs,
    parts: limits.multipartParts,
    files: limits.multipartFiles,
    fieldBytes: limits.multipartFieldBytes,
  });
  const responders = binding.targets.map((target): [Target, Responder] => {
    if (target.method.methodKind === "unary") {
      return [target, unaryResponder(createReplier(binding, target))];
    }
    if (target.method.output.typeName === httpBodyTypeName) return [target, bytesResponder()];
    return [target, eventResponder(target, limits)];
  });
  return { methods: binding.targets.map(({ method }) => method), read, responders: new Map(responders) };
}

/** The layer around may have chosen one for its own log. */
function requestIdOf(request: HttpRequest, response: HttpResponse): string {
  const chosen = response.getHeader("x-request-id");
  return typeof chosen === "string" ? chosen : requestIdFrom(headerOf(request, "x-request-id"));
}

/** `x-request-timeout` in milliseconds, at most the server's own; undefined where it is no number of seconds. */
function timeoutOf(request: HttpRequest, maxTimeoutMs: number): number | undefined {
  const header = headerOf(request, "x-request-timeout");
  if (header === undefined) return maxTimeoutMs;
  if (!/^\d{1,12}(?:\.\d{1,9})?$/.test(header)) return undefined;
  return Math.min(Math.ceil(Number(header) * 1000), maxTimeoutMs);
}

/** A path in a message: what a client sent, but not all of it if it is long. */
function shown(path: string): string {
  return path.length > 200 ? `${path.slice(0, 200)}…` : path;
}
