import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLlamaPairEngine } from "../../../src/engines/llama/llama-pair-engine.ts";
import type { PooledOptions } from "../../../src/engines/llama/pooled-model.ts";
import type { PairEngine, PairTokens } from "../../../src/engines/pair-engine.ts";
import { strs, u32 } from "../../support/gguf.ts";
import { f32Tensor, writeEncoder } from "../../support/gguf-encoder.ts";
import { rerankerFixtures } from "../../support/onnx-models.ts";
import { modelFolder } from "./generate.ts";

const inFolder = modelFolder();
const pairs = JSON.parse(readFileSync(join(rerankerFixtures, "pairs.json"), "utf8")) as [string, string][];
/** What transformers makes of the same weights (test/engines/onnx/reference/pairs.py). */
const reference = JSON.parse(readFileSync(join(rerankerFixtures, "xlm-roberta/reference.json"), "utf8")) as {
  readonly ids: readonly (readonly number[])[];
  readonly raw: readonly number[];
};

async function open(path: string, options: Partial<PooledOptions> = {}): Promise<PairEngine> {
  const engine = await openLlamaPairEngine({ path, sequences: 4, contextLength: 40, threads: 2, ...options });
  afterAll(() => engine[Symbol.asyncDispose]());
  return engine;
}

function asPair(tokens: ArrayLike<number>): PairTokens {
  return { tokens: Uint32Array.from(tokens), first: tokens.length, length: tokens.length };
}

beforeAll(() => writeEncoder(inFolder("xlm-roberta.gguf"), "rerankers/xlm-roberta"));

describe("XLM-RoBERTa's classifier", () => {
  it("gives the scores of transformers", async () => {
    const engine = await open(inFolder("xlm-roberta.gguf"));
    const raw = await engine.score(reference.ids.map(asPair));
    expect(raw.length).toBeGreaterThanOrEqual(200);
    for (const [at, score] of reference.raw.entries()) {
      // transformers gives padding in a text no position of its own, llama.cpp does.
      if (reference.ids[at]?.includes(1)) continue;
      // llama.cpp's GELU is the approximation by tanh, from a table of 16-bit floats.
      expect(Math.abs((raw[at] ?? Number.NaN) - score), String(pairs[at])).toBeLessThan(0.02);
    }
    expect(Math.max(...raw) - Math.min(...raw)).toBeGreaterThan(1);
    expect(engine.readScore(0)).toBe(0.5);
    expect(engine.readScore(2)).toBeCloseTo(0.880797, 6);
  });

  it("reads pairs as its tokenizer joins them", async () => {
    const engine = await open(inFolder("xlm-roberta.gguf"));
    let same = 0;
    for (const [at, [query, document]] of pairs.entries()) {
      // llama.cpp has no NFKC, which stands here for XLM-RoBERTa's table of characters, and joins spaces.
      if (/[^\x20-\x7e]| {2}|^ | $/.test(query) || /[^\x20-\x7e]| {2}|^ | $/.test(document)) continue;
      const { tokens } = engine.pair(engine.tokenizeQuery(query), engine.tokenizeDocument(document).tokens, "end");
      expect([...tokens], `${query} | ${document}`).toEqual(reference.ids[at]);
      same += 1;
    }
    expect(same).toBeGreaterThan(10);
  });

  it("scores a pair alike alone and among others", async () => {
    const engine = await open(inFolder("xlm-roberta.gguf"), { batchSize: 64 });
    const rows = reference.ids.slice(0, 60).map(asPair);
    const together = await engine.score(rows);
    for (const [at, row] of rows.entries()) {
      expect((await engine.score([row]))[0]).toBeCloseTo(together[at] ?? Number.NaN, 4);
    }
  });

  it("keeps the first tokens of a document, and says that there were more", async () => {
    const engine = await open(inFolder("xlm-roberta.gguf"));
    const { tokens, cut } = engine.tokenizeDocument("the quick brown fox", 3);
    expect([tokens.length, cut]).toEqual([3, true]);
    expect(engine.tokenizeDocument("fox", 100).cut).toBe(false);
  });
});

describe("a reranker that can't be", () => {
  const labels = (count: number) => strs(Array.from({ length: count }, (_, at) => `label ${at}`));
  it.each<[string, () => void, string | RegExp]>([
    [
      "a BERT whose pooler the converter left out",
      () => writeEncoder(inFolder("bad.gguf"), "rerankers/bert"),
      "the model has no classifier that scores pairs of texts: the tensor cls.weight is not there",
    ],
    [
      "an embedding model",
      () => writeEncoder(inFolder("bad.gguf"), "xlm-roberta"),
      "the model has no classifier that scores pairs of texts: the tensor cls.weight is not there",
    ],
    [
      "a classifier with more labels than outputs",
      () =>
        writeEncoder(inFolder("bad.gguf"), "rerankers/xlm-roberta", {
          metadata: { "bert.classifier.output_labels": labels(3) },
        }),
      "the model file can't be used: its classifier has 1 outputs for 3 labels",
    ],
    [
      "a classifier with several labels",
      () =>
        writeEncoder(inFolder("bad.gguf"), "rerankers/xlm-roberta", {
          metadata: { "bert.classifier.output_labels": labels(3) },
          tensors: [
            f32Tensor("cls.output.weight", [16, 3], new Float32Array(48)),
            f32Tensor("cls.output.bias", [3], new Float32Array(3)),
          ],
        }),
      "the model's classifier has 3 labels, not 1 as a reranker's",
    ],
    [
      "a classifier of another width",
      () =>
        writeEncoder(inFolder("bad.gguf"), "rerankers/xlm-roberta", {
          tensors: [f32Tensor("cls.output.weight", [8, 1], new Float32Array(8))],
        }),
      /cls.output.weight' has wrong shape/,
    ],
    [
      "a model without a token between texts",
      () =>
        writeEncoder(inFolder("bad.gguf"), "rerankers/xlm-roberta", {
          metadata: { "tokenizer.ggml.seperator_token_id": undefined, "tokenizer.ggml.eos_token_id": u32(3) },
        }),
      "the model file can't be used: its vocabulary names no token that separates two texts",
    ],
  ])("%s is refused", async (_, write, message) => {
    write();
    await expect(open(inFolder("bad.gguf"))).rejects.toMatchObject({
      kind: "model_unavailable",
      message: typeof message === "string" ? message : expect.stringMatching(message),
    });
  });
});
