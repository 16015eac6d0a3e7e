import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openOnnxPairEngine } from "../../../src/engines/onnx/onnx-pair-engine.ts";
import type { PairEngine, PairTokens } from "../../../src/engines/pair-engine.ts";
import { rerankerFixtures as fixtures, linkReranker } from "../../support/onnx-models.ts";

const pairs = JSON.parse(readFileSync(join(fixtures, "pairs.json"), "utf8")) as [string, string][];

/** What transformers and sentence-transformers make of the same weights. */
interface Reference {
  readonly ids: readonly (readonly number[])[];
  readonly first: readonly number[];
  readonly raw: readonly number[];
  readonly scores: readonly number[];
  readonly cuts: readonly {
    readonly index: number;
    readonly side: "left" | "right";
    readonly limit: number;
    readonly ids: readonly number[];
  }[];
}

let folder: string;
let engine: PairEngine | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-onnx-"));
});
afterEach(async () => {
  await engine?.[Symbol.asyncDispose]();
  engine = undefined;
  rmSync(folder, { recursive: true });
});

describe.each(["bert", "distilbert", "xlm-roberta", "qwen3-classifier", "mpnet", "modernbert"])("%s", (name) => {
  const reference = JSON.parse(readFileSync(join(fixtures, name, "reference.json"), "utf8")) as Reference;

  it("makes the ids and scores of sentence-transformers' CrossEncoder", async () => {
    engine = await openOnnxPairEngine({ path: linkReranker(join(folder, "model"), name), threads: 1 });
    const rows = pairs.map((pair) => tokensOf(engine, pair, "end"));
    expect(rows.length).toBeGreaterThanOrEqual(200);
    expect(rows.map(({ tokens }) => [...tokens])).toEqual(reference.ids);
    expect(rows.map(({ first }) => first)).toEqual(reference.first);

    const raw: number[] = [];
    // Pairs of all lengths in one batch, and batches of all sizes.
    for (let at = 0, size = 1; at < rows.length; at += size, size = (size % 64) + 7) {
      raw.push(...(await engine.score(rows.slice(at, at + size))));
    }
    expect(furthest(raw, reference.raw)).toBeLessThan(1e-4);
    const scores = raw.map((score) => engine?.readScore(score) ?? Number.NaN);
    expect(furthest(scores, reference.scores)).toBeLessThan(1e-4);
    expect(Math.max(...reference.raw) - Math.min(...reference.raw)).toBeGreaterThan(1);
  });

  it("cuts pairs to any length as transformers does, at either end", async () => {
    engine = await openOnnxPairEngine({ path: linkReranker(join(folder, "model"), name), threads: 1 });
    expect(reference.cuts.length).toBeGreaterThan(80);
    for (const { index, side, limit, ids } of reference.cuts) {
      const pair = pairs[index] ?? ["", ""];
      const { tokens, length } = tokensOf(engine, pair, side === "left" ? "start" : "end", limit);
      expect([...tokens], `pair ${index} to ${limit}`).toEqual(ids);
      expect(length).toBe(ids.length);
    }
  });
});

function tokensOf(
  engine: PairEngine | undefined,
  [first, second]: [string, string],
  end: "start" | "end",
  limit?: number,
): PairTokens {
  if (engine === undefined) throw new Error("there is no engine");
  return engine.pair(engine.tokenizeQuery(first), engine.tokenizeDocument(second).tokens, end, limit);
}

function furthest(numbers: readonly number[], expected: readonly number[]): number {
  expect(numbers.length).toBe(expected.length);
  return numbers.reduce((most, value, at) => Math.max(most, Math.abs(value - (expected[at] ?? 0))), 0);
}

it("reads a document's first tokens only where that is asked for, and a long pair whole", async () => {
  engine = await openOnnxPairEngine({ path: linkReranker(join(folder, "model"), "bert"), threads: 1 });
  const whole = engine.tokenizeDocument("the lazy dog");
  expect(whole.cut).toBe(false);
  expect(engine.tokenizeDocument("the lazy dog", 2)).toEqual({ tokens: whole.tokens.slice(0, 2), cut: true });
  expect(engine.tokenizeDocument("the lazy dog", whole.tokens.length)).toEqual(whole);
  const query = engine.tokenizeQuery("the ".repeat(100));
  expect(engine.pair(query, whole.tokens, "none").length).toBe(query.length + whole.tokens.length + 3);
  expect(engine.contextLength).toBe(40);
});

