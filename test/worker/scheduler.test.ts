import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { GrammarDeadEnd, type TokenLogprobs } from "../../src/engines/token-engine.ts";
import { LoquiError } from "../../src/errors.ts";
import type { Generation, Steering } from "../../src/worker/generation.ts";
import { createScheduler, type Scheduler, type SchedulerLimits } from "../../src/worker/scheduler.ts";
import { greedy } from "../support/sampling.ts";
import { continuation, eog, expected, FakeEngine, type FakeEngineOptions } from "./fake-engine.ts";

function setup(options: FakeEngineOptions = {}, limits: Partial<SchedulerLimits> = {}) {
  const engine = new FakeEngine(options);
  const scheduler = createScheduler(engine, {
    maxQueuedRequests: 8,
    maxQueuedTokens: 10_000,
    pieceTokens: 8,
    ...limits,
  });
  return { engine, scheduler };
}

/** Starts a generation; `tokens` fills as they come. */
function start(
  scheduler: Scheduler,
  prompt: readonly number[],
  options: Partial<Generation> & { signal?: AbortSignal; onEach?: (count: number) => boolean | undefined } = {},
) {
  const tokens: number[] = [];
  const { signal = new AbortController().signal, onEach, ...rest } = options;
  const result = scheduler.run(
    {
      prompt: Uint32Array.from(prompt),
      sampling: greedy,
      maxTokens: 4,
      tenant: "",
      cacheScope: "",
      ignoreEos: false,
      onToken(token) {
        tokens.push(token);
        return onEach?.(tokens.length) === false ? "stop" : "continue";
      },
      ...rest,
    },
    signal,
  );
  result.catch(() => {});
  return { tokens, result };
}

const range = (length: number, from = 1) => Array.from({ length }, (_, index) => from + index);
const decodes = (count: number) =>
  new Promise<void>((done) => {
    let left = count * 3;
    const turn = () => (left-- > 0 ? setImmediate(turn) : done());
    turn();
  });

async function failure(result: Promise<unknown>): Promise<LoquiError> {
  const error = await result.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LoquiError);
  return error as LoquiError;
}

