import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import type { LlamaContext, LlamaProbe } from "../../../src/engines/llama/addon.ts";
import type { LlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import { createProbePool, readLogprobs } from "../../../src/engines/llama/logprobs.ts";
import type { LogitsHandle } from "../../../src/engines/token-engine.ts";
import { type ModelShape, tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { greedy } from "../../support/sampling.ts";
import { writeScriptedModel } from "../../support/scripted-model.ts";
import { append, modelFolder, openEngine } from "./generate.ts";

const inFolder = modelFolder();

/** The definition: x − log Σ exp x, in double precision. */
function logSoftmax(logits: readonly number[]): number[] {
  const highest = logits.reduce((most, logit) => Math.max(most, logit));
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - highest), 0);
  return logits.map((logit) => logit - highest - Math.log(total));
}

/** The logits after each token, from node-llama-cpp's public API. */
async function publicLogits(path: string, tokens: Uint32Array): Promise<number[][]> {
  const script = join(import.meta.dirname, "public-logits.ts");
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, [script, path, ...[...tokens].map(String)], { maxBuffer: 2 ** 28 });
  return JSON.parse(stdout);
}

describe.each([
  ["512 tokens", tinyShape],
  ["a flat distribution over 49,152 tokens", { ...tinyShape, vocab: 49_152, seed: 3 }],
] satisfies [string, ModelShape][])("of a random model with %s", (_name, shape) => {
  let engine: LlamaEngine;
  let tokens: Uint32Array;
  let handles: LogitsHandle[];
  let expected: number[][];

  beforeAll(async () => {
    const path = inFolder(`random-${shape.vocab}.gguf`);
    writeRandomModel(path, shape);
    engine = await openEngine(path);
    tokens = engine.tokenize("hello world, the quick brown fox", false);
    expected = (await publicLogits(path, tokens)).map(logSoftmax);
    [handles = []] = await engine.decode([{ sequence: 0, position: 0, tokens, logits: tokens.length }]);
  });

  it("are the full softmax at every position, the twenty likeliest in order", async () => {
    expect(handles).toHaveLength(tokens.length);
    for (const [position, handle] of handles.entries()) {
      const all = expected[position] ?? [];
      const best = all.map((logprob, token) => ({ token, logprob })).sort((a, b) => b.logprob - a.logprob);
      const { top } = await engine.logprobs(handle, 0, 20);
      expect(top.map(({ token }) => token)).toEqual(best.slice(0, 20).map(({ token }) => token));
      for (const [rank, { logprob }] of top.entries()) expect(logprob).toBeCloseTo(best[rank]?.logprob ?? 0, 4);
    }
  });

  it("are exact for tokens of every rank, drawn or not", async () => {
    const handle = handles.at(-1) ?? (0 as LogitsHandle);
    const all = expected.at(-1) ?? [];
    const step = Math.ceil(shape.vocab / 512);
    let probability = 0;
    for (let token = 0; token < shape.vocab; token += step) {
      const { logprob, top, token: named } = await engine.logprobs(handle, token, 0);
      expect(named).toBe(token);
      expect(top).toEqual([]);
      expect(logprob).toBeCloseTo(all[token] ?? 0, 4);
      probability += Math.exp(logprob);
    }
    if (step === 1) expect(probability).toBeCloseTo(1, 5);
  });
});

describe("of a scripted model", () => {
  it.each([
    ["a certain token", 32],
    ["a likely token", 3],
    ["a token like any other", 0],
    ["an unlikely token", -4],
  ])("%s: as computed by hand", async (_name, logit) => {
    const path = inFolder(`scripted${logit}.gguf`);
    writeScriptedModel(path, { reply: ["one", "two"], logit });
    const engine = await openEngine(path);
    const tokens = engine.tokenize("x", false);
    const handle = await append(engine, 0, 0, tokens);
    const { vocabularySize } = engine.info;
    const one = Array.from({ length: vocabularySize }, (_, token) => token).find(
      (token) => String(engine.tokenBytes(token)) === "one",
    );
    // The weight that makes the logit is a half-precision number.
    const total = Math.log(Math.exp(logit) + vocabularySize - 1);
    expect((await engine.logprobs(handle, one ?? -1, 0)).logprob).toBeCloseTo(logit - total, 1);
    expect((await engine.logprobs(handle, 0, 0)).logprob).toBeCloseTo(-total, 1);
  });
});

