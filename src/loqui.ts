import { join } from "node:path";
import { ModelService } from "../gen/loqui/v1/model_pb.ts";
import { createKeyRing, type KeyRing } from "./access/keys.ts";
import { sweepSocketFolders } from "./backends/worker/socket-folder.ts";
import { createWorkerBackend } from "./backends/worker/worker-backend.ts";
import { ConfigError } from "./config/config-error.ts";
import { readKeysFile } from "./config/keys-file.ts";
import { packageVersion } from "./config/package-root.ts";
import type { ApiKeySettings, Settings } from "./config/settings.ts";
import { watchFile } from "./config/watch-file.ts";
import { withoutPaths } from "./error-trace.ts";
import { createRegistry } from "./gateway/registry.ts";
import { createUsage } from "./gateway/usage.ts";
import { modelStatus } from "./model-status.ts";
import { createRestHandler } from "./rest/handler.ts";
import { createServer, type Server } from "./server/server.ts";
import { createServices } from "./services/services.ts";
import { createLog, type Logger, logRecords, refusalFields } from "./telemetry/log.ts";
import { createMetrics } from "./telemetry/metrics.ts";
import { createRefusalLog } from "./telemetry/refusal-log.ts";

/** A running loqui. */
export interface Loqui {
  /** `http://HOST:PORT` or `https://HOST:PORT`, with the port that was bound. */
  readonly url: string;
  /** Resolves when every preloaded model is ready or can't be loaded. */
  readonly settled: Promise<void>;
  /** Reads again what may change while it runs: the keys file. What is wrong there is logged, and the old keys stay. */
  reload(): void;
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
  const log = createLog({ level: settings.logLevel, content: settings.logContent });
  // In the background: nothing of this process depends on it.
  void sweepSocketFolders();
  const registry = createRegistry({
    models: settings.models,
    loadOnDemand: settings.loadOnDemand,
    createWorker: (config) =>
      createWorkerBackend({
        config,
        log,
        cacheFolder: join(settings.home, "cache"),
        logContent: settings.logContent,
        strict: settings.strict,
        drainMs: settings.drainMs,
        hangMs: settings.watchdogMs,
        maxOutputTokens: settings.chatLimits.maxOutputTokens,
        onChange: () => reportHealth(),
      }),
  });
  const usage = createUsage();
  const metrics = createMetrics(
    {
      models: () => registry.models.map((model) => modelStatus(model, registry, usage)),
      server: async () => server?.status(),
    },
    packageVersion,
  );
  const logRefusal = createRefusalLog(log);
  const logRecord = logRecords(log, settings.logContent, logRefusal);
  let server: Server | undefined;
  let reportHealth = () => {};
  let loading = true;
  const preloaded = registry.preload();
  const keys = settings.apiKeys && openKeys(settings.apiKeys, log);
  const about = { name: "loqui", version: packageVersion };
  const { idleTimeoutMs, ...portLimits } = settings.portLimits;
  try {
    const opened = await createServer({
      host: settings.host,
      port: settings.port,
      services: createServices(registry, usage, settings.chatLimits),
      rest: (dispatcher, limits, admit) =>
        createRestHandler({
          dispatcher,
          admit,
          strict: settings.strict,
          info: { title: about.name, version: about.version },
          limits: {
            bodyBytes: limits.maxRequestBytes,
            bodyTimeoutMs: limits.bodyTimeoutMs,
            maxTimeoutMs: limits.maxTimeoutMs,
            stallMs: limits.stallMs,
          },
          onError: (error, request) => {
            const { dispatched, ...refused } = request;
            if (dispatched) return;
            logRefusal("info", error.kind, { ...refused, ...refusalFields(error) }, "request refused");
            metrics.onRejected(error.kind, "rest");
          },
        }),
      about,
      limits: {
        ...portLimits,
        ...(idleTimeoutMs !== undefined && { keepAliveTimeoutMs: idleTimeoutMs, http2IdleTimeoutMs: idleTimeoutMs }),
        maxTimeoutMs: settings.requestTimeoutMs,
        drainMs: settings.drainMs,
        stallMs: settings.stallMs,
      },
      tls: settings.tls,
      allowedOrigins: settings.corsOrigins,
      allowedHosts: settings.allowedHosts,
      ...(keys && { keys: keys.ring }),
      publicMethods: settings.publicModels ? [ModelService.method.listModels, ModelService.method.getModel] : [],
      rateLimit: { requestsPerMinute: settings.requestsPerMinute, tokensPerMinute: settings.tokensPerMinute },
      watches: [ModelService.method.watchModels],
      onRecord(record, error) {
        usage.add(record);
        metrics.onRecord(record, error);
        logRecord(record, error);
      },
      onRejected: metrics.onRejected,
      logContent: settings.logContent,
      ...(settings.metrics !== "off" && { metricsPage: metrics.page, publicMetrics: settings.metrics === "open" }),
      log,
      logRefusal,
    });
    server = opened;
    log.info({ url: opened.url }, "listening");
    reportHealth = () => {
      for (const model of registry.models) opened.health.set(model.config.id, registry.canAnswer(model));
      if (loading) opened.health.setNotReady("models are loading");
      else if (registry.models.some((model) => registry.canAnswer(model))) opened.health.setReady();
      else opened.health.setNotReady("no model can answer");
    };
    reportHealth();
    const settled = preloaded.then(() => {
      loading = false;
      reportHealth();
    });
    return {
      url: opened.url,
      settled,
      reload: () => keys?.reload(),
      abort: () => void opened.close({ force: true }),
      async close() {
        keys?.close();
        await opened.close();
        await registry[Symbol.asyncDispose]();
        metrics[Symbol.dispose]();
      },
    };
  } catch (error) {
    keys?.close();
    metrics[Symbol.dispose]();
    await registry[Symbol.asyncDispose]();
    throw error;
  }
}

/** The API keys, read again whenever their file changes. */
function openKeys(settings: ApiKeySettings, log: Logger): { ring: KeyRing; reload(): void; close(): void } {
  const { fixed, listed, file } = settings;
  const ring = createKeyRing([...fixed, ...listed]);
  function reload(): void {
    if (file === undefined) return;
    try {
      const read = readKeysFile(file);
      ring.replace([...fixed, ...read]);
      log.info({ keys: fixed.length + read.length }, "API keys read again");
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      log.error(
        { reason: withoutPaths(error.message, file) },
        "the keys file is refused; the keys before it stay valid",
      );
    }
  }
  return { ring, reload, close: file === undefined ? () => {} : watchFile(file, reload) };
}