describe("one generation", () => {
  test("generates what the model says, up to the maximum", async () => {
    const { engine, scheduler } = setup();
    const { tokens, result } = start(scheduler, [1, 2, 3], { maxTokens: 5 });
    expect(await result).toMatchObject({ reason: "length", promptTokens: 3, cachedTokens: 0, completionTokens: 5 });
    expect(tokens).toEqual(expected([1, 2, 3], 5));
    expect(engine.batches).toEqual([[[0, 3]], [[0, 1]], [[0, 1]], [[0, 1]], [[0, 1]]]);
    expect(engine.samplers).toBe(0);
  });

  test("begins at once when the engine is idle: the decode is called in the same turn", async () => {
    const { engine, scheduler } = setup();
    const { result } = start(scheduler, [1]);
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    expect(engine.events.length).toBe(1);
    await result;
  });

  test("ends with the model's end, which counts and isn't handed on", async () => {
    const { scheduler } = setup({ next: (held) => (held.length === 5 ? eog : 50) });
    const { tokens, result } = start(scheduler, [1, 2, 3], { maxTokens: 100 });
    expect(await result).toMatchObject({ reason: "eos", completionTokens: 3 });
    expect(tokens).toEqual([50, 50]);
  });

  test("goes on after the model's end where it is ignored", async () => {
    const { scheduler } = setup({ next: (held) => (held.length === 5 ? eog : 50) });
    const { tokens, result } = start(scheduler, [1, 2, 3], { maxTokens: 5, ignoreEos: true });
    expect(await result).toMatchObject({ reason: "length" });
    expect(tokens).toEqual([50, 50, eog, 50, 50]);
  });

  test("ends before another decode when it is stopped", async () => {
    const { engine, scheduler } = setup();
    const { result } = start(scheduler, [1, 2], { onEach: (count) => count < 2 });
    expect(await result).toMatchObject({ reason: "stopped", completionTokens: 2 });
    expect(engine.batches).toEqual([[[0, 2]], [[0, 1]]]);
  });

  describe("steering", () => {
    const forced = [700, 701, 702];
    const forceAfter = (count: number, tokens: number[], more: Uint32Array = Uint32Array.from(forced)) => ({
      onToken(token: number): Steering {
        tokens.push(token);
        return tokens.length === count ? { force: more } : "continue";
      },
    });

    test("forced tokens are decoded with the one before them, count, and lead on", async () => {
      const { engine, scheduler } = setup();
      const tokens: number[] = [];
      const { result } = start(scheduler, [1, 2], { maxTokens: 7, ...forceAfter(2, tokens) });
      expect(await result).toMatchObject({ reason: "length", completionTokens: 7 });
      const before = expected([1, 2], 2);
      expect(tokens).toEqual([...before, ...forced, ...expected([1, 2, ...before, ...forced], 2)]);
      expect(engine.batches).toEqual([[[0, 2]], [[0, 1]], [[0, 4]], [[0, 1]]]);
      expect(engine.events).toContainEqual({
        kind: "change",
        change: { tokens: Uint32Array.from(forced), logitBias: undefined },
      });
    });

    test("forced tokens share a batch's room, over several where they must", async () => {
      const { engine, scheduler } = setup({ batchSize: 4, sequences: 2 });
      const runs = [0, 1].map((which) => {
        const tokens: number[] = [];
        const more = forceAfter(1, tokens, Uint32Array.from(range(6, 600)));
        return { tokens, result: start(scheduler, [1 + which], { maxTokens: 9, ...more }).result };
      });
      for (const [which, { result, tokens }] of runs.entries()) {
        expect(await result).toMatchObject({ completionTokens: 9 });
        const [first = 0] = expected([1 + which], 1);
        const held = [1 + which, first, ...range(6, 600)];
        expect(tokens).toEqual([first, ...range(6, 600), ...expected(held, 2)]);
      }
      for (const batch of engine.batches)
        expect(batch.reduce((sum, [, count]) => sum + count, 0)).toBeLessThanOrEqual(4);
    });

    test.each([
      ["the length", { maxTokens: 3 }, "length", 3],
      ["the context", { maxTokens: 99, prompt: Uint32Array.from(range(12)) }, "length", 4],
    ] as const)("%s ends them", async (_, options, reason, completionTokens) => {
      const { scheduler } = setup({ contextLength: 16 });
      const tokens: number[] = [];
      const { result } = start(scheduler, [1, 2], {
        ...options,
        ...forceAfter(1, tokens, Uint32Array.from(range(9, 500))),
      });
      expect(await result).toMatchObject({ reason, completionTokens });
      expect(tokens.slice(1)).toEqual(range(completionTokens - 1, 500));
    });

    test("one that ends a generation ends it", async () => {
      const { scheduler } = setup();
      const tokens: number[] = [];
      const { result } = start(scheduler, [1], { ...forceAfter(1, tokens, Uint32Array.of(7, eog, 8)) });
      expect(await result).toMatchObject({ reason: "eos", completionTokens: 3 });
      expect(tokens.slice(1)).toEqual([7]);
    });

    test("biases change between two draws", async () => {
      const { engine, scheduler } = setup();
      const logitBias = new Map([[5, 1]]);
      const { result } = start(scheduler, [1], { maxTokens: 2, onToken: () => ({ logitBias }) });
      await result;
      expect(engine.events.filter(({ kind }) => kind === "change")).toEqual([
        { kind: "change", change: { tokens: new Uint32Array(), logitBias } },
      ]);
    });

    test("a change that the engine refuses ends that one with its words", async () => {
      const { engine, scheduler } = setup();
      engine.changeSampler = () => {
        throw new GrammarDeadEnd();
      };
      const bad = start(scheduler, [1], { maxTokens: 9, ...forceAfter(1, []) });
      const good = start(scheduler, [2]);
      expect(await failure(bad.result)).toMatchObject({
        kind: "invalid_request",
        message: expect.stringContaining("in the form"),
      });
      await good.result;
      expect(good.tokens).toEqual(expected([2], 4));
      expect(engine.samplers).toBe(0);
    });
  });

  test("ends with length when the context is full", async () => {
    const { scheduler } = setup({ contextLength: 16 });
    const { tokens, result } = start(scheduler, range(12), { maxTokens: 1_000 });
    expect(await result).toMatchObject({ reason: "length", completionTokens: 4 });
    expect(tokens).toEqual(expected(range(12), 4));
  });

  test("a prompt that fills the context but for one token gets one token", async () => {
    const { scheduler } = setup({ contextLength: 16 });
    expect(await start(scheduler, range(15)).result).toMatchObject({ reason: "length", completionTokens: 1 });
  });

  test("a prompt that doesn't fit is refused with both counts", async () => {
    const { engine, scheduler } = setup({ contextLength: 16 });
    const error = await failure(start(scheduler, range(16)).result);
    expect(error).toMatchObject({ kind: "context_too_long", promptTokens: 16, contextLength: 16 });
    expect(error.message).toBe(
      "This model's maximum context length is 16 tokens. However, your messages resulted in 16 tokens.",
    );
    expect(engine.events).toEqual([]);
  });

  test("a maximum of 0 evaluates the prompt only", async () => {
    const { engine, scheduler } = setup();
    const { tokens, result } = start(scheduler, range(70), { maxTokens: 0 });
    expect(await result).toMatchObject({ reason: "length", completionTokens: 0, generationMs: 0 });
    expect(tokens).toEqual([]);
    expect(engine.batches).toEqual([[[0, 64]], [[0, 6]]]);
    expect(await start(scheduler, [...range(70), 5]).result).toMatchObject({ cachedTokens: 70 });
  });

  test("an error of the consumer ends it alone", async () => {
    const { engine, scheduler } = setup();
    const bad = start(scheduler, [1], {
      onToken: () => {
        throw new LoquiError("unsupported", "no");
      },
    });
    const good = start(scheduler, [2], { maxTokens: 3 });
    expect((await failure(bad.result)).message).toBe("no");
    await good.result;
    expect(good.tokens).toEqual(expected([2], 3));
    expect(engine.samplers).toBe(0);
  });
});

