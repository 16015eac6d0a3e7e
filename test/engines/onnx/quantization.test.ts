import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openOnnxEngine } from "../../../src/engines/onnx/onnx-engine.ts";
import { openOnnxPairEngine } from "../../../src/engines/onnx/onnx-pair-engine.ts";
import { quantizeWeights, toFloat32 } from "../../../src/engines/onnx/quantization.ts";
import { cosine } from "../../support/cosine.ts";
import { linkCheckpoint, linkReranker, onnxFixtures, rerankerFixtures } from "../../support/onnx-models.ts";

const texts = JSON.parse(readFileSync(join(onnxFixtures, "texts.json"), "utf8")) as string[];

let folder: string;
let cacheFolder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-int8-"));
  cacheFolder = join(folder, "cache");
});
afterEach(() => rmSync(folder, { recursive: true }));

const model = () => join(folder, "model");
const open = (quantization: { cacheFolder: string } | undefined = { cacheFolder }) =>
  openOnnxEngine({ path: model(), threads: 1, quantization });
const cached = () =>
  readdirSync(cacheFolder, { recursive: true })
    .map(String)
    .filter((name) => /\.\w+$/.test(name))
    .sort();

/** What docs/quantization.md says of it is what is measured here. */
it.each([
  ["bert", 0.9997, 0.9999],
  ["distilbert", 0.9997, 0.9999],
  ["modernbert", 0.9994, 0.9998],
  ["mpnet", 0.9997, 0.9999],
  ["xlm-roberta", 0.9997, 0.9999],
  ["qwen3", 0.999, 0.9998],
  ["gemma3", 0.998, 0.9997],
  ["gemma3-causal", 0.998, 0.9997],
])("int8, %s: cosines against float32 from %d, in the mean %d", async (name, least, mean) => {
  linkCheckpoint(model(), name, name === "qwen3" ? "lasttoken" : "mean");
  const vectorsOf = async (quantization: { cacheFolder: string } | undefined) => {
    await using engine = await openOnnxEngine({ path: model(), threads: 1, quantization });
    const rows = texts.map((text) => engine.tokenize(text, "end"));
    return { width: engine.width, vectors: await engine.embed(rows) };
  };
  const { width, vectors } = await vectorsOf(undefined);
  const { vectors: quantized } = await vectorsOf({ cacheFolder });
  expect(quantized).not.toEqual(vectors);
  const cosines = texts.map((_, row) => cosine(quantized, vectors, row * width, width));
  const average = cosines.reduce((sum, value) => sum + value, 0) / cosines.length;
  expect(Math.min(...cosines)).toBeGreaterThan(least);
  expect(average).toBeGreaterThan(mean);
});

it("a text's vector doesn't depend on what else is in its batch", async () => {
  linkCheckpoint(model(), "bert", "mean");
  await using engine = await open();
  const rows = texts.map((text) => engine.tokenize(text, "end"));
  const [first = new Uint32Array()] = rows.slice(20);
  const alone = await engine.embed([first]);
  const among = (await engine.embed([...rows.slice(21), first])).slice(-engine.width);
  for (const [at, value] of alone.entries()) expect(among[at]).toBeCloseTo(value, 5);
});

it("computes rows of zeros, which have no scale", async () => {
  linkCheckpoint(model(), "bert", "mean");
  const file = join(model(), "model.safetensors");
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.subarray(8, start).toString()) as Record<string, { data_offsets: [number, number] }>;
  // What comes out of the first norm, of every token.
  for (const part of ["weight", "bias"]) {
    const [from, to] = header[`embeddings.LayerNorm.${part}`]?.data_offsets ?? [];
    if (from === undefined || to === undefined) throw new Error(`no ${part}`);
    bytes.fill(0, start + from, start + to);
  }
  rmSync(file);
  writeFileSync(file, bytes);
  const vectorOf = async (quantization: { cacheFolder: string } | undefined) => {
    await using engine = await openOnnxEngine({ path: model(), threads: 1, quantization });
    return { vector: await engine.embed([engine.tokenize("zeros", "end")]), width: engine.width };
  };
  const [int8, float32] = [await vectorOf({ cacheFolder }), await vectorOf(undefined)];
  expect(cosine(int8.vector, float32.vector, 0, int8.width)).toBeGreaterThan(0.999);
});

