import { ModelService } from "../gen/loqui/v1/model_pb.ts";
import { createWorkerBackend } from "./backends/worker/worker-backend.ts";
import { packageVersion } from "./config/package-root.ts";
import type { Settings } from "./config/settings.ts";
import { createRegistry } from "./gateway/registry.ts";
import { createRestHandler } from "./rest/handler.ts";
import { createServer } from "./server/server.ts";
import { createServices } from "./services/services.ts";
import { createLog, logRecords } from "./telemetry/log.ts";

/** A running loqui. */
export interface Loqui {
  /** `http://HOST:PORT`, with the port that was bound. */
  readonly url: string;
  /** Resolves when every preloaded model is ready or can't be loaded. */
  readonly settled: Promise<void>;
  /** Ends it: what is in flight gets the drain time, then the workers are stopped. */
  close(): Promise<void>;
  /** Cuts the drain time of a `close` short. */
  abort(): void;
}

/**
 * Puts the parts together and starts them: the workers of the preloaded models
 * first, because they take longest, then the port. Resolves when the port is
 * open; calls that come before their model is loaded wait for it. Rejects with
 * a ListenError when the port can't be had.
 */
export async function startLoqui(settings: Settings): Promise<Loqui> {
  const log = createLog({ level: settings.logLevel });
  const registry = createRegistry({
    models: settings.models,
    loadOnDemand: settings.loadOnDemand,
    createWorker: (config) =>
      createWorkerBackend({
        config,
        log,
        maxOutputTokens: settings.chatLimits.maxOutputTokens,
        drainMs: settings.drainMs,
        onChange: () => reportHealth(),
      }),
  });
  let reportHealth = () => {};
  let loading = true;
  const preloaded = registry.preload();
  const about = { name: "loqui", version: packageVersion };
  try {
    const server = await createServer({
      host: settings.host,
      port: settings.port,
      services: createServices(registry, settings.chatLimits),
      rest: (dispatcher, limits) =>
        createRestHandler({
          dispatcher,
          strict: settings.strict,
          info: { title: about.name, version: about.version },
          limits: { bodyBytes: limits.maxRequestBytes, maxTimeoutMs: limits.maxTimeoutMs },
          onError: (error, request) => {
            const { dispatched, ...refused } = request;
            if (!dispatched) log.info({ ...refused, kind: error.kind, param: error.param }, "request refused");
          },
        }),
      about,
      limits: { maxTimeoutMs: settings.requestTimeoutMs, drainMs: settings.drainMs },
      allowedOrigins: settings.corsOrigins,
      watches: [ModelService.method.watchModels],
      onRecord: logRecords(log),
      log,
    });
    log.info({ url: server.url }, "listening");
    reportHealth = () => {
      for (const model of registry.models) server.health.set(model.config.id, registry.canAnswer(model));
      if (loading) server.health.setNotReady("models are loading");
      else if (registry.models.some((model) => registry.canAnswer(model))) server.health.setReady();
      else server.health.setNotReady("no model can answer");
    };
    reportHealth();
    const settled = preloaded.then(() => {
      loading = false;
      reportHealth();
    });
    return {
      url: server.url,
      settled,
      abort: () => void server.close({ force: true }),
      async close() {
        await server.close();
        await registry[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await registry[Symbol.asyncDispose]();
    throw error;
  }
}