describe("batches", () => {
  test("a long prompt runs in pieces of the whole batch while nobody generates", async () => {
    const { engine, scheduler } = setup({ batchSize: 64 });
    await start(scheduler, range(150), { maxTokens: 1 }).result;
    expect(engine.batches).toEqual([[[0, 64]], [[0, 64]], [[0, 22]]]);
  });

  test("while others generate they get a token in every other batch, and the prompt small pieces between", async () => {
    const { engine, scheduler } = setup({ batchSize: 64 });
    const first = start(scheduler, [1, 2], { maxTokens: 8 });
    await decodes(1);
    const second = start(scheduler, range(20, 100), { maxTokens: 2 });
    await Promise.all([first.result, second.result]);
    const from = engine.batches.findIndex(([row]) => row?.[1] === 8);
    expect(engine.batches.slice(from, from + 6)).toEqual([
      [[1, 8]],
      [[0, 1]],
      [[1, 8]],
      [[0, 1]],
      [[1, 4]],
      [
        [0, 1],
        [1, 1],
      ],
    ]);
    expect(first.tokens).toEqual(expected([1, 2], 8));
    expect(second.tokens).toEqual(expected(range(20, 100), 2));
  });

  test("where several prompts wait, the pieces are as many times larger", async () => {
    const { engine, scheduler } = setup({ sequences: 4, batchSize: 512 });
    const first = start(scheduler, [1, 2], { maxTokens: 8 });
    await decodes(1);
    const others = [100, 200, 300].map((from) => start(scheduler, range(40, from), { maxTokens: 8 }));
    await Promise.all([first, ...others].map((run) => run.result));
    const promptTokens = engine.batches.map((batch) =>
      batch.reduce((sum, [, tokens]) => sum + (tokens > 1 ? tokens : 0), 0),
    );
    // Three wait: 24 tokens a step; then two: 16, and one: 8.
    const pieces = promptTokens.slice(promptTokens.indexOf(24)).filter(Boolean);
    expect(pieces).toEqual([24, 24, 16, 16, 8, 8, 8, 8, 8]);
  });

  test("of a few prompts that would fit together, half come first: the oldest, and the shortest of the others", async () => {
    const { engine, scheduler } = setup({ sequences: 4, batchSize: 512 });
    const first = start(scheduler, [1, 2], { maxTokens: 8 });
    await decodes(1);
    const others = [9, 8, 7].map((tokens) => start(scheduler, range(tokens, tokens * 100), { maxTokens: 8 }));
    await Promise.all([first, ...others].map((run) => run.result));
    const prompts = engine.batches.map((batch) => batch.filter(([, tokens]) => tokens > 1).map(([, tokens]) => tokens));
    expect(prompts.filter((pieces) => pieces.length > 0)).toEqual([[2], [9, 7], [8]]);
    for (const [index, tokens] of [9, 8, 7].entries()) {
      expect(others[index]?.tokens).toEqual(expected(range(tokens, tokens * 100), 8));
    }
  });

  test("without a number for them, the pieces are as large as 0.15 s allow", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    try {
      // A batch takes 20 ms, and each of its tokens 2.
      const onDecode = () => {
        const tokens = engine.batches.at(-1)?.reduce((sum, row) => sum + row[1], 0) ?? 0;
        vi.advanceTimersByTime(20 + tokens * 2);
      };
      const { engine, scheduler } = setup({ batchSize: 512, onDecode: () => onDecode() }, { pieceTokens: undefined });
      const first = start(scheduler, range(40), { maxTokens: 40 });
      await decodes(3);
      const second = start(scheduler, range(600, 100), { maxTokens: 1 });
      await Promise.all([first.result, second.result]);
      const pieces = engine.batches.flatMap((batch) => batch.filter(([sequence]) => sequence === 1)).map(([, n]) => n);
      // The last is what was left, the first from the first prompt, whose 40 tokens took 2.5 ms each.
      expect(pieces.slice(0, -1)).toEqual([42, 47, 50, 52, 53, 53, 53, 53, 53, 53, 54]);
    } finally {
      vi.useRealTimers();
    }
  });

  describe("where a pass over the weights takes 40 ms and each token 5", () => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ["performance"] });
    });
    afterEach(() => {
      vi.useRealTimers();
    });

    /** The pieces of prompts of these lengths, step by step, that come while one generates. */
    async function piecesOf(lengths: readonly number[], limits: { readonly pieceTokens: number | undefined }) {
      const onDecode = () => {
        const rows = engine.batches.at(-1) ?? [];
        const longer = rows.filter(([, tokens]) => tokens > 1);
        // llama.cpp goes through the weights for the rows of one token, and for the others.
        const passes = Number(longer.length < rows.length) + Number(longer.length > 0);
        vi.advanceTimersByTime(passes * 40 + rows.reduce((sum, [, tokens]) => sum + tokens, 0) * 5);
      };
      const { engine, scheduler } = setup({ sequences: 4, batchSize: 512, onDecode: () => onDecode() }, limits);
      const first = start(scheduler, range(100), { maxTokens: 200 });
      await decodes(3);
      const others = lengths.map((tokens, index) =>
        start(scheduler, range(tokens, 1000 * (index + 1)), { maxTokens: 9 }),
      );
      await Promise.all([first, ...others].map((run) => run.result));
      return engine.batches
        .slice(1)
        .map((batch) => batch.filter(([, tokens]) => tokens > 1).map(([, tokens]) => tokens))
        .filter((pieces) => pieces.length > 0);
    }

    test("short prompts are evaluated whole, one after the other", async () => {
      expect(await piecesOf([100, 90], { pieceTokens: undefined })).toEqual([[100], [90]]);
    });

    test("as many as take 0.6 s, and 0.25 s more for each other one that waits", async () => {
      expect(await piecesOf([100, 70, 60], { pieceTokens: undefined })).toEqual([[100, 70], [60]]);
    });

    test("a long one is not", async () => {
      const [first] = await piecesOf([300], { pieceTokens: undefined });
      expect(first?.[0]).toBeLessThan(20);
    });

    test("nor a short one where the configuration says how long a piece is", async () => {
      expect(await piecesOf([20], { pieceTokens: 8 })).toEqual([[8], [8], [4]]);
    });
  });

  test("many at once all get the text that they would get alone", async () => {
    const { engine, scheduler } = setup({ sequences: 4, batchSize: 32 }, { maxQueuedRequests: 100 });
    const jobs = range(30).map((seed) => ({ prompt: range(1 + ((seed * 7) % 40), seed * 100), count: 1 + (seed % 9) }));
    const runs = jobs.map(({ prompt, count }) => start(scheduler, prompt, { maxTokens: count }));
    await Promise.all(runs.map((run) => run.result));
    runs.forEach((run, index) => {
      const job = jobs[index];
      expect(run.tokens).toEqual(expected(job?.prompt ?? [], job?.count ?? 0));
    });
    expect(scheduler.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
    expect(engine.samplers).toBe(0);
  });

  test("are full: sixteen equal streams take as many decodes as one", async () => {
    const { engine, scheduler } = setup({ sequences: 16, batchSize: 512 }, { maxQueuedRequests: 16 });
    const runs = range(16).map((seed) => start(scheduler, range(8, seed * 50), { maxTokens: 30 }));
    await Promise.all(runs.map((run) => run.result));
    // The first arrives alone and begins at once; the others' prompts then fit into one batch.
    expect(engine.batches.length).toBe(1 + 1 + 29);
    expect(engine.batches.filter((batch) => batch.length === 16).length).toBeGreaterThan(0);
  });

  test("a short prompt isn't stuck behind a long one, and the long one gets on", async () => {
    const { engine, scheduler } = setup({ sequences: 2, batchSize: 32 });
    const long = start(scheduler, range(300));
    await decodes(1);
    const short = start(scheduler, range(10, 1_000), { maxTokens: 1 });
    const { firstTokenMs } = await short.result;
    expect(firstTokenMs).toBeGreaterThan(0);
    expect(long.tokens).toEqual([]);
    const together = engine.batches.find((batch) => batch.length === 2);
    expect(together).toEqual([
      [0, 22],
      [1, 10],
    ]);
    await long.result;
    expect(long.tokens).toEqual(expected(range(300), 4));
  });

  test("more sequences than a batch has tokens are not used", async () => {
    const { engine, scheduler } = setup({ sequences: 8, batchSize: 4 });
    const runs = range(8).map((seed) => start(scheduler, range(6, seed * 10), { maxTokens: 9 }));
    await Promise.all(runs.map((run) => run.result));
    expect(Math.max(...engine.batches.map((batch) => batch.length))).toBe(4);
  });

  test("requests get sequences in order of arrival", async () => {
    const { scheduler } = setup({ sequences: 1 });
    const order: number[] = [];
    const runs = range(5).map((seed) => {
      const run = start(scheduler, [seed], { maxTokens: 2 });
      return run.result.then(() => order.push(seed));
    });
    await Promise.all(runs);
    expect(order).toEqual([1, 2, 3, 4, 5]);
  });

  test("the event loop turns between decodes", async () => {
    const { scheduler } = setup();
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await start(scheduler, [1], { maxTokens: 500 }).result;
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
  });
});