/** Replaces a file, which may be a link, by what is made of it. */
function change(name: string, edit: (json: Record<string, unknown>) => unknown): void {
  const path = join(folder, "model", name);
  const json = JSON.parse(readFileSync(path, "utf8"));
  rmSync(path);
  writeFileSync(path, JSON.stringify(edit(json)));
}

it("joins both texts where the tokenizer's post-processor adds nothing", async () => {
  linkReranker(join(folder, "model"), "bert");
  change("tokenizer.json", (json) => ({ ...json, post_processor: { type: "ByteLevel", trim_offsets: true } }));
  engine = await openOnnxPairEngine({ path: join(folder, "model"), threads: 1 });
  // What tokenizers 0.23.3 makes of it, with the types 0, 0, 1, 1, 1.
  const pair = tokensOf(engine, ["hello world", "the dog"], "end");
  expect(pair).toEqual({ tokens: Uint32Array.of(363, 365, 311, 340, 232), first: 2, length: 5 });
});

const logit = 1.25;

it.each<[string, string, (json: Record<string, unknown>) => unknown, number]>([
  ["Sigmoid", "config_sentence_transformers.json", (json) => json, 1 / (1 + Math.exp(-logit))],
  [
    "Identity",
    "config_sentence_transformers.json",
    (json) => ({ ...json, activation_fn: "torch.nn.modules.linear.Identity" }),
    logit,
  ],
  [
    "Tanh",
    "config_sentence_transformers.json",
    (json) => ({ ...json, activation_fn: "torch.nn.modules.activation.Tanh" }),
    Math.tanh(logit),
  ],
  [
    "the default, of one that is the repository's code",
    "config_sentence_transformers.json",
    (json) => ({ ...json, activation_fn: "mine.Identity" }),
    1 / (1 + Math.exp(-logit)),
  ],
])("reads scores by the repository's activation function: %s", async (_, file, edit, expected) => {
  linkReranker(join(folder, "model"), "bert");
  change(file, edit);
  engine = await openOnnxPairEngine({ path: join(folder, "model"), threads: 1 });
  expect(engine.readScore(logit)).toBe(expected);
});

it("reads the activation function where it stood until sentence-transformers 4", async () => {
  linkReranker(join(folder, "model"), "xlm-roberta");
  change("config.json", ({ sentence_transformers: _, ...json }) => ({
    ...json,
    sbert_ce_default_activation_function: "torch.nn.modules.linear.Identity",
  }));
  engine = await openOnnxPairEngine({ path: join(folder, "model"), threads: 1 });
  expect(engine.readScore(logit)).toBe(logit);
});

it.each<[string, string, (json: Record<string, unknown>) => unknown, string]>([
  [
    "an encoder alone",
    "config.json",
    (json) => ({ ...json, architectures: ["BertModel"] }),
    "BertModel is no reranker, it has no ForSequenceClassification",
  ],
  [
    "three labels",
    "config.json",
    (json) => ({ ...json, id2label: { 0: "a", 1: "b", 2: "c" } }),
    "a reranker has one label or two, this model has 3",
  ],
  [
    "more labels than the weights have",
    "config.json",
    (json) => ({ ...json, id2label: { 0: "a", 1: "b" } }),
    "classifier.weight has the shape [1, 16] instead of [2, 16]",
  ],
  [
    "a module after the model",
    "modules.json",
    (json) => [...(json as unknown as object[]), { type: "a.b.Pooling", path: "1_Pooling" }],
    "a reranker with the module Pooling is not supported",
  ],
  [
    "an unknown activation function",
    "config_sentence_transformers.json",
    (json) => ({ ...json, activation_fn: "torch.nn.modules.activation.Mish" }),
    "activation_fn Mish is not supported",
  ],
  [
    "a tokenizer without pairs",
    "tokenizer.json",
    ({ post_processor, ...json }) => {
      const processor = post_processor as { single: unknown };
      return { ...json, post_processor: { ...processor, pair: processor.single } };
    },
    "tokenizer.json has no template for pairs",
  ],
  [
    "a prompt",
    "config_sentence_transformers.json",
    (json) => ({ ...json, prompts: { a: "b" }, default_prompt_name: "a" }),
    "default_prompt_name is not supported for a reranker",
  ],
])("refuses %s", async (_, name, edit, message) => {
  linkReranker(join(folder, "model"), "bert");
  change(name, edit);
  const error = await openOnnxPairEngine({ path: join(folder, "model"), threads: 1 }).catch(
    (caught: unknown) => caught,
  );
  expect(error).toMatchObject({ kind: "model_unavailable", message: expect.stringContaining(message) });
});
