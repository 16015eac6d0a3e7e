import type { PairEngine } from "../engines/pair-engine.ts";
import type { TextEngine } from "../engines/text-engine.ts";
import type { TokenEngine } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import type { WorkerModel } from "./ipc.ts";

/** A runtime that a worker can load. Nothing of it is imported before it is asked for. */
interface Runtime {
  /** Opens a model that generates; undefined where the runtime has none. */
  openTokens?(model: WorkerModel): Promise<TokenEngine>;
  /** Opens a model that turns texts into vectors; undefined where the runtime has none. */
  openTexts?(model: WorkerModel): Promise<TextEngine>;
  /** Opens a model that scores pairs of texts; undefined where the runtime has none. */
  openPairs?(model: WorkerModel): Promise<PairEngine>;
  /** What the environment of its process must hold before it starts. */
  environment(): Promise<Record<string, string>>;
}

const onLog = (level: string, message: string) => console.error(`llama.cpp ${level}: ${message}`);

const runtimes: Readonly<Record<string, Runtime>> = {
  "llama.cpp": {
    async openTokens(model) {
      const { openLlamaEngine } = await import("../engines/llama/llama-engine.ts");
      return openLlamaEngine({
        path: model.path,
        sequences: model.sequences,
        batchSize: model.batchSize,
        contextLength: model.contextLength,
        threads: model.threads,
        onLog,
      });
    },
    async openTexts({ path, sequences, batchSize, contextLength, threads, pooling }) {
      const { openLlamaTextEngine } = await import("../engines/llama/llama-text-engine.ts");
      return openLlamaTextEngine({ path, sequences, batchSize, contextLength, threads, pooling, onLog });
    },
    async openPairs({ path, sequences, batchSize, contextLength, threads }) {
      const { openLlamaPairEngine } = await import("../engines/llama/llama-pair-engine.ts");
      return openLlamaPairEngine({ path, sequences, batchSize, contextLength, threads, onLog });
    },
    async environment() {
      const { addonEnvironment } = await import("../engines/llama/addon-file.ts");
      return addonEnvironment();
    },
  },
  onnxruntime: {
    async openTexts({ path, file, contextLength, batchSize, threads, pooling, quantization }) {
      const { openOnnxEngine } = await import("../engines/onnx/onnx-engine.ts");
      return openOnnxEngine({ path, file, contextLength, batchSize, threads, pooling, quantization });
    },
    async openPairs({ path, file, contextLength, batchSize, threads, quantization }) {
      const { openOnnxPairEngine } = await import("../engines/onnx/onnx-pair-engine.ts");
      return openOnnxPairEngine({ path, file, contextLength, batchSize, threads, quantization });
    },
    environment: async () => ({}),
  },
};

function runtimeOf({ engine, id }: WorkerModel): Runtime {
  const runtime = Object.hasOwn(runtimes, engine) ? runtimes[engine] : undefined;
  if (runtime !== undefined) return runtime;
  throw new LoquiError("model_unavailable", `the model ${id} needs the engine ${engine}, which is not there yet`);
}

/** What a model does: makes vectors of texts, scores pairs of them, or else generates. */
export function taskOf({ type }: WorkerModel): "texts" | "pairs" | "tokens" {
  if (type === "embedding") return "texts";
  return type === "rerank" ? "pairs" : "tokens";
}

/** Loads a model that generates. Throws `model_unavailable` where there is no such runtime or it can't. */
export async function openTokenEngine(model: WorkerModel): Promise<TokenEngine> {
  return (await runtimeOf(model).openTokens?.(model)) ?? unfit(model);
}

/** Loads a model that turns texts into vectors. Throws as {@link openTokenEngine}. */
export async function openTextEngine(model: WorkerModel): Promise<TextEngine> {
  return (await runtimeOf(model).openTexts?.(model)) ?? unfit(model);
}

/** Loads a model that scores pairs of texts. Throws as {@link openTokenEngine}. */
export async function openPairEngine(model: WorkerModel): Promise<PairEngine> {
  return (await runtimeOf(model).openPairs?.(model)) ?? unfit(model);
}

/** The environment variables that the process of a model needs from its start. Throws as {@link openTokenEngine}. */
export async function engineEnvironment(model: WorkerModel): Promise<Record<string, string>> {
  const { openTexts, openPairs, openTokens, environment } = runtimeOf(model);
  const open = { texts: openTexts, pairs: openPairs, tokens: openTokens }[taskOf(model)];
  if (open === undefined) unfit(model);
  return environment();
}

function unfit({ id, engine, type }: WorkerModel): never {
  throw new LoquiError("model_unavailable", `the model ${id} is of type ${type}, which ${engine} doesn't run yet`);
}