describe("the prefix cache", () => {
  test("a prompt goes to the slot that holds the most of it, and only the rest is decoded", async () => {
    const { engine, scheduler } = setup({ sequences: 3 });
    const first = [start(scheduler, range(20)), start(scheduler, range(20, 500))];
    await Promise.all(first.map((run) => run.result));
    const longer = [...range(20, 500), 7, 8];
    engine.events.length = 0;
    const again = start(scheduler, longer, { maxTokens: 3 });
    expect(await again.result).toMatchObject({ promptTokens: 22, cachedTokens: 20 });
    expect(again.tokens).toEqual(expected(longer, 3));
    expect(engine.events[0]).toEqual({ kind: "truncate", sequence: 1, length: 20 });
    expect(engine.batches[0]).toEqual([[1, 2]]);
  });

  test("the answer is cached too, but for its last token", async () => {
    const { scheduler } = setup();
    const first = start(scheduler, range(20), { maxTokens: 4 });
    await first.result;
    const next = [...range(20), ...first.tokens, 5];
    expect(await start(scheduler, next).result).toMatchObject({ cachedTokens: 23 });
  });

  test("an equal prompt evaluates one token again", async () => {
    const { scheduler } = setup();
    await start(scheduler, range(20)).result;
    const again = start(scheduler, range(20));
    expect(await again.result).toMatchObject({ cachedTokens: 19 });
    expect(again.tokens).toEqual(expected(range(20), 4));
  });

  test("is not shared between scopes, not even where the slot is reused", async () => {
    const { scheduler } = setup({ sequences: 1 });
    await start(scheduler, range(20), { cacheScope: "a" }).result;
    const other = start(scheduler, range(20), { cacheScope: "b" });
    expect(await other.result).toMatchObject({ cachedTokens: 0 });
    expect(other.tokens).toEqual(expected(range(20), 4));
  });

  test("the least recently used slot goes to what nobody holds", async () => {
    const { engine, scheduler } = setup({ sequences: 2 });
    await start(scheduler, range(20, 100)).result;
    await start(scheduler, range(20, 200)).result;
    await start(scheduler, range(20, 100)).result;
    engine.events.length = 0;
    await start(scheduler, range(20, 300)).result;
    expect(engine.batches[0]?.[0]?.[0]).toBe(1);
  });

  test("a prefix of a busy slot is copied", async () => {
    const { engine, scheduler } = setup({ sequences: 2, batchSize: 128 });
    const shared = range(60);
    const first = start(scheduler, [...shared, 1_000], { maxTokens: 20 });
    await decodes(2);
    const second = start(scheduler, [...shared, 2_000, 2_001], { maxTokens: 4 });
    expect(await second.result).toMatchObject({ cachedTokens: 60 });
    await first.result;
    expect(engine.events.filter((event) => event.kind === "copy")).toEqual([
      { kind: "copy", source: 0, target: 1, length: 60 },
    ]);
    expect(first.tokens).toEqual(expected([...shared, 1_000], 20));
    expect(second.tokens).toEqual(expected([...shared, 2_000, 2_001], 4));
  });

  test("a memory whose prefix can't be copied is emptied", async () => {
    const { engine, scheduler } = setup({ sequences: 2, batchSize: 128 });
    engine.copyPrefix = async (_source, target) => {
      await engine.truncate(target, 0);
      return false;
    };
    const first = start(scheduler, range(60), { maxTokens: 20 });
    await decodes(2);
    const second = start(scheduler, [...range(60), 5]);
    expect(await second.result).toMatchObject({ cachedTokens: 0 });
    expect(second.tokens).toEqual(expected([...range(60), 5], 4));
    await first.result;
  });

  test("a request that waited for its turn copies what was decoded meanwhile", async () => {
    const { scheduler } = setup({ sequences: 3, batchSize: 64 });
    const shared = range(64);
    const runs = [1_000, 2_000, 3_000].map((last) => start(scheduler, [...shared, last], { maxTokens: 30 }));
    const results = await Promise.all(runs.map((run) => run.result));
    expect(results.map((result) => result.cachedTokens)).toEqual([0, 64, 64]);
    runs.forEach((run, index) => {
      expect(run.tokens).toEqual(expected([...shared, (index + 1) * 1_000], 30));
    });
  });

  test("a prefix of a busy slot of another scope is not copied", async () => {
    const { engine, scheduler } = setup({ sequences: 2, batchSize: 128 });
    const first = start(scheduler, range(60), { maxTokens: 20, cacheScope: "a" });
    await decodes(2);
    const second = start(scheduler, range(60), { cacheScope: "b" });
    expect(await second.result).toMatchObject({ cachedTokens: 0 });
    await first.result;
    expect(engine.events.some((event) => event.kind === "copy")).toBe(false);
  });

  test("a short common start doesn't cost another conversation its cells: it is copied to a free slot", async () => {
    const { engine, scheduler } = setup({ sequences: 2, batchSize: 256 });
    const system = range(40);
    await start(scheduler, [...system, ...range(100, 1_000)]).result;
    await start(scheduler, [...system, ...range(10, 2_000)]).result;
    expect(engine.events.find((event) => event.kind === "copy")).toEqual({
      kind: "copy",
      source: 0,
      target: 1,
      length: 40,
    });
    expect(await start(scheduler, [...system, ...range(100, 1_000), 5]).result).toMatchObject({ cachedTokens: 140 });
  });

  test("a memory that can't be truncated is emptied", async () => {
    const { engine, scheduler } = setup({ sequences: 1 });
    await start(scheduler, range(20)).result;
    const truncate = engine.truncate.bind(engine);
    engine.truncate = async (sequence) => {
      await truncate(sequence, 0);
      return false;
    };
    const again = start(scheduler, [...range(20), 9]);
    expect(await again.result).toMatchObject({ cachedTokens: 0 });
    expect(again.tokens).toEqual(expected([...range(20), 9], 4));
  });
});

