import type { DescMethod } from "@bufbuild/protobuf";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { openaiErrorBody } from "../errors.ts";
import { requestIdFrom } from "../request-context.ts";
import { createDispatcher, type Dispatcher } from "../services/dispatcher.ts";
import type { ServiceImplementation } from "../services/handlers.ts";
import type { Logger } from "../telemetry/log.ts";
import type { RecordSink } from "../telemetry/records.ts";
import type { RejectSink } from "../telemetry/rejections.ts";
import type { ServerStatus } from "../telemetry/state-metrics.ts";
import { createConnectAdapter } from "./connect-adapter.ts";
import { createOriginPolicy } from "./cors.ts";
import { createInFlight, drain } from "./drain.ts";
import { createHealth, type ServerHealth } from "./health.ts";
import { type HttpHandler, type HttpRequest, headerOf, sendJson } from "./http.ts";
import { type ServerLimits, serverLimits } from "./limits.ts";
import { listen } from "./listen.ts";
import { type About, createProbes, type MetricsPage } from "./probes.ts";
import { createReflection } from "./reflection.ts";
import { refuseStreamFlag } from "./stream-flag.ts";

export interface ServerOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** What is served, beside health and reflection. */
  readonly services: readonly ServiceImplementation[];
  /** Makes the handler of every path that is neither a method's nor a probe's. */
  readonly rest: (dispatcher: Dispatcher, limits: ServerLimits) => HttpHandler;
  /** What `GET /` says. */
  readonly about: About;
  /** See {@link ServerLimits}; what is left out has its default. */
  readonly limits?: Partial<ServerLimits>;
  /** Origins of web pages that may call the server, or `*`. Default: only its own. */
  readonly allowedOrigins?: readonly string[];
  /** Methods that never end on their own. Shutting down does not wait for them. */
  readonly watches?: readonly DescMethod[];
  /** Takes the record of every finished call. */
  readonly onRecord: RecordSink;
  /** Takes what was refused before it became a call. */
  readonly onRejected?: RejectSink;
  /** Makes the page of `/metrics`. Left out, there is none. */
  readonly metricsPage?: MetricsPage;
  readonly log: Logger;
}

/** The running server. */
export interface Server {
  /** `http://HOST:PORT`, with the port that was bound. */
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
  const { log } = options;
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
  const dispatcher = inFlight.notice(core);

  const gate = (request: HttpRequest) => {
    const refusal = origins.refusal(request);
    const origin = headerOf(request, "origin")?.slice(0, 200);
    if (refusal !== undefined) log.info({ kind: refusal.kind, origin }, "request refused");
    return refusal;
  };
  const probes = createProbes({
    about: options.about,
    notReady: () => health.reason,
    ...(options.metricsPage && { metricsPage: options.metricsPage }),
    fallback: options.rest(dispatcher, limits),
  });
  const adapter = createConnectAdapter({
    dispatcher,
    limits,
    gate,
    fallback(request, response) {
      const refusal = gate(request);
      if (refusal === undefined) probes(request, response);
      else {
        options.onRejected?.(refusal.kind, "rest");
        sendJson(request, response, refusal.http, openaiErrorBody(refusal));
      }
    },
    onRefused(call) {
      log.info(call, "request refused");
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
      if (origins.preflight(request, response)) return;
      origins.apply(request, response);
      adapter(request, response);
    }),
    onError: (error) => log.error({ err: error }, "the port reports an error"),
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
