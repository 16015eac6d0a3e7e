import { existsSync, mkdirSync, renameSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelShape, shape135M, tinyShape, writeRandomModel } from "../../test/support/gguf-random-model.ts";

/** Where benches keep their models and configurations. */
export const benchFolder = join(tmpdir(), "loqui-bench");

/** The random models that benches load. Speed depends on a model's shape, not on what it says. */
export const randomShapes = {
  // 0.4 million parameters: what remains is the overhead.
  tiny: tinyShape,
  // The same with the vocabulary of the next but one: what remains is sampling.
  "tiny-152k": { ...tinyShape, vocab: 151_936, type: "q8_0", tied: true },
  // SmolLM2-135M.
  "135m-q8_0": shape135M,
  // Qwen2.5-0.5B, for its vocabulary of 152,000 tokens.
  "500m-q8_0": {
    layers: 24,
    dim: 896,
    ffn: 4864,
    heads: 14,
    kvHeads: 2,
    vocab: 151_936,
    contextLength: 8192,
    type: "q8_0",
    tied: true,
  },
} as const satisfies Readonly<Record<string, ModelShape>>;

export type RandomModel = keyof typeof randomShapes;

/** Path of a random model, which is written where it is not there yet. */
export function randomModel(name: RandomModel): string {
  mkdirSync(benchFolder, { recursive: true });
  const path = join(benchFolder, `random-${name}.gguf`);
  if (!existsSync(path)) {
    writeRandomModel(`${path}.part`, randomShapes[name]);
    renameSync(`${path}.part`, path);
  }
  return path;
}