describe("cancelling", () => {
  test("while generating: no further decode, the slot is free and its cells are kept", async () => {
    const { engine, scheduler } = setup({ sequences: 1 });
    const controller = new AbortController();
    const reason = new LoquiError("cancelled", "the client left");
    const run = start(scheduler, range(20), {
      maxTokens: 1_000,
      signal: controller.signal,
      onEach: (count) => {
        if (count === 3) controller.abort(reason);
        return true;
      },
    });
    expect(await failure(run.result)).toBe(reason);
    expect(engine.batches.length).toBe(3);
    expect(await start(scheduler, range(20)).result).toMatchObject({ cachedTokens: 19 });
    expect(engine.samplers).toBe(0);
  });

  test("during a prompt: at most the piece that runs", async () => {
    const { engine, scheduler } = setup({ sequences: 1, batchSize: 32 });
    const controller = new AbortController();
    const run = start(scheduler, range(320), { signal: controller.signal });
    await decodes(0);
    controller.abort(new LoquiError("timeout", "late"));
    expect((await failure(run.result)).kind).toBe("timeout");
    const before = engine.batches.length;
    expect(before).toBeLessThanOrEqual(2);
    await decodes(3);
    expect(engine.batches.length).toBe(before);
    expect(scheduler.load.active).toBe(0);
  });

  test("in the queue: at once, and the next one takes the place", async () => {
    const { scheduler } = setup({ sequences: 1 });
    const controller = new AbortController();
    const first = start(scheduler, [1], { maxTokens: 10 });
    const second = start(scheduler, [2], { signal: controller.signal });
    const third = start(scheduler, [3]);
    expect(scheduler.load).toEqual({ active: 1, queued: 2, queuedTokens: 2 });
    controller.abort(new LoquiError("cancelled", "the client left"));
    expect(scheduler.load).toEqual({ active: 1, queued: 1, queuedTokens: 1 });
    await failure(second.result);
    await Promise.all([first.result, third.result]);
    expect(second.tokens).toEqual([]);
  });

  test("before it began: nothing is queued", async () => {
    const { engine, scheduler } = setup();
    const error = new LoquiError("cancelled", "the client left");
    expect(await failure(start(scheduler, [1], { signal: AbortSignal.abort(error) }).result)).toBe(error);
    expect(engine.events).toEqual([]);
  });

  test("the others go on", async () => {
    const { scheduler } = setup({ sequences: 2 });
    const controller = new AbortController();
    const first = start(scheduler, [1, 2, 3], { maxTokens: 20 });
    const second = start(scheduler, [4, 5], { maxTokens: 20, signal: controller.signal });
    await decodes(3);
    controller.abort(new LoquiError("cancelled", "the client left"));
    await failure(second.result);
    await first.result;
    expect(first.tokens).toEqual(expected([1, 2, 3], 20));
  });
});

