/**
 * Writes the random models that benchmarks load, where they are not there yet,
 * and prints their paths. Speed depends on a model's shape, not on what it says.
 *
 *   npm run bench -- models
 */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelShape, shape135M, tinyShape, writeRandomModel } from "../test/support/gguf-random-model.ts";

const shapes: Readonly<Record<string, ModelShape>> = {
  // 0.4 million parameters: what remains is the overhead.
  "random-tiny": tinyShape,
  // SmolLM2-135M.
  "random-135m-q8_0": shape135M,
  // Qwen2.5-0.5B, for its vocabulary of 152,000 tokens.
  "random-500m-q8_0": {
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
};

const folder = join(tmpdir(), "loqui-bench");
mkdirSync(folder, { recursive: true });
for (const [name, shape] of Object.entries(shapes)) {
  const path = join(folder, `${name}.gguf`);
  if (!existsSync(path)) {
    writeRandomModel(`${path}.part`, shape);
    renameSync(`${path}.part`, path);
  }
  console.log(path);
}
