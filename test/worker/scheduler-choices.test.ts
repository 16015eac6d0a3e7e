import { describe, expect, test } from "vitest";
import { LoquiError } from "../../src/errors.ts";
import type { Generation } from "../../src/worker/generation.ts";
import { createScheduler, type Scheduler, type SchedulerLimits } from "../../src/worker/scheduler.ts";
import { greedy } from "../support/sampling.ts";
import { continuation, expected, FakeEngine, type FakeEngineOptions, withSeed } from "./fake-engine.ts";

const never = new AbortController().signal;

function setup(options: FakeEngineOptions = {}, limits: Partial<SchedulerLimits> = {}) {
  const engine = new FakeEngine({ sequences: 4, contextLength: 512, batchSize: 128, ...options });
  const scheduler = createScheduler(engine, { maxQueuedRequests: 64, maxQueuedTokens: 10_000, ...limits });
  return { engine, scheduler };
}

interface Asked extends Partial<Generation> {
  readonly signal?: AbortSignal;
  readonly onEach?: (choice: number, count: number) => void;
}

/** Starts the choices of one request, with the seeds 0, 1, 2 … */
function startAll(scheduler: Scheduler, prompt: readonly number[], count: number, asked: Asked = {}) {
  const { signal = never, onEach, ...rest } = asked;
  const shared = Uint32Array.from(prompt);
  const tokens = Array.from({ length: count }, (): number[] => []);
  const results = scheduler.runAll(
    tokens.map((own, seed) => ({
      prompt: shared,
      sampling: { ...greedy, seed },
      maxTokens: 4,
      tenant: "",
      cacheScope: "",
      ignoreEos: false,
      onToken(token) {
        own.push(token);
        onEach?.(seed, own.length);
        return "continue";
      },
      ...rest,
    })),
    signal,
  );
  results.catch(() => {});
  return { tokens, results };
}

const range = (length: number, from = 1) => Array.from({ length }, (_, index) => from + index);
const alone = (prompt: readonly number[], count: number, seed: number) =>
  expected(prompt, count, (held) => withSeed(continuation(held), seed));
const decodedTokens = (engine: FakeEngine) => engine.batches.flat().reduce((sum, [, tokens]) => sum + tokens, 0);
const turns = (count: number) => new Promise<void>((done) => setTimeout(done, count));

