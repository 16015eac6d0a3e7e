import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openOnnxPairEngine } from "../../../src/engines/onnx/onnx-pair-engine.ts";
import type { PairEngine } from "../../../src/engines/pair-engine.ts";
import { rerankerFixtures as fixtures, linkReranker } from "../../support/onnx-models.ts";

const pairs = JSON.parse(readFileSync(join(fixtures, "pairs.json"), "utf8")) as [string, string][];

/** What the model card's code makes of the same weights. */
const reference = JSON.parse(readFileSync(join(fixtures, "qwen3", "reference.json"), "utf8")) as {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly no: number;
  readonly yes: number;
  /** Between the prefix and the suffix. */
  readonly ids: readonly (readonly number[])[];
  readonly raw: readonly number[];
  readonly scores: readonly number[];
  readonly cuts: readonly { readonly index: number; readonly limit: number; readonly ids: readonly number[] }[];
  readonly other: {
    readonly instruction: string;
    readonly step: number;
    readonly ids: readonly (readonly number[])[];
    readonly raw: readonly number[];
  };
};

let folder: string;
let engine: PairEngine | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-onnx-"));
  linkReranker(join(folder, "model"), "qwen3");
});
afterEach(async () => {
  await engine?.[Symbol.asyncDispose]();
  engine = undefined;
  rmSync(folder, { recursive: true });
});

const open = async (contextLength?: number) => {
  engine = await openOnnxPairEngine({ path: join(folder, "model"), threads: 1, contextLength });
  return engine;
};

function tokensOf(engine: PairEngine, [query, document]: readonly [string, string], instruction?: string) {
  return engine.pair(engine.tokenizeQuery(query, instruction), engine.tokenizeDocument(document).tokens, "end");
}

const around = (ids: readonly number[]) => [...reference.prefix, ...ids, ...reference.suffix];

it("makes the ids and scores of the model card's code", async () => {
  const engine = await open();
  expect(engine.takesInstruction).toBe(true);
  expect(engine.contextLength).toBe(128);
  const rows = pairs.map((pair) => tokensOf(engine, pair));
  expect(rows.length).toBeGreaterThanOrEqual(200);
  expect(rows.map(({ tokens }) => [...tokens])).toEqual(reference.ids.map(around));

  const raw: number[] = [];
  for (let at = 0, size = 1; at < rows.length; at += size, size = (size % 64) + 7) {
    raw.push(...(await engine.score(rows.slice(at, at + size))));
  }
  expect(furthest(raw, reference.raw)).toBeLessThan(1e-4);
  expect(furthest(raw.map(engine.readScore), reference.scores)).toBeLessThan(1e-4);
  expect(Math.max(...reference.scores) - Math.min(...reference.scores)).toBeGreaterThan(0.5);
});

it("takes an instruction, the repository's own where the caller has none", async () => {
  const { instruction, step, ids, raw } = reference.other;
  const some = pairs.filter((_, index) => index % step === 0);
  const asked = await open();
  const rows = some.map((pair) => tokensOf(asked, pair, instruction));
  expect(rows.map(({ tokens }) => [...tokens])).toEqual(ids.map(around));
  expect(furthest([...(await asked.score(rows))], raw)).toBeLessThan(1e-4);
  await asked[Symbol.asyncDispose]();

  const prompts = { prompts: { code: instruction }, default_prompt_name: "code" };
  writeFileSync(join(folder, "model", "config_sentence_transformers.json"), JSON.stringify(prompts));
  const usual = await open();
  expect(some.map((pair) => [...tokensOf(usual, pair).tokens])).toEqual(ids.map(around));
});