describe("the queue", () => {
  test("is bounded in requests", async () => {
    const { scheduler } = setup({ sequences: 1 }, { maxQueuedRequests: 2 });
    const runs = range(3).map((seed) => start(scheduler, [seed]));
    const error = await failure(start(scheduler, [4]).result);
    expect(error).toMatchObject({ kind: "overloaded", retryAfterMs: 3_000 });
    expect(error.message).toBe("the model is overloaded: 2 requests wait already, the maximum is 2");
    await Promise.all(runs.map((run) => run.result));
  });

  test("is bounded in tokens, but a lone long prompt may wait", async () => {
    const { scheduler } = setup({ sequences: 1 }, { maxQueuedTokens: 50 });
    const runs = [start(scheduler, [1]), start(scheduler, range(60))];
    const error = await failure(start(scheduler, [2]).result);
    expect(error.message).toBe(
      "the model is overloaded: 60 prompt tokens wait already, with this request's 1 they would exceed the maximum 50",
    );
    await Promise.all(runs.map((run) => run.result));
  });

  test("of length 0 refuses what can't start at once, and only that", async () => {
    const { scheduler } = setup({ sequences: 2 }, { maxQueuedRequests: 0 });
    const runs = [start(scheduler, [1]), start(scheduler, [2])];
    expect((await failure(start(scheduler, [3]).result)).kind).toBe("overloaded");
    await Promise.all(runs.map((run) => run.result));
    await start(scheduler, [4]).result;
  });
});