describe("the choices of a request", () => {
  test("evaluate their prompt once and say what each would say alone", async () => {
    const { engine, scheduler } = setup();
    const { tokens, results } = startAll(scheduler, range(300), 4);
    const ended = await results;
    expect(tokens).toEqual(range(4, 0).map((seed) => alone(range(300), 4, seed)));
    expect(ended.map((result) => result.cachedTokens)).toEqual([0, 300, 300, 300]);
    // The prompt in three pieces; all draw their first token from its logits, and take three steps more.
    expect(engine.batches.map((batch) => batch.map(([, count]) => count))).toEqual([
      [128],
      [128],
      [44],
      ...new Array(3).fill([1, 1, 1, 1]),
    ]);
    expect(engine.samplers).toBe(0);
  });

  test("run after each other where sequences are too few, and don't evaluate it again", async () => {
    const { engine, scheduler } = setup({ sequences: 2 });
    const { tokens, results } = startAll(scheduler, range(100), 7);
    const ended = await results;
    expect(tokens).toEqual(range(7, 0).map((seed) => alone(range(100), 4, seed)));
    // Five came later, and decoded the last token of the prompt for its logits.
    expect(decodedTokens(engine)).toBe(100 + 7 * 3 + 5);
    expect(ended.map((result) => result.cachedTokens)).toEqual([0, 100, 99, 99, 99, 99, 99]);
    expect(scheduler.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
  });

  test("evaluate a prompt each that takes less than a copy", async () => {
    const { engine, scheduler } = setup({ contextLength: 4_096 });
    const { tokens, results } = startAll(scheduler, range(8), 3);
    await results;
    expect(tokens).toEqual(range(3, 0).map((seed) => alone(range(8), 4, seed)));
    expect(engine.batches[0]).toEqual(range(3, 0).map((sequence) => [sequence, 8]));
  });

  test("whose first ends with its first token are not cut short", async () => {
    const { scheduler } = setup();
    const prompt = Uint32Array.from(range(100));
    const tokens: number[][] = [[], [], []];
    const results = await scheduler.runAll(
      tokens.map((own, seed) => ({
        prompt,
        sampling: { ...greedy, seed },
        maxTokens: 1 + seed,
        tenant: "",
        cacheScope: "",
        ignoreEos: false,
        onToken(token) {
          own.push(token);
          return "continue";
        },
      })),
      never,
    );
    expect(results.map((result) => result.completionTokens)).toEqual([1, 2, 3]);
    expect(tokens).toEqual([0, 1, 2].map((seed) => alone(range(100), 1 + seed, seed)));
  });

  test("of an engine that can't copy evaluate it each", async () => {
    const { engine, scheduler } = setup({ sequences: 3 });
    engine.copyPrefix = async (_source, target) => {
      await engine.truncate(target, 0);
      return false;
    };
    const { tokens, results } = startAll(scheduler, range(100), 3);
    await results;
    expect(tokens).toEqual(range(3, 0).map((seed) => alone(range(100), 4, seed)));
  });

  test("with a maximum of 0 evaluate the prompt", async () => {
    const { engine, scheduler } = setup();
    const { results } = startAll(scheduler, range(100), 3, { maxTokens: 0 });
    expect((await results).map((result) => result.reason)).toEqual(["length", "length", "length"]);
    expect(decodedTokens(engine)).toBe(102);
  });

  test("listen to one signal without a warning", async () => {
    const warnings: string[] = [];
    const listen = (warning: Error) => warnings.push(warning.message);
    process.on("warning", listen);
    const { scheduler } = setup();
    await startAll(scheduler, range(20), 64, { signal: new AbortController().signal }).results;
    await turns(1);
    process.off("warning", listen);
    expect(warnings).toEqual([]);
  });

  test("fail together", async () => {
    const { engine, scheduler } = setup({ sequences: 2 });
    const { tokens, results } = startAll(scheduler, range(100), 5, {
      maxTokens: 50,
      onEach: (choice, count) => {
        if (choice === 1 && count === 3) throw new LoquiError("unsupported", "no");
      },
    });
    await expect(results).rejects.toThrow("no");
    expect(scheduler.load.queued).toBe(0);
    expect(tokens.slice(2)).toEqual([[], [], []]);
    await turns(5);
    expect(scheduler.load.active).toBe(0);
    expect(engine.samplers).toBe(0);
    const decodes = engine.batches.length;
    await turns(5);
    expect(engine.batches.length).toBe(decodes);
  });

  test("fail together where a copy fails, and the slots serve others", async () => {
    const { engine, scheduler } = setup({ sequences: 2 });
    const copyPrefix = engine.copyPrefix.bind(engine);
    engine.copyPrefix = async () => {
      throw new Error("no memory");
    };
    const { results } = startAll(scheduler, range(100), 2, { maxTokens: 50 });
    await expect(results).rejects.toMatchObject({ kind: "internal" });
    engine.copyPrefix = copyPrefix;
    const next = startAll(scheduler, range(90, 5), 2);
    await next.results;
    expect(next.tokens).toEqual([0, 1].map((seed) => alone(range(90, 5), 4, seed)));
  });

  test.each([0, 1, 4, 8])("are cancelled together, after %i ms", async (after) => {
    const { engine, scheduler } = setup({ sequences: 3 });
    const controller = new AbortController();
    const reason = new LoquiError("cancelled", "the client left");
    const { results } = startAll(scheduler, range(400), 12, { maxTokens: 100, signal: controller.signal });
    await turns(after);
    controller.abort(reason);
    await expect(results).rejects.toBe(reason);
    expect(scheduler.load.queued).toBe(0);
    await turns(5);
    expect(scheduler.load.active).toBe(0);
    expect(engine.samplers).toBe(0);
    const next = startAll(scheduler, range(400), 3);
    await next.results;
    expect(next.tokens).toEqual([0, 1, 2].map((seed) => alone(range(400), 4, seed)));
  });
});

describe("the queue", () => {
  test("counts each choice, and the prompt once", async () => {
    const { scheduler } = setup({ sequences: 1 });
    const { results } = startAll(scheduler, range(100), 5);
    const { results: others } = startAll(scheduler, range(50), 3);
    expect(scheduler.load).toEqual({ active: 1, queued: 7, queuedTokens: 50 });
    await Promise.all([results, others]);
  });

  test("has no room for more choices than its bound, unless nobody waits", async () => {
    const { scheduler } = setup({ sequences: 1 }, { maxQueuedRequests: 4 });
    const large = startAll(scheduler, range(100), 9);
    const { results } = startAll(scheduler, range(50), 2);
    await expect(results).rejects.toMatchObject({ kind: "overloaded" });
    await large.results;
    expect(large.tokens.map((tokens) => tokens.length)).toEqual(new Array(9).fill(4));
  });

  test("gives up a waiting request whole, and none that has begun", async () => {
    const { scheduler } = setup({ sequences: 1 }, { maxQueuedRequests: 6 });
    const begun = startAll(scheduler, range(100), 3, { tenant: "a" });
    const waiting = startAll(scheduler, range(50), 4, { tenant: "b" });
    const newcomer = startAll(scheduler, range(20), 1, { tenant: "c" });
    await expect(waiting.results).rejects.toMatchObject({ kind: "overloaded" });
    expect(waiting.tokens).toEqual([[], [], [], []]);
    await Promise.all([begun.results, newcomer.results]);
  });

  test("lets another tenant's request in between the choices of one", async () => {
    const { scheduler } = setup({ sequences: 1 });
    const order: string[] = [];
    let one: Promise<unknown> | undefined;
    const many = startAll(scheduler, range(100), 20, {
      tenant: "many",
      onEach(choice, count) {
        if (count === 4) order.push(`many ${choice}`);
        one ??= startAll(scheduler, [1, 2], 1, {
          tenant: "one",
          onEach: (_, count) => count === 4 && order.push("one"),
        }).results;
      },
    });
    await Promise.all([many.results, one]);
    expect(order.indexOf("one")).toBeLessThan(4);
  });
});

describe("requests that arrive together", () => {
  const shared = range(200);

  test("evaluate a common prefix once", async () => {
    const { engine, scheduler } = setup({ sequences: 3 });
    const runs = [1_000, 2_000, 3_000].map((last) => startAll(scheduler, [...shared, last, last + 1], 1));
    const results = await Promise.all(runs.map((run) => run.results));
    expect(results.map(([result]) => result?.cachedTokens)).toEqual([0, 200, 200]);
    expect(decodedTokens(engine)).toBe(200 + 3 * 2 + 3 * 3);
    for (const [index, run] of runs.entries()) {
      const last = 1_000 * (index + 1);
      expect(run.tokens).toEqual([alone([...shared, last, last + 1], 4, 0)]);
    }
  });

  test("evaluate equal prompts once", async () => {
    const { engine, scheduler } = setup({ sequences: 3 });
    const runs = [1, 2, 3].map(() => startAll(scheduler, shared, 1));
    await Promise.all(runs.map((run) => run.results));
    expect(decodedTokens(engine)).toBe(200 + 3 * 3);
    for (const run of runs) expect(run.tokens).toEqual([alone(shared, 4, 0)]);
  });

  test("share nothing where their scopes differ", async () => {
    const { engine, scheduler } = setup({ sequences: 2 });
    const runs = ["a", "b"].map((cacheScope) => startAll(scheduler, shared, 1, { cacheScope }));
    await Promise.all(runs.map((run) => run.results));
    expect(decodedTokens(engine)).toBe(2 * (200 + 3));
    expect(engine.events.some((event) => event.kind === "copy")).toBe(false);
  });

  test("go on by themselves where the one ahead is cancelled", async () => {
    const controller = new AbortController();
    const { scheduler } = setup({
      sequences: 3,
      batchSize: 16,
      onDecode: (decode) => decode === 5 && controller.abort(new LoquiError("cancelled", "the client left")),
    });
    const first = startAll(scheduler, [...shared, 1], 1, { signal: controller.signal });
    const others = [2, 3].map((last) => startAll(scheduler, [...shared, last], 1));
    await expect(first.results).rejects.toThrow("the client left");
    const results = await Promise.all(others.map((run) => run.results));
    // What was evaluated until then is not evaluated again.
    expect(results.map(([result]) => result?.cachedTokens)).toEqual([96, 200]);
    for (const [index, run] of others.entries()) expect(run.tokens).toEqual([alone([...shared, index + 2], 4, 0)]);
  });

  test("a short prompt doesn't wait for the prefix that a long one gets to later", async () => {
    const { scheduler } = setup({ sequences: 4, batchSize: 16, contextLength: 1_024 });
    const ended: string[] = [];
    const run = (name: string, prompt: number[]) => {
      const { results } = startAll(scheduler, prompt, 1);
      return results.then(() => ended.push(name));
    };
    await Promise.all([
      run("oldest", range(900, 5_000)),
      run("long", [...range(40), ...range(800, 7_000)]),
      run("between", range(300, 9_000)),
      run("short", [...range(40), 3]),
    ]);
    expect(ended.slice(0, 2)).toEqual(["short", "between"]);
  });
});

test("choices and requests of all kinds at once say what each would say alone", async () => {
  const { engine, scheduler } = setup({ sequences: 4, batchSize: 32 }, { maxQueuedRequests: 1_000 });
  const jobs = range(40).map((seed) => {
    const prefix = range((seed * 37) % 90, (seed % 3) * 1_000);
    return { prompt: [...prefix, ...range(1 + ((seed * 7) % 40), seed % 5)], count: 1 + (seed % 6) };
  });
  const runs = jobs.map(({ prompt, count }) => startAll(scheduler, prompt, count, { tenant: `${prompt.length % 3}` }));
  await Promise.all(runs.map((run) => run.results));
  for (const [index, { tokens }] of runs.entries()) {
    const { prompt, count } = jobs[index] ?? { prompt: [], count: 0 };
    expect(tokens).toEqual(range(count, 0).map((seed) => alone(prompt, 4, seed)));
  }
  expect(scheduler.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
  expect(engine.samplers).toBe(0);
});