it("cuts pairs as the card does, and at the start the document first", async () => {
  const engine = await open();
  for (const { index, limit, ids } of reference.cuts) {
    const [query, document] = pairs[index] ?? ["", ""];
    const tokens = engine.tokenizeDocument(document).tokens;
    const cut = engine.pair(engine.tokenizeQuery(query), tokens, "end", limit);
    expect([...cut.tokens], `pair ${index} to ${limit}`).toEqual(around(ids));
    expect(cut.length).toBe(cut.tokens.length);
  }
  const query = engine.tokenizeQuery("the lazy dog");
  const document = engine.tokenizeDocument("one two three four five six seven").tokens;
  const frame = reference.prefix.length + reference.suffix.length;
  const short = engine.pair(query, document, "start", frame + query.length + 3);
  expect([...short.tokens]).toEqual(around([...query, ...document.slice(-3)]));
  const shorter = engine.pair(query, document, "start", frame + 2);
  expect([...shorter.tokens]).toEqual(around([...query.slice(-2)]));
  const whole = engine.pair(query, document, "none", frame + 2);
  expect(whole.length).toBe(frame + query.length + document.length);
  expect(() => engine.pair(query, document, "end", frame)).toThrow(
    `${frame} tokens of a pair are not more than the ${frame} of the model's template`,
  );
  expect(engine.tokenizeDocument("one two three", 2)).toEqual({ tokens: document.slice(0, 2), cut: true });
});

/** Replaces a file, which may be a link, by what is made of it. */
function change(name: string, edit: (json: Record<string, unknown>) => unknown): void {
  const path = join(folder, "model", name);
  const json = JSON.parse(readFileSync(path, "utf8"));
  rmSync(path);
  writeFileSync(path, JSON.stringify(edit(json)));
}

/** As sentence-transformers' CrossEncoder saves such models. */
function addLogitScore(answers: object, type = "sentence_transformers.cross_encoder.modules.LogitScore"): void {
  mkdirSync(join(folder, "model", "1_LogitScore"));
  writeFileSync(join(folder, "model", "1_LogitScore", "config.json"), JSON.stringify(answers));
  const modules = [
    { idx: 0, name: "0", path: "", type: "sentence_transformers.base.modules.Transformer" },
    { idx: 1, name: "1", path: "1_LogitScore", type },
  ];
  writeFileSync(join(folder, "model", "modules.json"), JSON.stringify(modules));
}

it("reads the answers' tokens where the repository says them", async () => {
  const { no, yes } = reference;
  addLogitScore({ true_token_id: no, false_token_id: yes, module_input_name: "causal_logits" });
  const engine = await open();
  const [score] = await engine.score([tokensOf(engine, pairs[0] ?? ["", ""])]);
  expect(Math.abs((score ?? Number.NaN) + (reference.raw[0] ?? Number.NaN))).toBeLessThan(1e-4);
});

it.each<[string, () => void, string]>([
  ["an answer that is missing", () => addLogitScore({ true_token_id: 1 }), "has no false_token_id"],
  [
    "an answer beyond the vocabulary",
    () => addLogitScore({ true_token_id: 1, false_token_id: 100_000 }),
    "the token 100000 of an answer is beyond vocab_size",
  ],
  [
    "another module",
    () => addLogitScore({}, "a.b.Dense"),
    "a reranker that is a language model has a Transformer and a LogitScore alone",
  ],
  [
    "a language model that is not known",
    () => change("config.json", (json) => ({ ...json, architectures: ["Gemma3ForCausalLM"], model_type: "bert" })),
    "a reranker of model_type bert is not supported",
  ],
  [
    "an output layer that is not there",
    () => change("config.json", (json) => ({ ...json, tie_word_embeddings: false })),
    "the weights have no tensor lm_head.weight",
  ],
])("refuses %s", async (_, edit, message) => {
  edit();
  const error = await open().catch((caught: unknown) => caught);
  expect(error).toMatchObject({ kind: "model_unavailable", message: expect.stringContaining(message) });
});

it("refuses a context that has no room beside the template", async () => {
  await expect(open(40)).rejects.toThrow(/n_ctx 40 leaves no room beside the \d+ tokens of the model's template/);
});

function furthest(numbers: readonly number[], expected: readonly number[]): number {
  expect(numbers.length).toBe(expected.length);
  return numbers.reduce((most, value, at) => Math.max(most, Math.abs(value - (expected[at] ?? 0))), 0);
}
