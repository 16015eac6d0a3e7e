import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openLlamaEngine } from "../../src/engines/llama/llama-engine.ts";
import type { TokenEngine } from "../../src/engines/token-engine.ts";
import { LoquiError } from "../../src/errors.ts";
import { createScheduler, type Scheduler } from "../../src/worker/scheduler.ts";
import { tinyShape, writeRandomModel } from "../support/gguf-random-model.ts";
import { greedy } from "../support/sampling.ts";

const never = new AbortController().signal;

let folder: string;
let engine: TokenEngine;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
  const path = join(folder, "random.gguf");
  // 32 bits, so that the shape of a batch doesn't show in the logits.
  writeRandomModel(path, { ...tinyShape, type: "f32" });
  engine = await openLlamaEngine({ path, sequences: 4, contextLength: 1_024, batchSize: 128, threads: 1 });
});

// A scheduler expects an engine without cells.
afterEach(emptySequences);

afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

function newScheduler(): Scheduler {
  return createScheduler(engine, { maxQueuedRequests: 100, maxQueuedTokens: 100_000, pieceTokens: 32 });
}

async function generate(scheduler: Scheduler, prompt: string, cacheScope = "") {
  const tokens: number[] = [];
  const result = await scheduler.run(
    {
      prompt: engine.tokenize(prompt, false),
      sampling: greedy,
      maxTokens: 24,
      tenant: "",
      cacheScope,
      ignoreEos: false,
      onToken: (token) => {
        tokens.push(token);
        return "continue";
      },
    },
    never,
  );
  return { tokens, ...result };
}

const prompts = Array.from({ length: 12 }, (_, index) => `${index} the quick brown fox `.repeat(1 + (index % 5) * 3));

test("many at once give the texts that each gives alone", async () => {
  const alone: number[][] = [];
  for (const prompt of prompts) {
    await using scheduler = newScheduler();
    alone.push((await generate(scheduler, prompt)).tokens);
    await emptySequences();
  }
  await using scheduler = newScheduler();
  const together = await Promise.all(prompts.map((prompt) => generate(scheduler, prompt)));
  expect(together.map(({ tokens }) => tokens)).toEqual(alone);
});

test("a cached and a copied prefix give the same text as a cold one", async () => {
  const shared = "hello world the quick brown fox ".repeat(8);
  await using scheduler = newScheduler();
  const cold = await generate(scheduler, `${shared} one`, "cold");
  expect(cold.cachedTokens).toBe(0);
  const warm = await generate(scheduler, `${shared} one`, "cold");
  expect(warm.cachedTokens).toBe(cold.promptTokens - 1);
  expect(warm.tokens).toEqual(cold.tokens);

  const long = generate(scheduler, `${shared} two`, "busy");
  await new Promise((done) => setTimeout(done, 5));
  const copied = await generate(scheduler, `${shared} one`, "busy");
  await long;
  expect(copied.cachedTokens).toBeGreaterThan(50);
  expect(copied.tokens).toEqual(cold.tokens);
});

test("of two that arrive together the second takes the common prefix from the first", async () => {
  const shared = "hello world the quick brown fox ".repeat(20);
  const alone: number[][] = [];
  for (const end of ["one", "two"]) {
    await using scheduler = newScheduler();
    alone.push((await generate(scheduler, shared + end)).tokens);
    await emptySequences();
  }
  await using scheduler = newScheduler();
  const together = await Promise.all(["one", "two"].map((end) => generate(scheduler, shared + end)));
  expect(together.map(({ tokens }) => tokens)).toEqual(alone);
  expect(together[0]?.cachedTokens).toBe(0);
  expect(together[1]?.cachedTokens).toBeGreaterThan((together[1]?.promptTokens ?? 0) * 0.9);
});

test("choices that share a prefill give the texts that each gives alone with its seed", async () => {
  const prompt = engine.tokenize("hello world the quick brown fox ".repeat(6), false);
  const choice = (seed: number, tokens: number[]) => ({
    prompt,
    sampling: { ...greedy, temperature: 1, seed },
    maxTokens: 16,
    tenant: "",
    cacheScope: "",
    ignoreEos: true,
    onToken(token: number) {
      tokens.push(token);
      return "continue" as const;
    },
  });
  const alone: number[][] = [];
  for (const seed of [5, 6, 7, 8, 9, 10]) {
    await using scheduler = newScheduler();
    const tokens: number[] = [];
    await scheduler.run(choice(seed, tokens), never);
    alone.push(tokens);
    await emptySequences();
  }
  await using scheduler = newScheduler();
  const together: number[][] = alone.map(() => []);
  const results = await scheduler.runAll(
    together.map((tokens, index) => choice(5 + index, tokens)),
    never,
  );
  expect(together).toEqual(alone);
  expect(new Set(together.map(String)).size).toBe(6);
  const { length } = prompt;
  // Four sequences: two choices come later, to cells of the prompt that are there.
  expect(results.map((result) => result.cachedTokens)).toEqual([0, length, length, length, length - 1, length - 1]);
});

test("a cancelled prompt leaves after its piece, and the sequence serves others", async () => {
  await using scheduler = newScheduler();
  const controller = new AbortController();
  const run = scheduler.run(
    {
      prompt: engine.tokenize("the quick brown fox ".repeat(100), false),
      sampling: greedy,
      maxTokens: 100,
      tenant: "",
      cacheScope: "",
      ignoreEos: false,
      onToken: () => "continue",
    },
    controller.signal,
  );
  const reason = new LoquiError("cancelled", "the client left");
  setTimeout(() => controller.abort(reason), 1);
  await expect(run).rejects.toBe(reason);
  const next = await generate(scheduler, "the quick brown fox ".repeat(100));
  expect(next.cachedTokens).toBeGreaterThan(0);
  expect(next.tokens.length).toBe(24);
});

async function emptySequences(): Promise<void> {
  for (let sequence = 0; sequence < engine.sequences; sequence++) await engine.truncate(sequence, 0);
}

test("the log-probabilities of a prompt are those of its tokens one by one, in small pieces beside one that generates", async () => {
  const prompt = engine.tokenize("hello world, the quick brown fox ".repeat(4), false);
  const expectedLogprobs: number[] = [];
  for (let position = 0; position + 1 < prompt.length; position++) {
    const row = { sequence: 0, position, tokens: prompt.subarray(position, position + 1), logits: 1 };
    const [[logits] = []] = await engine.decode([row]);
    if (logits === undefined) throw new Error("no logits");
    expectedLogprobs.push((await engine.logprobs(logits, prompt[position + 1] ?? 0, 0)).logprob);
  }
  await emptySequences();

  const scheduler = newScheduler();
  const beside = generate(scheduler, "the quick brown fox");
  const read: { token: number; logprob: number }[] = [];
  const request = { prompt, sampling: greedy, maxTokens: 0, tenant: "", cacheScope: "", ignoreEos: false };
  const result = await scheduler.run(
    {
      ...request,
      topLogprobs: 0,
      onToken: () => "continue",
      onPromptLogprobs: ({ token, logprob }) => void read.push({ token, logprob }),
    },
    never,
  );
  expect(result).toMatchObject({ reason: "length", completionTokens: 0 });
  expect(read.map(({ token }) => token)).toEqual([...prompt.subarray(1)]);
  await beside;
  // The cells have 16 bits.
  for (const [index, { logprob }] of read.entries()) expect(logprob).toBeCloseTo(expectedLogprobs[index] ?? 0, 2);
  await scheduler[Symbol.asyncDispose]();
});
