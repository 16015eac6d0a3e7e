import type { DescMethod } from "@bufbuild/protobuf";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import type { KeyRing } from "../access/keys.ts";
import { createRateLimits, type RateLimit } from "../access/rate-limits.ts";
import { type LoquiError, openaiErrorBody } from "../errors.ts";
import { requestIdFrom } from "../request-context.ts";
import type { Admit } from "../rest/handler.ts";
import { createDispatcher, type Dispatcher } from "../services/dispatcher.ts";
import type { ServiceImplementation } from "../services/handlers.ts";
import { logContent } from "../telemetry/content-log.ts";
import type { Logger } from "../telemetry/log.ts";
import type { RecordSink } from "../telemetry/records.ts";
import { createRefusalLog, type RefusalLog } from "../telemetry/refusal-log.ts";
import type { RejectSink } from "../telemetry/rejections.ts";
import type { ServerStatus } from "../telemetry/state-metrics.ts";
import { createConnectAdapter } from "./connect-adapter.ts";
import { createOriginPolicy } from "./cors.ts";
import { createInFlight, drain } from "./drain.ts";
import { createGate } from "./gate.ts";
import { createHealth, type ServerHealth } from "./health.ts";
import { createHostPolicy } from "./host-policy.ts";
import { type HttpHandler, type HttpRequest, type HttpResponse, headerOf, pathOf, sendJson } from "./http.ts";
import { type ServerLimits, serverLimits } from "./limits.ts";
import { listen } from "./listen.ts";
import { type About, createProbes, type MetricsPage } from "./probes.ts";
import { createReflection } from "./reflection.ts";
import { refuseStreamFlag } from "./stream-flag.ts";
import type { TlsFiles } from "./tls-files.ts";

export interface ServerOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** What is served, beside health and reflection. */
  readonly services: readonly ServiceImplementation[];
  /** Makes the handler of every path that is neither a method's nor a probe's. */
  readonly rest: (dispatcher: Dispatcher, limits: ServerLimits, admit: Admit) => HttpHandler;
  /** What `GET /` says. */
  readonly about: About;
  /** See {@link ServerLimits}; what is left out has its default. */
  readonly limits?: Partial<ServerLimits>;
  /** With these the port speaks TLS only. */
  readonly tls?: TlsFiles | undefined;
  /** Origins of web pages that may call the server, or `*`. Default: only its own. */
  readonly allowedOrigins?: readonly string[];
  /** Names of the server that requests may ask for beside loopback's and `host`, or `*`. Default: none. */
  readonly allowedHosts?: readonly string[];
  /** The API keys that are asked for. Default: everybody may call. */
  readonly keys?: KeyRing;
  /** Methods that need no key though keys are asked for. Default: none but health. */
  readonly publicMethods?: readonly DescMethod[];
  /** For keys without limits of their own, and for each address that calls without a key. Default: none. */
  readonly rateLimit?: RateLimit;
  /** Methods that never end on their own. Shutting down does not wait for them. */
  readonly watches?: readonly DescMethod[];
  /** Takes the record of every finished call. */
  readonly onRecord: RecordSink;
  /** Takes what was refused before it became a call. */
  readonly onRejected?: RejectSink;
  /** Makes the page of `/metrics`. Left out, there is none. */
  readonly metricsPage?: MetricsPage;
  /** That page needs no key though keys are asked for. Default: it needs the scope `metrics:read`. */
  readonly publicMetrics?: boolean;
  readonly log: Logger;
  /** Takes what the log is to say of requests that were refused before they became calls. Default: one of its own. */
  readonly logRefusal?: RefusalLog;
  /** Whether requests and answers are logged, at level `debug`. Default: no. */
  readonly logContent?: boolean;
}

/** The running server. */
export interface Server {
  /** `http://HOST:PORT` or `https://HOST:PORT`, with the port that was bound. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Not ready at first: whoever started the server says when it is. */
  readonly health: ServerHealth;
  /** What is open now. */
  status(): Promise<ServerStatus>;
  /**
   * Ends the server and resolves when its port is free: not ready → no new
   * connections → up to `drainMs` for what is in flight → `shutting_down` in
   * band for the rest → connections closed. A second call with `force` gives
   * up the waiting.
   */
  close(force?: { force: boolean }): Promise<void>;
}

