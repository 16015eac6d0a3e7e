import type { TokenEngine } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import type { WorkerModel } from "./ipc.ts";

/** A runtime that a worker can load. Nothing of it is imported before it is asked for. */
interface Runtime {
  open(model: WorkerModel): Promise<TokenEngine>;
  /** What the environment of its process must hold before it starts. */
  environment(): Promise<Record<string, string>>;
}

const runtimes: Readonly<Record<string, Runtime>> = {
  "llama.cpp": {
    async open(model) {
      const { openLlamaEngine } = await import("../engines/llama/llama-engine.ts");
      return openLlamaEngine({
        path: model.path,
        sequences: model.sequences,
        batchSize: model.batchSize,
        contextLength: model.contextLength,
        threads: model.threads,
        onLog: (level, message) => console.error(`llama.cpp ${level}: ${message}`),
      });
    },
    async environment() {
      const { addonEnvironment } = await import("../engines/llama/addon-file.ts");
      return addonEnvironment();
    },
  },
};

function runtimeOf({ engine, id }: WorkerModel): Runtime {
  const runtime = Object.hasOwn(runtimes, engine) ? runtimes[engine] : undefined;
  if (runtime !== undefined) return runtime;
  throw new LoquiError("model_unavailable", `the model ${id} needs the engine ${engine}, which is not there yet`);
}

/** Loads a model on its runtime. Throws `model_unavailable` where there is no such runtime or it can't. */
export async function openEngine(model: WorkerModel): Promise<TokenEngine> {
  return runtimeOf(model).open(model);
}

/** The environment variables that the process of a model needs from its start. Throws as {@link openEngine}. */
export async function engineEnvironment(model: WorkerModel): Promise<Record<string, string>> {
  return runtimeOf(model).environment();
}
