import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLlamaPairEngine } from "../../../src/engines/llama/llama-pair-engine.ts";
import type { PooledOptions } from "../../../src/engines/llama/pooled-model.ts";
import type { PairEngine, PairTokens } from "../../../src/engines/pair-engine.ts";
import { str, strs, u32 } from "../../support/gguf.ts";
import { writeQwenReranker } from "../../support/gguf-decoder.ts";
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

describe("Qwen3-Reranker", () => {
  const qwen = JSON.parse(readFileSync(join(rerankerFixtures, "qwen3/reference.json"), "utf8")) as typeof reference & {
    readonly prefix: readonly number[];
    readonly suffix: readonly number[];
  };
  const around = (ids: readonly number[]) => [...qwen.prefix, ...ids, ...qwen.suffix];
  const instruction = "Given a web search query, retrieve relevant passages that answer the query";

  beforeAll(() => {
    writeQwenReranker(inFolder("qwen3.gguf"));
    const template = `<Instruct>: Do.\n<Query>: {query}\n<Document>: {document}<|im_end|>`;
    writeQwenReranker(inFolder("own.gguf"), { "tokenizer.chat_template.rerank": str(template) });
  });

  it("makes the ids and scores of its card's code", async () => {
    const engine = await open(inFolder("qwen3.gguf"), { contextLength: 128 });
    expect(engine.takesInstruction).toBe(true);
    for (const [at, [query, document]] of pairs.entries()) {
      // llama.cpp doesn't compose characters (NFC).
      if (`${query}${document}` !== `${query}${document}`.normalize("NFC")) continue;
      const parts = [engine.tokenizeQuery(query), engine.tokenizeDocument(document).tokens] as const;
      expect([...engine.pair(...parts, "end").tokens], `${query} | ${document}`).toEqual(around(qwen.ids[at] ?? []));
      expect(engine.tokenizeQuery(query, instruction)).toEqual(parts[0]);
    }
    const raw = await engine.score(qwen.ids.map(around).map(asPair));
    for (const [at, score] of qwen.raw.entries()) {
      expect(Math.abs((raw[at] ?? Number.NaN) - score), String(pairs[at])).toBeLessThan(0.02);
    }
    expect(Math.max(...raw) - Math.min(...raw)).toBeGreaterThan(1);
  });

  it("scores pairs of unequal length alike alone and in a batch", async () => {
    const engine = await open(inFolder("qwen3.gguf"), { contextLength: 128, sequences: 8 });
    const rows = qwen.ids.slice(0, 24).map(around).map(asPair);
    expect(new Set(rows.map(({ length }) => length)).size).toBeGreaterThan(5);
    const together = await engine.score(rows);
    for (const [at, row] of rows.entries()) {
      expect((await engine.score([row]))[0]).toBeCloseTo(together[at] ?? Number.NaN, 2);
    }
  });

  it("asks as its file says, in the caller's words", async () => {
    const engine = await open(inFolder("own.gguf"), { contextLength: 128 });
    const plain = await open(inFolder("qwen3.gguf"), { contextLength: 128 });
    expect(engine.tokenizeQuery("a")).toEqual(plain.tokenizeQuery("a", "Do."));
    expect(engine.tokenizeQuery("a", "Find!")).toEqual(plain.tokenizeQuery("a", "Find!"));
    expect(engine.tokenizeQuery("a", "Find!")).not.toEqual(engine.tokenizeQuery("a"));
  });

  it("cuts between the first and the last words of its prompt", async () => {
    const engine = await open(inFolder("own.gguf"), { contextLength: 128 });
    const [query, { tokens: document }] = [engine.tokenizeQuery("a"), engine.tokenizeDocument("b c d e f g")];
    const whole = [...engine.pair(query, document, "none").tokens];
    const limit = whole.length - 2;
    expect([...engine.pair(query, document, "end", limit).tokens]).toEqual([...whole.slice(0, -3), ...whole.slice(-1)]);
    const start = [...engine.pair(query, document, "start", limit).tokens];
    expect(start).toEqual([...query, ...document.subarray(2), ...whole.slice(-1)]);
  });

  it("with a template without places is refused", async () => {
    writeQwenReranker(inFolder("bad.gguf"), { "tokenizer.chat_template.rerank": str("{document} {query}") });
    await expect(open(inFolder("bad.gguf"))).rejects.toMatchObject({
      kind: "model_unavailable",
      message: expect.stringContaining("doesn't hold {query} and {document} once, in this order"),
    });
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
      "a classifier of integers",
      () => {
        writeEncoder(inFolder("bad.gguf"), "rerankers/xlm-roberta");
        const file = readFileSync(inFolder("bad.gguf"));
        // The type comes after the name, the number of dimensions and both of them.
        file.writeUInt32LE(26, file.indexOf("cls.weight") + "cls.weight".length + 4 + 2 * 8);
        writeFileSync(inFolder("bad.gguf"), file);
      },
      "the model file can't be used: tensor cls.weight has type 26, which no matrix can have",
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