it("scores pairs nearly as float32 does", async () => {
  const pairs = JSON.parse(readFileSync(join(rerankerFixtures, "pairs.json"), "utf8")) as [string, string][];
  linkReranker(model(), "bert");
  await expect(openOnnxPairEngine({ path: model(), file: "a.onnx", quantization: { cacheFolder } })).rejects.toThrow(
    "quantization int8 is for weights, a.onnx is an export",
  );
  const scoresOf = async (quantization: { cacheFolder: string } | undefined) => {
    await using engine = await openOnnxPairEngine({ path: model(), threads: 1, quantization });
    const rows = pairs.map(([query, document]) =>
      engine.pair(engine.tokenizeQuery(query), engine.tokenizeDocument(document).tokens, "end"),
    );
    return [...(await engine.score(rows))].map((score) => engine.readScore(score));
  };
  const [float32, int8] = [await scoresOf(undefined), await scoresOf({ cacheFolder })];
  const apart = float32.map((score, at) => Math.abs(score - (int8[at] ?? 0)));
  const mean = apart.reduce((sum, value) => sum + value, 0) / apart.length;
  expect(mean).toBeGreaterThan(0);
  expect(mean).toBeLessThan(0.01);
  expect(Math.max(...apart)).toBeLessThan(0.1);
});

it("quantizes each output by itself, to the nearest of 255 numbers", () => {
  const { values, scales } = quantizeWeights(Float32Array.of(1, -2, 0.5, 0, 0, 0, -1e-3, 5e-4, 0), 3, 3);
  // Turned round: a row for each input.
  expect([...values]).toEqual([64, 0, -127, -127, 0, 64, 32, 0, 0]);
  expect([...scales]).toEqual([2 / 127, 1, 1e-3 / 127].map(Math.fround));
});

it.each([
  ["F32", Uint8Array.of(0, 0, 192, 63, 0, 0, 0, 192)],
  ["F16", Uint8Array.of(0, 62, 0, 192)],
  ["BF16", Uint8Array.of(192, 63, 0, 192)],
] as const)("reads weights of %s", (type, bytes) => {
  expect([...toFloat32({ type }, bytes)]).toEqual([1.5, -2]);
});

it("keeps what it has made, and makes it anew where the weights have changed or it is cut off", async () => {
  linkCheckpoint(model(), "bert", "mean");
  const weights = join(model(), "model.safetensors");
  const bytes = readFileSync(weights);
  rmSync(weights);
  writeFileSync(weights, bytes);
  const vectorOf = async () => {
    await using engine = await open();
    return [...(await engine.embed([Uint32Array.of(2, 7, 9, 3)]))];
  };
  const first = await vectorOf();
  const [name = "", ...more] = cached();
  expect(more).toEqual([]);
  const file = join(cacheFolder, name);
  const made = statSync(file, { bigint: true });
  expect(made.mode & 0o077n).toBe(0n);

  expect(await vectorOf()).toEqual(first);
  expect(statSync(file, { bigint: true }).ino).toBe(made.ino);

  truncateSync(file, Number(made.size) - 100);
  expect(await vectorOf()).toEqual(first);
  expect(cached()).toEqual([name]);

  // Other weights, of the same size, with the times that they had.
  const { atime, mtime } = statSync(weights);
  const changed = Buffer.from(bytes);
  const data = 8 + Number(bytes.readBigUInt64LE());
  changed.copyWithin(data, data + 4);
  writeFileSync(weights, changed);
  utimesSync(weights, atime, mtime);
  expect(await vectorOf()).not.toEqual(first);
  expect(cached()).toHaveLength(2);

  // The next one that is written takes away what nobody has used for an hour.
  const old = new Date(Date.now() - 3_700_000);
  for (const each of cached()) utimesSync(join(cacheFolder, each), old, old);
  writeFileSync(weights, bytes);
  expect(await vectorOf()).toEqual(first);
  expect(cached()).toHaveLength(1);
});

it("two that make it at once both have it", async () => {
  linkCheckpoint(model(), "mpnet", "mean");
  const vectorOf = async () => {
    await using engine = await open();
    return [...(await engine.embed([Uint32Array.of(0, 7, 9, 2)]))];
  };
  const [one, other] = await Promise.all([vectorOf(), vectorOf()]);
  expect(one).toEqual(other);
  expect(cached()).toHaveLength(1);
});

it("says that the cache can't be written, and that exports aren't quantized", async () => {
  linkCheckpoint(model(), "bert", "mean");
  writeFileSync(cacheFolder, "a file");
  await expect(open()).rejects.toMatchObject({
    kind: "model_unavailable",
    message: expect.stringContaining("the quantized weights can't be kept in LOQUI_HOME (ENOTDIR)"),
  });
  await expect(openOnnxEngine({ path: model(), file: "a.onnx", quantization: { cacheFolder } })).rejects.toThrow(
    "quantization int8 is for weights, a.onnx is an export",
  );
});
