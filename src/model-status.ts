import type { RegisteredModel, Registry } from "./gateway/registry.ts";
import type { Usage } from "./gateway/usage.ts";
import type { ModelStatus } from "./telemetry/state-metrics.ts";

/** A model as the metrics see it. */
export function modelStatus(model: RegisteredModel, registry: Registry, usage: Usage): ModelStatus {
  const { id } = model.config;
  const { inFlight, workerLoad, info, counts } = model.worker;
  const { promptTokens, cachedTokens, completionTokens } = usage.of(id);
  return {
    id,
    state: registry.stateOf(model),
    inFlight,
    load: workerLoad,
    sequences: info?.sequences,
    promptTokens,
    cachedTokens,
    generatedTokens: completionTokens,
    ...counts,
  };
}
