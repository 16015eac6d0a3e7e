import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openOnnxEngine } from "../../../src/engines/onnx/onnx-engine.ts";
import { lanesFor } from "../../../src/engines/onnx/session-lanes.ts";
import { linkCheckpoint, onnxFixtures } from "../../support/onnx-models.ts";

const texts = JSON.parse(readFileSync(join(onnxFixtures, "texts.json"), "utf8")) as string[];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-lanes-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

it.each([
  { threads: 1, bytes: 0, lanes: 1 },
  { threads: 2, bytes: 1e6, lanes: 2 },
  { threads: 64, bytes: 1e6, lanes: 4 },
  { threads: 64, bytes: 1e9, lanes: 1 },
])("$threads threads and matrices of $bytes bytes: $lanes lanes", ({ threads, bytes, lanes }) => {
  expect(lanesFor(threads, bytes)).toBe(lanes);
});

it.each([undefined, "int8"])(
  "vectors are the same by themselves and in lanes, quantization %s",
  async (quantization) => {
    await using engine = await openOnnxEngine({
      path: linkCheckpoint(join(folder, `model-${quantization}`), "bert", "mean"),
      threads: 2,
      batchSize: 64,
      quantization: quantization === undefined ? undefined : { cacheFolder: join(folder, "cache") },
    });
    const rows = texts.slice(0, 40).map((text) => engine.tokenize(text, "end"));
    expect(engine.lanes).toBe(2);
    const batches = [rows.slice(0, 20), rows.slice(20)];
    const byThemselves: Float32Array[] = [];
    for (const batch of batches) byThemselves.push(await engine.embed(batch));
    for (let turn = 0; turn < 3; turn += 1) {
      expect(await Promise.all(batches.map((batch) => engine.embed(batch, true)))).toEqual(byThemselves);
    }
    const many = [...batches, batches[0] ?? []].map((batch) => engine.embed(batch, true));
    expect((await Promise.allSettled(many)).map(({ status }) => status)).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
    ]);
  },
);