/**
 * Starts the server: gRPC, gRPC-Web, Connect and REST on one port over the
 * given services. Rejects with a ListenError when the port can't be had.
 */
export async function createServer(options: ServerOptions): Promise<Server> {
  const { log, logRefusal = createRefusalLog(log) } = options;
  const limits = serverLimits(options.limits);
  const shutdown = new AbortController();
  const hurry = new AbortController();
  const health = createHealth(options.services.map((service) => service.desc.typeName));
  const described = [...options.services.map((service) => service.desc), Health];
  const inFlight = createInFlight(new Set(options.watches));
  const origins = createOriginPolicy(options.allowedOrigins ?? []);

  const core = createDispatcher({
    services: [...options.services.map(refuseStreamFlag), health.service, ...createReflection(described)],
    maxTimeoutMs: limits.maxTimeoutMs,
    shutdownSignal: shutdown.signal,
    onRecord: options.onRecord,
  });
  const dispatcher = inFlight.notice(options.logContent ? logContent(core, log) : core);

  const gate = createGate({
    hosts: createHostPolicy(options.host, options.allowedHosts ?? []),
    origins,
    keys: options.keys,
    publicMethods: new Set(options.publicMethods),
    rateLimits: createRateLimits(options.rateLimit ?? {}),
  });
  function refused(request: HttpRequest, response: HttpResponse, { kind }: LoquiError): void {
    const requestId = response.getHeader("x-request-id");
    logRefusal("info", kind, { requestId, path: pathOf(request), kind }, "request refused");
    options.onRejected?.(kind, "rest");
  }
  const probes = createProbes({
    about: options.about,
    notReady: () => health.reason,
    ...(options.metricsPage && {
      metrics: {
        page: options.metricsPage,
        enter: (request, response) => gate.enterFor(request, response, options.publicMetrics ? "none" : "metrics:read"),
      },
    }),
    onRefused: refused,
    fallback: options.rest(dispatcher, limits, gate.enter),
  });
  const adapter = createConnectAdapter({
    dispatcher,
    limits,
    admit: (request, response, method) => gate.enter(request, response, method === undefined ? [] : [method]),
    fallback(request, response) {
      const refusal = gate.strange(request);
      if (refusal === undefined) return probes(request, response);
      refused(request, response, refusal);
      sendJson(request, response, refusal.http, openaiErrorBody(refusal));
    },
    onRefused(call) {
      logRefusal("info", call.kind, call, "request refused");
      options.onRejected?.(call.kind, call.protocol);
    },
    onError: (error, method) => log.debug({ err: error, method }, "a response could not be written"),
  });

  const listener = await listen({
    host: options.host,
    port: options.port,
    limits,
    handler: inFlight.track((request, response) => {
      response.setHeader("x-request-id", requestIdFrom(headerOf(request, "x-request-id")));
      const preflight = gate.preflight(request, response);
      if (preflight?.refusal !== undefined) refused(request, response, preflight.refusal);
      if (preflight !== undefined) return;
      origins.apply(request, response);
      adapter(request, response);
    }),
    tls: options.tls,
    onRejected: options.onRejected ?? (() => {}),
    log,
  });

  core.warmUp();

  let closing: Promise<void> | undefined;
  return {
    url: listener.url,
    host: listener.host,
    port: listener.port,
    health,
    async status() {
      return { connections: await listener.connections(), streams: inFlight.streams };
    },
    close({ force } = { force: false }) {
      if (force) hurry.abort();
      if (closing === undefined) {
        health.shutDown();
        closing = drain({
          listener,
          inFlight,
          giveUp: (reason) => shutdown.abort(reason),
          drainMs: limits.drainMs,
          flushMs: limits.flushMs,
          hurry: hurry.signal,
        });
      }
      return closing;
    },
  };
}