describe("tenants take turns", () => {
  /** Starts requests of one token's prompt each and notes the order in which they end. */
  function race(scheduler: Scheduler) {
    const order: string[] = [];
    const runs: Promise<unknown>[] = [];
    return {
      order,
      queue(tenant: string, count: number, options: Partial<Generation> & { prompt?: number[] } = {}) {
        for (const seed of range(count)) {
          const { result } = start(scheduler, options.prompt ?? [seed], { tenant, cacheScope: tenant, ...options });
          runs.push(result.then(() => order.push(tenant)));
        }
      },
      ended: () => Promise.all(runs),
    };
  }

  test.each([1, 4])("a lone request waits for one place of %i, not for a thousand requests", async (sequences) => {
    const { scheduler } = setup({ sequences }, { maxQueuedRequests: 2_000 });
    const { order, queue, ended } = race(scheduler);
    queue("many", 1_000);
    await decodes(2);
    queue("one", 1);
    await ended();
    // Those that had a sequence end before it, and beside it others of the same batch.
    expect(order.indexOf("one")).toBeLessThan(3 * sequences);
  });

  test("by tokens: who asks for four times as much gets a quarter of the turns", async () => {
    const { scheduler } = setup({ sequences: 1 }, { maxQueuedRequests: 1_000 });
    const { order, queue, ended } = race(scheduler);
    queue("long", 25, { maxTokens: 40 });
    queue("short", 100, { maxTokens: 10 });
    await ended();
    const shorts = order.slice(0, 50).filter((tenant) => tenant === "short").length;
    expect(shorts).toBeGreaterThanOrEqual(38);
    expect(shorts).toBeLessThanOrEqual(42);
  });

  test("within a tenant, in order of priority", async () => {
    const { scheduler } = setup({ sequences: 1 }, { maxQueuedRequests: 100 });
    const ended: number[] = [];
    const first = start(scheduler, [1], { priority: 9 }).result;
    await decodes(1);
    const runs = [0, 3, -1, undefined, -1000].map((priority, index) =>
      start(scheduler, [index + 2], { priority }).result.then(() => ended.push(index)),
    );
    await Promise.all([first, ...runs]);
    expect(ended).toEqual([4, 2, 0, 3, 1]);
  });

  test("within a tenant, in order of arrival", async () => {
    const { scheduler } = setup({ sequences: 1 }, { maxQueuedRequests: 100 });
    const ended: string[] = [];
    await Promise.all(
      range(20).map((seed) => {
        const tenant = seed % 3 === 0 ? "a" : "b";
        return start(scheduler, [seed], { tenant }).result.then(() => ended.push(`${tenant}${seed}`));
      }),
    );
    for (const tenant of ["a", "b"]) {
      const own = ended.filter((name) => name.startsWith(tenant)).map((name) => Number(name.slice(1)));
      expect(own).toEqual(own.toSorted((a, b) => a - b));
    }
  });

  test("a full queue has room for a tenant with less than its share: the newest of the other gives way", async () => {
    const { scheduler } = setup({ sequences: 1 }, { maxQueuedRequests: 4 });
    const many = range(5).map((seed) => start(scheduler, [seed], { tenant: "many" }));
    const few = range(2).map((seed) => start(scheduler, [seed], { tenant: "few" }));
    for (const index of [4, 3]) {
      const error = await failure(many[index]?.result ?? Promise.resolve());
      expect(error).toMatchObject({ kind: "overloaded", retryAfterMs: 5_000 });
      expect(error.message).toBe(
        "the model is overloaded: the queue is full, and others who wait have fewer requests in it",
      );
    }
    const third = await failure(start(scheduler, [9], { tenant: "few" }).result);
    expect(third.message).toBe("the model is overloaded: 4 requests wait already, the maximum is 4");
    await Promise.all([...many.slice(0, 3), ...few].map((run) => run.result));
    expect(scheduler.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
  });
});

describe("faults", () => {
  test("an engine error in a decode fails all that run and empties their slots; what waits runs", async () => {
    const { engine, scheduler } = setup({
      sequences: 2,
      onDecode: (decode) => {
        if (decode === 3) throw new Error("KV cache exploded");
      },
    });
    const runs = [start(scheduler, range(20), { maxTokens: 9 }), start(scheduler, range(20, 100), { maxTokens: 9 })];
    const waiting = start(scheduler, range(20));
    for (const run of runs) {
      const error = await failure(run.result);
      expect(error).toMatchObject({ kind: "internal", message: "the engine failed" });
      expect((error.cause as Error).message).toBe("KV cache exploded");
    }
    expect(await waiting.result).toMatchObject({ cachedTokens: 0 });
    expect(waiting.tokens).toEqual(expected(range(20), 4));
    expect(engine.samplers).toBe(0);
  });

  test("an engine that refuses the sampling fails that one with its words", async () => {
    const { engine, scheduler } = setup({ sequences: 1 });
    const createSampler = engine.createSampler.bind(engine);
    engine.createSampler = (sampling) => {
      if (sampling.temperature === 9) throw new LoquiError("invalid_request", "too hot");
      return createSampler(sampling);
    };
    const bad = start(scheduler, range(20), { sampling: { ...greedy, temperature: 9 } });
    expect(await failure(bad.result)).toMatchObject({ kind: "invalid_request", message: "too hot" });
    const good = start(scheduler, range(20));
    await good.result;
    expect(good.tokens).toEqual(expected(range(20), 4));
  });

  test("an engine error in a copy fails that one", async () => {
    const { engine, scheduler } = setup({ sequences: 2, batchSize: 128 });
    engine.copyPrefix = async () => {
      throw new Error("no");
    };
    const first = start(scheduler, range(60), { maxTokens: 20 });
    await decodes(2);
    const second = start(scheduler, [...range(60), 5]);
    expect((await failure(second.result)).kind).toBe("internal");
    await first.result;
    expect(first.tokens).toEqual(expected(range(60), 20));
    await start(scheduler, range(20, 700)).result;
  });

  test("disposing ends what runs and what waits", async () => {
    const { engine, scheduler } = setup({ sequences: 1 });
    const runs = [start(scheduler, [1], { maxTokens: 1_000 }), start(scheduler, [2])];
    await scheduler[Symbol.asyncDispose]();
    for (const run of runs) expect((await failure(run.result)).kind).toBe("shutting_down");
    expect((await failure(start(scheduler, [3]).result)).kind).toBe("shutting_down");
    expect(engine.samplers).toBe(0);
  });
});

test("the times add up", async () => {
  const { scheduler } = setup({ sequences: 1, onDecode: () => new Promise((done) => setTimeout(done, 5)) });
  const first = start(scheduler, [1], { maxTokens: 4 });
  const second = start(scheduler, [2], { maxTokens: 4 });
  const a = await first.result;
  const b = await second.result;
  expect(a.queueMs).toBeLessThan(b.queueMs);
  expect(a.promptMs).toBeGreaterThan(4);
  expect(a.generationMs).toBeGreaterThan(14);
  expect(b.queueMs).toBeGreaterThan(18);
  expect(b.firstTokenMs).toBeCloseTo(b.queueMs + b.promptMs, 6);
});

describe("log-probabilities", () => {
  const seen = () => {
    const tokens: [token: number, top: number | undefined][] = [];
    const onToken = (token: number, logprobs: TokenLogprobs | undefined): Steering => {
      if (logprobs !== undefined) expect(logprobs.token).toBe(token);
      tokens.push([token, logprobs?.top.length]);
      return "continue";
    };
    return { tokens, onToken };
  };

  test("come with each token where they are asked for, and only then", async () => {
    const { scheduler } = setup();
    const [asked, none, plain] = [seen(), seen(), seen()];
    await Promise.all([
      start(scheduler, [1, 2, 3], { topLogprobs: 2, onToken: asked.onToken }).result,
      start(scheduler, [4, 5], { topLogprobs: 0, onToken: none.onToken }).result,
      start(scheduler, [6, 7], { onToken: plain.onToken }).result,
    ]);
    expect(asked.tokens).toEqual(expected([1, 2, 3], 4).map((token) => [token, 2]));
    expect(none.tokens).toEqual(expected([4, 5], 4).map((token) => [token, 0]));
    expect(plain.tokens).toEqual(expected([6, 7], 4).map((token) => [token, undefined]));
  });

  test("are not known of forced tokens", async () => {
    const { scheduler } = setup();
    const { tokens, onToken } = seen();
    const forcing = (token: number, logprobs: TokenLogprobs | undefined): Steering => {
      onToken(token, logprobs);
      return tokens.length === 2 ? { force: Uint32Array.of(5, 6) } : "continue";
    };
    await start(scheduler, [1, 2, 3], { maxTokens: 5, topLogprobs: 1, onToken: forcing }).result;
    const [first = 0, second = 0] = expected([1, 2, 3], 2);
    const [last = 0] = expected([1, 2, 3, first, second, 5, 6], 1);
    expect(tokens).toEqual([
      [first, 1],
      [second, 1],
      [5, undefined],
      [6, undefined],
      [last, 1],
    ]);
  });

  test("are not read of the token that ends a generation", async () => {
    const { engine, scheduler } = setup({ next: (held) => (held.length === 5 ? eog : 7) });
    let read = 0;
    const { logprobs } = engine;
    engine.logprobs = (...args) => {
      read += 1;
      return logprobs.apply(engine, args);
    };
    expect(await start(scheduler, [1, 2, 3], { topLogprobs: 1 }).result).toMatchObject({ reason: "eos" });
    expect(read).toBe(2);
  });

  /** What the fake engine says of a prompt's tokens but the first. */
  const ofPrompt = (prompt: readonly number[]) =>
    prompt.slice(1).map((token, index) => -Math.abs(token - continuation(prompt.slice(0, index + 1))));

  test.each([0, 1, 3])(
    "of a prompt's tokens come in order before %d generated ones, in bounded pieces",
    async (maxTokens) => {
      const { engine, scheduler } = setup();
      const prompt = range(100);
      const logprobs: number[] = [];
      const { tokens, result } = start(scheduler, prompt, {
        maxTokens,
        topLogprobs: 1,
        onPromptLogprobs: ({ logprob, top }) => {
          expect([tokens.length, top.length]).toEqual([0, 1]);
          logprobs.push(logprob);
        },
      });
      expect(await result).toMatchObject({ reason: "length", completionTokens: maxTokens });
      expect(logprobs).toEqual(ofPrompt(prompt));
      expect(tokens).toEqual(expected(prompt, maxTokens));
      expect(engine.batches.slice(0, 4)).toEqual([[[0, 32]], [[0, 32]], [[0, 32]], [[0, 4]]]);
    },
  );

  test("of a prompt's tokens are of all of it, whatever the cache holds, and leave it to the next", async () => {
    const { scheduler } = setup();
    const prompt = range(20);
    await start(scheduler, prompt).result;
    const logprobs: number[] = [];
    const echoed = start(scheduler, prompt, {
      topLogprobs: 0,
      onPromptLogprobs: ({ logprob }) => void logprobs.push(logprob),
    });
    expect(await echoed.result).toMatchObject({ cachedTokens: 0 });
    expect(logprobs).toEqual(ofPrompt(prompt));
    expect(await start(scheduler, [...prompt, 99]).result).toMatchObject({ cachedTokens: 20 });
  });

  test("of several prompts share the logits of a decode; others are not slowed down by it", async () => {
    const { engine, scheduler } = setup({ sequences: 3, batchSize: 128 });
    const prompts = [range(40), range(40, 100), range(40, 200)];
    const logprobs = prompts.map((): number[] => []);
    const runs = prompts.map((prompt, index) =>
      start(scheduler, prompt, {
        maxTokens: 1,
        topLogprobs: 0,
        ...(index < 2 && { onPromptLogprobs: ({ logprob }) => void logprobs[index]?.push(logprob) }),
      }),
    );
    await Promise.all(runs.map(({ result }) => result));
    expect(logprobs).toEqual([...prompts.slice(0, 2).map(ofPrompt), []]);
    expect(runs.map(({ tokens }) => tokens)).toEqual(prompts.map((prompt) => expected(prompt, 1)));
    expect(engine.batches).toEqual([
      [[0, 32]],
      [
        [0, 8],
        [1, 24],
        [2, 40],
      ],
      [[1, 16]],
    ]);
  });

  test("an engine that can't read them ends the generation, and no other", async () => {
    const { engine, scheduler } = setup();
    engine.logprobs = async () => {
      throw new Error("NaN");
    };
    const asked = start(scheduler, [1, 2], { topLogprobs: 1 });
    const echoed = start(scheduler, [5, 6], { topLogprobs: 1, maxTokens: 0, onPromptLogprobs: () => {} });
    const plain = start(scheduler, [3, 4]);
    expect(await failure(asked.result)).toMatchObject({ kind: "internal" });
    expect(await failure(echoed.result)).toMatchObject({ kind: "internal" });
    await plain.result;
    expect(plain.tokens).toEqual(expected([3, 4], 4));
    expect(engine.samplers).toBe(0);
  });
});
