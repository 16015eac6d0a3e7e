import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { openOnnxEngine } from "../../../src/engines/onnx/onnx-engine.ts";
import type { TextEngine } from "../../../src/engines/text-engine.ts";
import { cosine } from "../../support/cosine.ts";
import { onnxFixtures as fixtures, linkCheckpoint } from "../../support/onnx-models.ts";

const texts = JSON.parse(readFileSync(join(fixtures, "texts.json"), "utf8")) as string[];

/** What transformers and sentence-transformers make of the same weights. */
interface Reference {
  readonly ids: readonly (readonly number[])[];
  readonly layouts: Readonly<
    Record<string, { readonly step: number; readonly width: number; readonly vectors: string }>
  >;
}

const cases = ["bert", "distilbert", "gemma3", "gemma3-causal", "modernbert", "mpnet", "qwen3", "xlm-roberta"].flatMap(
  (name) => {
    const reference = JSON.parse(readFileSync(join(fixtures, name, "reference.json"), "utf8")) as Reference;
    return Object.entries(reference.layouts).map(([layout, { step, width, vectors }]) => {
      const bytes = Buffer.from(vectors, "base64");
      const expected = Float32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));
      return { name, layout, step, width, expected, ids: reference.ids };
    });
  },
);

let folder: string | undefined;
let engine: TextEngine | undefined;
afterEach(async () => {
  await engine?.[Symbol.asyncDispose]();
  if (folder !== undefined) rmSync(folder, { recursive: true });
  folder = engine = undefined;
});

it.each(cases)("$name, $layout: the ids and vectors of sentence-transformers", async (reference) => {
  const { name, layout, step, width, expected, ids } = reference;
  folder = mkdtempSync(join(tmpdir(), "loqui-onnx-"));
  engine = await openOnnxEngine({
    path: linkCheckpoint(join(folder, "model"), name, layout),
    threads: 1,
    batchSize: 16,
  });
  expect(engine.width).toBe(width);
  const tokens = texts.map((text) => engine?.tokenize(text, "end") ?? new Uint32Array());
  expect(tokens.map((row) => [...row])).toEqual(ids);

  const rows = tokens.filter((_, index) => index % step === 0);
  const mixed = new Float32Array(expected.length);
  // Texts of all lengths in one batch, and batches of all sizes.
  for (let at = 0, size = 7; at < rows.length; at += size, size = (size % 64) + 7) {
    mixed.set(await engine.embed(rows.slice(at, at + size)), at * width);
  }
  // Rows above half a batch take another way through attention, alone.
  const alone = new Float32Array(expected.length);
  for (const [at, row] of rows.entries()) alone.set(await engine.embed([row]), at * width);
  for (const vectors of [mixed, alone]) {
    const cosines = rows.map((_, row) => cosine(vectors, expected, row * width, width));
    expect(Math.min(...cosines)).toBeGreaterThan(0.9999);
    const furthest = vectors.reduce((most, value, at) => Math.max(most, Math.abs(value - (expected[at] ?? 0))), 0);
    expect(furthest).toBeLessThan(1e-4);
  }
});
