import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { encoderOf } from "../../../src/engines/onnx/architectures.ts";
import { openOnnxEngine } from "../../../src/engines/onnx/onnx-engine.ts";
import { cosine } from "../../support/cosine.ts";
import { linkCheckpoint, onnxFixtures } from "../../support/onnx-models.ts";

const texts = JSON.parse(readFileSync(join(onnxFixtures, "texts.json"), "utf8")) as string[];

/** Made by test/engines/onnx/reference/ropes.py. */
interface Reference {
  readonly checkpoint: string;
  readonly case: string;
  /** Members of config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly step: number;
  readonly vectors: string;
}
const references = JSON.parse(readFileSync(join(onnxFixtures, "ropes.json"), "utf8")) as Reference[];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-ropes-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const configOf = (checkpoint: string, changes: Readonly<Record<string, unknown>>) => ({
  ...(JSON.parse(readFileSync(join(onnxFixtures, checkpoint, "config.json"), "utf8")) as Record<string, unknown>),
  ...changes,
});

it.each(references)("$checkpoint, $case: the vectors of transformers", async (reference) => {
  const { checkpoint, config, step, vectors } = reference;
  const bytes = Buffer.from(vectors, "base64");
  const expected = Float32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));
  const pooling = checkpoint === "qwen3" ? "lasttoken" : "mean";
  const path = linkCheckpoint(join(folder, "model"), checkpoint, pooling);
  // The encoder alone.
  rmSync(join(path, "modules.json"));
  const vectorsWith = async (changes: Readonly<Record<string, unknown>>) => {
    rmSync(join(path, "config.json"));
    writeFileSync(join(path, "config.json"), JSON.stringify(configOf(checkpoint, changes)));
    await using engine = await openOnnxEngine({ path, threads: 1, pooling: [pooling], batchSize: 16 });
    const rows = texts.filter((_, index) => index % step === 0).map((text) => engine.tokenize(text, "end"));
    return { width: engine.width, made: await engine.embed(rows) };
  };
  const { width, made } = await vectorsWith(config);
  const { made: unscaled } = await vectorsWith({});
  const cosinesOf = (list: Float32Array) =>
    Array.from({ length: expected.length / width }, (_, row) => cosine(list, expected, row * width, width));
  expect(Math.min(...cosinesOf(made))).toBeGreaterThan(0.9999);
  const furthest = made.reduce((most, value, at) => Math.max(most, Math.abs(value - (expected[at] ?? 0))), 0);
  expect(furthest).toBeLessThan(1e-4);
  // What is compared depends on the rope.
  expect(Math.min(...cosinesOf(unscaled))).toBeLessThan(0.99);
});

it.each([
  ["qwen3", { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32_768 }, 32_768, 131_072],
  ["qwen3", { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32_768 }, 200_000, 200_000],
  ["qwen3", { rope_type: "yarn", factor: 1e6, original_max_position_embeddings: 32_768 }, 32_768, 1_048_576],
  ["modernbert", { rope_type: "yarn", factor: 2 }, 40, 80],
  ["qwen3", { rope_type: "linear", factor: 4 }, 40, 40],
] as const)("%s with %o and %d positions: texts of %d tokens", (checkpoint, rope, positions, most) => {
  const changes = { rope_parameters: null, rope_scaling: rope, max_position_embeddings: positions };
  expect(encoderOf(configOf(checkpoint, changes)).maxPositions).toBe(most);
});

it.each<[Record<string, unknown>, string]>([
  [{ rope_type: "dynamic", factor: 2 }, "rope_parameters: rope_type dynamic is not supported"],
  [{ rope_type: "longrope", factor: 2 }, "rope_parameters: rope_type longrope is not supported"],
  [{ rope_type: "yarn", factor: 0.5 }, "rope_parameters: factor is not a number from 1 to 1000000"],
  [
    { rope_type: "yarn", factor: 4, original_max_position_embeddings: 0 },
    "original_max_position_embeddings is not a whole number from 1 to 1048576",
  ],
  [{ rope_type: "yarn", factor: 4, beta_fast: 1, beta_slow: 32 }, "rope_parameters: beta_fast 1 is below beta_slow 32"],
  [{ rope_type: "yarn", factor: 4, truncate: 1 }, "rope_parameters: truncate is not true or false"],
  [{ rope_type: "yarn", factor: 4, rope_theta: 1 }, "rope_theta is not a number from 1.001 to 1000000000000"],
  [{ rope_type: "yarn", factor: 4, partial_rotary_factor: 0.5 }, "partial_rotary_factor is not a number from 1 to 1"],
  [{ rope_type: "llama3", low_freq_factor: 1, high_freq_factor: 4 }, "rope_parameters has no factor"],
  [
    { rope_type: "llama3", factor: 8, low_freq_factor: 4, high_freq_factor: 4 },
    "rope_parameters: high_freq_factor 4 is not above low_freq_factor 4",
  ],
  [{ rope_type: "linear" }, "rope_parameters has no factor"],
  [{ rope_type: "yarn" }, "rope_parameters has no factor"],
  [{ rope_type: "yarn" }, "rope_parameters has no factor"],
])("refuses %o", (rope, message) => {
  expect(() => encoderOf(configOf("qwen3", { rope_parameters: rope }))).toThrow(message);
});
