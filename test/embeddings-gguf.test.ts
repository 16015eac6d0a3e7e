import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, it } from "vitest";
import { stringify } from "yaml";
import { readSettings } from "../src/config/settings.ts";
import { type Loqui, startLoqui } from "../src/loqui.ts";
import { u32 } from "./support/gguf.ts";
import { writeEncoder } from "./support/gguf-encoder.ts";
import { tinyShape, writeRandomModel } from "./support/gguf-random-model.ts";
import { onnxFixtures } from "./support/onnx-models.ts";

/** Made by test/engines/onnx/reference/make.py. */
const texts = JSON.parse(readFileSync(join(onnxFixtures, "texts.json"), "utf8")) as string[];
const { layouts, ids } = JSON.parse(readFileSync(join(onnxFixtures, "bert/reference.json"), "utf8"));
const bytes = Buffer.from(layouts.mean.vectors, "base64");

let folder: string;
let loqui: Loqui;
let client: OpenAI;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "loqui-gguf-embeddings-"));
  writeEncoder(join(folder, "bert.gguf"), "bert");
  writeEncoder(join(folder, "rank.gguf"), "bert", { metadata: { "bert.pooling_type": u32(4) } });
  writeRandomModel(join(folder, "llama.gguf"), tinyShape);
  const models = ["bert", "cls", "rank", "llama"].map((id) => ({
    id,
    type: "embedding",
    capabilities: ["text-embedding"],
    engine: "llama.cpp",
    source: { path: `${id === "cls" ? "bert" : id}.gguf` },
    parameters: { threads: 1, ...(id === "bert" && { n_ctx: 40 }), ...(id === "cls" && { pooling: "cls" }) },
  }));
  writeFileSync(join(folder, "models.yaml"), stringify({ models }));
  loqui = await startLoqui(
    readSettings({ PORT: "0", LOQUI_LOG_LEVEL: "silent", LOQUI_DRAIN_SECONDS: "1" }, {}, folder),
  );
  client = new OpenAI({ baseURL: `${loqui.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await loqui?.close();
  rmSync(folder, { recursive: true });
});

/** Scaled to length 1. */
function scaled(vector: readonly number[]): number[] {
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

it("a GGUF encoder gives the vectors of sentence-transformers", async () => {
  // Only of words this long does llama.cpp's tokenizer make anything.
  const isAlike = (text: string) => /^[\x20-\x7e]+$/.test(text) && !/\S{101}/.test(text);
  const some = texts.flatMap((text, index) => (isAlike(text) && ids[index].length < 40 ? [index] : []));
  expect(some.length).toBeGreaterThan(20);
  const response = await client.embeddings.create({ model: "bert", input: some.map((index) => texts[index] ?? "") });
  for (const [at, index] of some.entries()) {
    const expected = scaled(Array.from({ length: 16 }, (_, k) => bytes.readFloatLE(4 * (index * 16 + k))));
    for (const [k, value] of expected.entries()) {
      // llama.cpp's GELU is the approximation by tanh, from a table of 16-bit floats.
      expect(Math.abs((response.data[at]?.embedding[k] ?? Number.NaN) - value), texts[index]).toBeLessThan(2e-3);
    }
  }
  expect(response.usage.prompt_tokens).toBe(some.reduce((sum, index) => sum + ids[index].length, 0));
});

it("pools as models.yaml says", async () => {
  const { step, vectors } = layouts.cls;
  const index = texts.findIndex((text, at) => at % step === 0 && /^[\x20-\x7e]{9,60}$/.test(text));
  const { data } = await client.embeddings.create({ model: "cls", input: texts[index] ?? "" });
  const reference = Buffer.from(vectors, "base64");
  const expected = scaled(Array.from({ length: 16 }, (_, k) => reference.readFloatLE(4 * ((index / step) * 16 + k))));
  for (const [k, value] of expected.entries()) {
    expect(Math.abs((data[0]?.embedding[k] ?? Number.NaN) - value)).toBeLessThan(2e-3);
  }
});

it("requests at the same time get what each gets alone", async () => {
  const some = texts.filter((text, index) => text !== "" && ids[index].length < 40).slice(0, 60);
  const one = async (input: string) => (await client.embeddings.create({ model: "bert", input })).data[0]?.embedding;
  const together = await Promise.all(some.map(one));
  for (const [at, input] of some.slice(0, 20).entries()) {
    const alone = (await one(input)) ?? [];
    expect(alone).toHaveLength(16);
    for (const [k, value] of alone.entries()) expect(together[at]?.[k]).toBeCloseTo(value, 5);
  }
});

it("a decoder's last token stands for its text", async () => {
  const [first, second, again] = await Promise.all(
    ["hello world", "a".repeat(300), "hello world"].map(async (input) => {
      const { data } = await client.embeddings.create({ model: "llama", input });
      return data[0]?.embedding ?? [];
    }),
  );
  expect(first).toHaveLength(128);
  for (const [k, value] of (first ?? []).entries()) expect(again?.[k]).toBeCloseTo(value, 4);
  expect(second?.some((value, k) => Math.abs(value - (first?.[k] ?? 0)) > 0.01)).toBe(true);
});

it("what is too long is refused with both counts, and cut where that is asked for", async () => {
  const input = "the ".repeat(100);
  await expect(client.embeddings.create({ model: "bert", input })).rejects.toMatchObject({
    status: 400,
    code: "context_length_exceeded",
    message: expect.stringContaining("maximum context length is 40 tokens. However, input has 102 tokens"),
  });
  const cut = await client.post<{ usage: { prompt_tokens: number } }>("/embeddings", {
    body: { model: "bert", input, truncate: "END" },
  });
  expect(cut.usage.prompt_tokens).toBe(40);
});

it("a reranker is no embedding model", async () => {
  await expect(client.embeddings.create({ model: "rank", input: "a" })).rejects.toMatchObject({
    status: 503,
    message: expect.stringContaining("its type is rerank, not embedding"),
  });
});
