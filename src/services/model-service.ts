import { create } from "@bufbuild/protobuf";
import {
  ListModelsResponseSchema,
  type Model,
  type ModelMetrics,
  ModelMetricsSchema,
  ModelSchema,
  ModelService,
  ModelState,
  ModelStateFilter,
} from "../../gen/loqui/v1/model_pb.ts";
import { jsonCodec } from "../codec/codec.ts";
import { parseJson } from "../codec/json-source.ts";
import type { RegisteredModel, Registry } from "../gateway/registry.ts";
import type { ModelUsage, Usage } from "../gateway/usage.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";

/** The models of a registry: listed, described, measured, loaded and unloaded. */
export function createModelService(registry: Registry, usage: Usage): ServiceImplementation {
  const describe = (model: RegisteredModel) => describeModel(model, registry);
  return implement(ModelService, {
    async listModels(request) {
      const data = registry.models
        .map(describe)
        .filter(
          (model) =>
            (request.type.length === 0 || request.type.includes(model.type)) &&
            (request.provider.length === 0 || request.provider.includes(model.provider ?? "")) &&
            request.capability.every((capability) => model.capabilities.includes(capability)) &&
            matchesState(model.state, request.state),
        );
      return create(ListModelsResponseSchema, { object: "list", data });
    },

    async getModel(request, context) {
      context.record.model = request.model;
      context.record.modelId = registry.get(request.model).config.id;
      return { ...describe(registry.get(request.model)), id: request.model };
    },

    async loadModel(request, context) {
      context.record.model = request.model;
      context.record.modelId = registry.get(request.model).config.id;
      const { model } = registry.resolve(request.model);
      await model.worker.load(context.signal);
      return { ...describe(model), id: request.model };
    },

    async unloadModel(request, context) {
      context.record.model = request.model;
      const model = registry.get(request.model);
      context.record.modelId = model.config.id;
      await model.worker.unload({ force: request.force ?? false, signal: context.signal });
      return { ...describe(model), id: request.model };
    },

    async getModelMetrics(request, context) {
      context.record.model = request.model;
      const model = registry.get(request.model);
      context.record.modelId = model.config.id;
      return measureModel(model, registry, usage.of(model.config.id));
    },
  });
}

/** Without a filter: what can answer now or on demand. */
function matchesState(state: ModelState, wanted: readonly ModelStateFilter[]): boolean {
  if (wanted.length === 0) return state !== ModelState.NOT_DOWNLOADED && state !== ModelState.DOWNLOADING;
  // The filter's numbers are the state's, and one more for all.
  return wanted.some((filter) => filter === ModelStateFilter.ALL || Number(filter) === state);
}

const modelCodec = jsonCodec(ModelSchema);

/** What an engine's models come in, where it is one thing only. */
const formats: Readonly<Record<string, string>> = { "llama.cpp": "gguf", onnxruntime: "safetensors" };

/** A model as it stands now. Settings and schema share their names, so the codec does the mapping. */
function describeModel(model: RegisteredModel, registry: Registry): Model {
  const { config, worker } = model;
  const { info, lastError } = worker;
  const state = registry.stateOf(model);
  const json = {
    id: config.id,
    object: "model",
    created: model.file()?.modifiedAt ?? registry.startedAt,
    owned_by: "local",
    provider: "local",
    type: config.type,
    capabilities: config.capabilities,
    engine: config.engine,
    state,
    in_flight: worker.inFlight,
    context_length: info?.contextLength ?? config.parameters.n_ctx,
    size_bytes: model.file()?.sizeBytes ?? info?.sizeBytes,
    license: config.license ?? info?.license,
    description: config.description ?? info?.description,
    parameters: { ...config.parameters, threads: info?.threads ?? config.parameters.threads },
    defaults: config.defaults,
    loaded_at: worker.loadedAt,
    aliases: config.aliases,
    format: formats[config.engine],
    architecture: info?.architecture,
    parameter_count: info?.parameters,
    disabled: config.disabled,
    error: lastError === undefined ? undefined : { message: lastError, code: "model_unavailable" },
  };
  return modelCodec.decode(parseJson(JSON.stringify(json)), "strict").message;
}

const metricsCodec = jsonCodec(ModelMetricsSchema);

function measureModel(model: RegisteredModel, registry: Registry, usage: ModelUsage): ModelMetrics {
  const { config, worker } = model;
  const { counts, info, workerLoad } = worker;
  const recent = usage.recent();
  const json = {
    object: "model.metrics",
    model: config.id,
    created: Math.floor(Date.now() / 1000),
    state: registry.stateOf(model),
    in_flight: worker.inFlight,
    queued: workerLoad?.queued ?? 0,
    sequences: info?.sequences,
    sequences_busy: workerLoad?.active,
    memory_bytes: workerLoad?.residentBytes,
    requests_total: usage.requests,
    errors_total: usage.errors,
    cancelled_total: usage.cancelled,
    prompt_tokens_total: usage.promptTokens,
    cached_tokens_total: usage.cachedTokens,
    completion_tokens_total: usage.completionTokens,
    loads_total: counts.loads,
    crashes_total: counts.crashes,
    queue_time: recent.queueMs,
    time_to_first_token: recent.firstTokenMs,
    time_per_output_token: recent.perTokenMs,
    duration: recent.durationMs,
    tokens_per_second: usage.completionTokensPerSecond,
    prompt_tokens_per_second: usage.promptTokensPerSecond,
    loaded_at: worker.loadedAt,
  };
  return metricsCodec.decode(parseJson(JSON.stringify(json)), "strict").message;
}
