import { statSync } from "node:fs";
import type { Backend } from "../backends/backend.ts";
import type { WorkerBackend } from "../backends/worker/worker-backend.ts";
import type { ModelConfig } from "../config/models-file.ts";
import { LoquiError } from "../errors.ts";
import { nearestNames } from "./nearest-names.ts";

/** A model that the server knows, with the worker that runs it. */
export interface RegisteredModel {
  readonly config: ModelConfig;
  readonly worker: WorkerBackend;
  /** Its file or folder as it is now; undefined where it is not on disk. */
  file(): ModelFile | undefined;
}

export interface ModelFile {
  /** Undefined for a folder. */
  readonly sizeBytes: number | undefined;
  /** In Unix seconds. */
  readonly modifiedAt: number;
}

/** Where a model stands; as in `ModelState` of the schema, in lower case. */
export type LifeState = "not_downloaded" | "available" | "loading" | "ready" | "unloading" | "failed";

/** Which models there are, and which backends answer for a name. */
export interface Registry extends AsyncDisposable {
  /** All models, in the order of the files. */
  readonly models: readonly RegisteredModel[];
  /** The model of an id or alias. Throws `model_not_found` with the nearest names. */
  get(name: string): RegisteredModel;
  /**
   * The backends that answer for a name, best first. Throws `model_not_found`,
   * and `model_unavailable` for a model that is disabled, or not loaded where
   * loading on demand is off.
   */
  resolve(name: string): { model: RegisteredModel; backends: readonly Backend[] };
  /** Where a model stands now. */
  stateOf(model: RegisteredModel): LifeState;
  /** Whether requests for a model can be answered, now or after loading it on demand. */
  canAnswer(model: RegisteredModel): boolean;
  /** When the registry was made, in Unix seconds. */
  readonly startedAt: number;
  /**
   * Starts to load every model that its configuration wants loaded. Resolves
   * when all are ready or have failed.
   */
  preload(): Promise<void>;
}

export interface RegistryOptions {
  readonly models: readonly ModelConfig[];
  readonly loadOnDemand: boolean;
  readonly createWorker: (config: ModelConfig) => WorkerBackend;
}

export function createRegistry(options: RegistryOptions): Registry {
  const models = options.models.map((config): RegisteredModel => {
    return {
      config,
      worker: options.createWorker(config),
      file() {
        const stat = statSync(config.source.path, { throwIfNoEntry: false });
        if (stat === undefined) return undefined;
        return {
          sizeBytes: stat.isDirectory() ? undefined : stat.size,
          modifiedAt: Math.floor(stat.mtimeMs / 1000),
        };
      },
    };
  });
  const byName = new Map(
    models.flatMap((model) => [model.config.id, ...model.config.aliases].map((name) => [name, model])),
  );

  function get(name: string): RegisteredModel {
    const model = byName.get(name);
    if (model !== undefined) return model;
    const nearest = nearestNames(name, byName.keys());
    const hint =
      nearest.length === 0 ? "GET /v1/models lists those there are" : `did you mean ${nearest.join(" or ")}?`;
    throw new LoquiError("model_not_found", `the model \`${name.slice(0, 512)}\` does not exist; ${hint}`, {
      param: "model",
    });
  }

  function stateOf(model: RegisteredModel): LifeState {
    const { state } = model.worker;
    return state === "available" && model.file() === undefined ? "not_downloaded" : state;
  }

  return {
    models,
    startedAt: Math.floor(Date.now() / 1000),
    get,
    stateOf,
    canAnswer(model) {
      const state = stateOf(model);
      return !model.config.disabled && (state === "ready" || (state === "available" && options.loadOnDemand));
    },
    resolve(name) {
      const model = get(name);
      if (model.config.disabled) throw unavailable(name, "is disabled");
      const state = stateOf(model);
      if (state === "not_downloaded") {
        throw unavailable(name, "has no files on this machine");
      }
      if (state === "available" && !options.loadOnDemand) {
        throw unavailable(name, "is not loaded, and loading on demand is off");
      }
      return { model, backends: [model.worker] };
    },
    async preload() {
      const wanted = models.filter(({ config }) => config.preload && !config.disabled);
      const never = new AbortController().signal;
      // A failure is the worker's state and a line in the log; the others go on.
      await Promise.allSettled(wanted.map((model) => model.worker.load(never)));
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(models.map((model) => model.worker[Symbol.asyncDispose]()));
    },
  };
}

/** For what trying again does not change. */
function unavailable(name: string, why: string): LoquiError {
  return new LoquiError("model_unavailable", `the model ${name} ${why}`, { retryable: false });
}