describe("beside sampling", () => {
  let engine: LlamaEngine;
  let prompt: Uint32Array;

  beforeAll(async () => {
    const path = inFolder("random.gguf");
    writeRandomModel(path, tinyShape);
    engine = await openEngine(path);
    prompt = engine.tokenize("hello world", false);
  });

  it("bias, penalties, grammar, top-k and temperature change what is drawn but not how likely it was", async () => {
    const handle = await append(engine, 0, 0, prompt);
    const plain = await engine.logprobs(handle, 5, 20);
    const best = plain.top[0]?.token ?? 0;
    const samplings = [
      { logitBias: new Map([[best, Number.NEGATIVE_INFINITY]]) },
      { presencePenalty: 100, penaltyWindow: 64 },
      { grammar: 'root ::= "x"+' },
      { temperature: 2, topK: 3 },
    ];
    const drawn = new Set<number>();
    for (const sampling of samplings) {
      const sampler = engine.createSampler({ ...greedy, ...sampling }, Uint32Array.of(best));
      const token = await engine.sample(handle, sampler);
      drawn.add(token);
      sampler.dispose();
      const of = await engine.logprobs(handle, token, 20);
      expect(of.top).toEqual(plain.top);
      const listed = plain.top.find((entry) => entry.token === token);
      if (listed !== undefined) expect(of.logprob).toBe(listed.logprob);
      expect(await engine.logprobs(handle, 5, 20)).toEqual(plain);
    }
    expect(drawn.size).toBeGreaterThan(1);
  });

  it("draws what it draws without them", async () => {
    const draw = async (read: boolean) => {
      await engine.truncate(1, 0);
      const sampler = engine.createSampler({ ...greedy, temperature: 1, seed: 3 }, prompt);
      const tokens: number[] = [];
      let handle = await append(engine, 1, 0, prompt);
      for (let position = prompt.length; tokens.length < 20; position++) {
        const token = await engine.sample(handle, sampler);
        if (read) await engine.logprobs(handle, token, 5);
        tokens.push(token);
        handle = await append(engine, 1, position, Uint32Array.of(token));
      }
      sampler.dispose();
      return tokens;
    };
    expect(await draw(true)).toEqual(await draw(false));
  });

  it("several rows at the same time, more than there are probes", async () => {
    const texts = ["hello", " world", " quick brown fox", "zz"];
    for (const sequence of texts.keys()) await engine.truncate(sequence, 0);
    const rows = texts.map((text, sequence) => {
      const tokens = engine.tokenize(text, false);
      return { sequence, position: 0, tokens, logits: tokens.length };
    });
    const handles = (await engine.decode(rows)).flat();
    const wanted = [...handles, ...handles, ...handles];
    const together = await Promise.all(wanted.map((handle, token) => engine.logprobs(handle, token, 3)));
    const inTurn = [];
    for (const [token, handle] of wanted.entries()) inTurn.push(await engine.logprobs(handle, token, 3));
    expect(together).toEqual(inTurn);
  });

  it("waits for readings that run before it decodes again", async () => {
    await engine.truncate(0, 0);
    const handle = await append(engine, 0, 0, prompt);
    const reading = engine.logprobs(handle, 1, 1);
    const decode = append(engine, 0, prompt.length, prompt);
    await expect(reading).resolves.toMatchObject({ token: 1 });
    await decode;
  });

  it("waits for readings that run, and those that wait for a probe, before it goes", async () => {
    const going = await openEngine(inFolder("random.gguf"));
    const handle = await append(going, 0, 0, prompt);
    const readings = Array.from({ length: 20 }, (_, token) => going.logprobs(handle, token, 1));
    await going[Symbol.asyncDispose]();
    const read = await Promise.all(readings);
    expect(read.map(({ token }) => token)).toEqual(Array.from({ length: 20 }, (_, token) => token));
    await expect(going.logprobs(handle, 1, 1)).rejects.toThrow("the engine is disposed");
  });

  it.each([
    ["the logits are of an earlier decode", () => engine.logprobs(0 as LogitsHandle, 1, 1)],
    ["token 512 is not in the vocabulary of 512", (handle: LogitsHandle) => engine.logprobs(handle, 512, 1)],
    ["33 log-probabilities are more than 32", (handle: LogitsHandle) => engine.logprobs(handle, 1, 33)],
  ])("refuses what breaks the contract: %s", async (message, read) => {
    await engine.truncate(0, 0);
    const handle = await append(engine, 0, 0, prompt);
    await expect(read(handle)).rejects.toThrow(message);
  });

  it("a row has no more logits than tokens", async () => {
    await engine.truncate(0, 0);
    const row = { sequence: 0, position: 0, tokens: Uint32Array.of(1, 2), logits: 3 };
    await expect(engine.decode([row])).rejects.toThrow("the row of sequence 0 has no 3 tokens to give the logits of");
  });
});

describe("readLogprobs", () => {
  const probe: LlamaProbe = { dispose: () => {} };
  /** Answers as the runtime would of these logits, all of which fit into what is read first. */
  const context = (logits: readonly number[]): Pick<LlamaContext, "topLogits" | "tailWeight"> => ({
    topLogits: async () => logits.map((logit, token) => ({ token, logit })),
    tailWeight: async () => ({ weight: logits.at(-1) === Number.NEGATIVE_INFINITY ? Number.NaN : 1, logit: undefined }),
  });

  it("an impossible token has −∞", async () => {
    const read = await readLogprobs(context([0, 0, Number.NEGATIVE_INFINITY]), probe, 0, 2, 3);
    expect(read).toEqual({
      token: 2,
      logprob: Number.NEGATIVE_INFINITY,
      top: [
        { token: 0, logprob: -Math.log(2) },
        { token: 1, logprob: -Math.log(2) },
        { token: 2, logprob: Number.NEGATIVE_INFINITY },
      ],
    });
  });

  it.each([[[Number.NaN, 0]], [[Number.POSITIVE_INFINITY, 0]], [[]]])("refuses the logits %j", async (logits) => {
    await expect(readLogprobs(context(logits), probe, 0, 0, 1)).rejects.toMatchObject({ kind: "internal" });
  });
});

it("a pool makes no more probes than it may and gives one back where reading fails", async () => {
  let made = 0;
  let disposed = 0;
  let running = 0;
  let most = 0;
  const pool = createProbePool(() => ({ dispose: () => void disposed++, number: made++ }), 2);
  const use = async (fails: boolean) => {
    most = Math.max(most, ++running);
    await new Promise(setImmediate);
    running -= 1;
    if (fails) throw new Error("broken");
  };
  const results = await Promise.allSettled([true, true, false, false, true].map((fails) => pool.run(() => use(fails))));
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled", "fulfilled", "rejected"]);
  pool.dispose();
  expect([made, most, disposed]).toEqual([2, 2, 2]);
});
