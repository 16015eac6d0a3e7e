import { createWorkerBackend } from "./backends/worker/worker-backend.ts";
import type { Settings } from "./config/settings.ts";
import { createGateway } from "./gateway/gateway.ts";
import { createRegistry } from "./gateway/registry.ts";
import { createLog } from "./telemetry/log.ts";

/** A running loqui. */
export interface Loqui {
  /** `http://HOST:PORT`, with the port that was bound. */
  readonly url: string;
  /** Ends it: what is in flight gets the drain time, then the workers are stopped. */
  close(): Promise<void>;
  /** Cuts the drain time short. */
  abort(): void;
}

/**
 * Puts the parts together and starts them: the workers of the preloaded models
 * first, because they take longest, then the port. Resolves when every
 * preloaded model is ready or has failed. Throws a ListenError.
 */
export async function startLoqui(settings: Settings): Promise<Loqui> {
  const log = createLog({ level: settings.logLevel });
  const registry = createRegistry({
    models: settings.models,
    loadOnDemand: settings.loadOnDemand,
    createWorker: (config) => createWorkerBackend({ config, log }),
  });
  registry.preload();
  const { serveRegistry } = await import("./serve-registry.ts");
  return serveRegistry(settings, registry, createGateway(registry, "chat"), log);
}
