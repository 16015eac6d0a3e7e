import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stringify } from "yaml";
import { readSettings } from "../src/config/settings.ts";
import { type Loqui, startLoqui } from "../src/loqui.ts";
import { writeQwenReranker } from "./support/gguf-decoder.ts";
import { writeEncoder } from "./support/gguf-encoder.ts";
import { rerankerFixtures } from "./support/onnx-models.ts";

/** Made by test/engines/onnx/reference/pairs.py. */
const pairs = JSON.parse(readFileSync(join(rerankerFixtures, "pairs.json"), "utf8")) as [string, string][];
const referenceOf = (name: string) =>
  JSON.parse(readFileSync(join(rerankerFixtures, name, "reference.json"), "utf8")) as { readonly raw: number[] };

let folder: string;
let loqui: Loqui;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "loqui-gguf-rerank-"));
  writeEncoder(join(folder, "xlm-roberta.gguf"), "rerankers/xlm-roberta");
  writeQwenReranker(join(folder, "qwen3.gguf"));
  const models = ["xlm-roberta", "qwen3"].map((id) => ({
    id,
    type: "rerank",
    capabilities: ["rerank"],
    engine: "llama.cpp",
    source: { path: `${id}.gguf` },
    parameters: { threads: 1 },
  }));
  writeFileSync(join(folder, "models.yaml"), stringify({ models }));
  const settings = { PORT: "0", LOQUI_LOG_LEVEL: "silent", LOQUI_DRAIN_SECONDS: "1" };
  loqui = await startLoqui(readSettings(settings, {}, folder));
});
afterAll(async () => {
  await loqui?.close();
  rmSync(folder, { recursive: true });
});

it.each(["xlm-roberta", "qwen3"])("%s sorts documents as transformers does", async (model) => {
  const reference = referenceOf(model);
  // Plain texts of one query, whose tokens are the tokenizer's with every runtime.
  const some = [...pairs.keys()].filter((at) => {
    const [query, document] = pairs[at] ?? ["", ""];
    const isPlain = /^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/.test(document) && !document.includes("<pad>");
    return query === "Hello, world!" && isPlain && document.length < 60;
  });
  expect(some.length).toBeGreaterThan(8);
  const response = await fetch(`${loqui.url}/v1/rerank`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, query: "Hello, world!", documents: some.map((at) => pairs[at]?.[1]) }),
  });
  const { results } = (await response.json()) as { results: { index: number; relevance_score: number }[] };
  expect(results).toHaveLength(some.length);
  const scores = results.map(({ relevance_score: score }) => score);
  expect(scores).toEqual([...scores].sort((a, b) => b - a));
  for (const { index, relevance_score: score } of results) {
    const raw = reference.raw[some[index] ?? 0] ?? Number.NaN;
    expect(Math.abs(score - 1 / (1 + Math.exp(-raw))), pairs[some[index] ?? 0]?.[1]).toBeLessThan(0.005);
  }
});

it("a reranker makes no embeddings", async () => {
  const response = await fetch(`${loqui.url}/v1/embeddings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "qwen3", input: "a" }),
  });
  expect(response.status).toBe(400);
});
