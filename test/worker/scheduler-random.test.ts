import { expect, test } from "vitest";
import { LoquiError } from "../../src/errors.ts";
import type { Generation } from "../../src/worker/generation.ts";
import { createScheduler } from "../../src/worker/scheduler.ts";
import { greedy } from "../support/sampling.ts";
import { continuation, eog, FakeEngine, withSeed } from "./fake-engine.ts";

/** What is forced in some generations. */
const forced = [5, 6, 7];

type Random = ReturnType<typeof createRandom>;

function createRandom(seed: number) {
  let state = seed * 7_919 + 1;
  const below = (count: number) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % count;
  };
  return {
    below,
    chance: (percent: number) => below(100) < percent,
    pick: <T>(...values: [T, ...T[]]): T => values[below(values.length)] ?? values[0],
  };
}

/** An engine that sometimes can't decode, or copy. */
function engineOf({ below, chance, pick }: Random) {
  const sequences = 1 + below(5);
  const batchSize = pick(sequences, 8, 32, 128);
  const ends = chance(50);
  const next = (held: readonly number[]) => {
    const token = continuation(held);
    return ends && token % 7 === 0 ? eog : token;
  };
  const fails = { decode: chance(20), copy: chance(30) };
  const engine = new FakeEngine({
    sequences,
    batchSize,
    contextLength: pick(64, 200, 512),
    next,
    onDecode: () => {
      if (fails.decode && chance(5)) throw new Error("no decode");
    },
  });
  const copyPrefix = engine.copyPrefix.bind(engine);
  engine.copyPrefix = async (source, target, length) => {
    await new Promise(setImmediate);
    if (fails.copy && chance(10)) throw new Error("no copy");
    if (!fails.copy || !chance(20)) return copyPrefix(source, target, length);
    await engine.truncate(target, 0);
    return false;
  };
  return { engine, next };
}

/** One choice: when it stops, when tokens are forced, and what came. */
interface Choice {
  readonly stopAt: number;
  readonly forceAt: number;
  readonly tokens: number[];
  promptLogprobs: number;
}

/** What a choice says on an engine without slots, batches, caches and faults. */
function alone(prompt: readonly number[], { stopAt, forceAt }: Choice, most: number, next: (held: number[]) => number) {
  const held = [...prompt];
  const tokens: number[] = [];
  const queue: number[] = [];
  for (let count = 1; count <= most; count++) {
    const token = queue.shift() ?? next(held);
    if (token === eog) return { tokens, count, reason: "eos" };
    held.push(token);
    tokens.push(token);
    if (tokens.length === stopAt) return { tokens, count, reason: "stopped" };
    if (tokens.length === forceAt) queue.push(...forced);
  }
  return { tokens, count: most, reason: "length" };
}

async function round(seed: number): Promise<{ ended: number; failed: number }> {
  const random = createRandom(seed);
  const { below, chance, pick } = random;
  const { engine, next } = engineOf(random);
  const { contextLength } = engine;
  const scheduler = createScheduler(engine, {
    maxQueuedRequests: 1 + below(60),
    maxQueuedTokens: 50 + below(4_000),
    ...(chance(50) && { pieceTokens: 1 + below(40) }),
  });
  const prefixes = [3, 4, 5].map((step) =>
    Array.from({ length: below(contextLength - 10) }, (_, index) => 1 + ((index * step) % 900)),
  );
  const counts = { ended: 0, failed: 0 };

  async function request(): Promise<void> {
    const prefix = prefixes[below(3)] ?? [];
    const shared = chance(50) ? prefix.length : below(prefix.length + 1);
    const tail = Array.from({ length: 1 + below(6) }, () => 1_000 + below(5));
    const prompt = Uint32Array.from([...prefix.slice(0, shared), ...tail]);
    const maxTokens = pick(0, 1, 2, 5, 30);
    const own = { tenant: pick("a", "b", "c"), priority: below(3) - 1, cacheScope: pick("x", "y") };
    const echoes = chance(20);
    const choices = Array.from(
      { length: chance(40) ? 1 + below(7) : 1 },
      (): Choice => ({
        stopAt: chance(20) ? 1 + below(4) : -1,
        forceAt: chance(20) ? 1 : -1,
        tokens: [],
        promptLogprobs: 0,
      }),
    );
    const generations = choices.map(
      (choice, index): Generation => ({
        ...own,
        prompt,
        sampling: { ...greedy, seed: index },
        maxTokens,
        ignoreEos: false,
        onToken(token) {
          const count = choice.tokens.push(token);
          if (count === choice.stopAt) return "stop";
          return count === choice.forceAt ? { force: Uint32Array.from(forced) } : "continue";
        },
        ...(echoes && { topLogprobs: 2, onPromptLogprobs: () => void choice.promptLogprobs++ }),
      }),
    );
    const controller = new AbortController();
    if (chance(30)) void leaveAfter(below(20), controller);
    try {
      const results = await scheduler.runAll(generations, controller.signal);
      counts.ended += 1;
      const most = Math.min(maxTokens, contextLength - prompt.length);
      for (const [index, choice] of choices.entries()) {
        const drawn = (held: number[]) => (next(held) === eog ? eog : withSeed(next(held), index));
        const { tokens, count, reason } = alone([...prompt], choice, most, drawn);
        expect(choice.tokens).toEqual(tokens);
        expect(results[index]).toMatchObject({ reason, completionTokens: count });
        if (echoes) expect(choice.promptLogprobs).toBe(prompt.length - 1);
      }
    } catch (error) {
      if (!(error instanceof LoquiError)) throw error;
      counts.failed += 1;
      if (error.kind === "internal") expect(String(error.cause)).toMatch(/no (decode|copy)/);
      else expect(["cancelled", "overloaded"]).toContain(error.kind);
    }
  }

  const requests: Promise<void>[] = [];
  for (let index = 0; index < 25; index++) {
    requests.push(request());
    await turns(below(6));
  }
  await Promise.all(requests);
  // What was aborted during a decode gives its slot back after it.
  await turns(50);
  expect(scheduler.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
  expect(engine.samplers).toBe(0);
  return counts;
}

async function leaveAfter(count: number, controller: AbortController): Promise<void> {
  await turns(count);
  controller.abort(new LoquiError("cancelled", "the client left"));
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

test("random requests, some of which leave, on engines that fail: each says what it would say alone", async () => {
  let ended = 0;
  let failed = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const counts = await round(seed).catch((error) => {
      throw new Error(`seed ${seed}: ${error}`, { cause: error });
    });
    ended += counts.ended;
    failed += counts.failed;
  }
  expect(ended).toBeGreaterThan(500);
  expect(failed).toBeGreaterThan(200);
});
