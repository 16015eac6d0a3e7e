import { expect, it } from "vitest";
import { type Batcher, type BatchLimits, createBatcher } from "../../src/worker/batcher.ts";

const never = new AbortController().signal;
const limits: BatchLimits = { batchTokens: 32, maxRequests: 100, maxTokens: 10_000 };

/** An engine whose batches end when they are told to; a row's vector is its first token and its length. */
function setup(changed: Partial<BatchLimits> = {}) {
  const batches: number[][] = [];
  /** Which of them share the engine. */
  const shared: boolean[] = [];
  const gates: (() => void)[] = [];
  let failure: Error | undefined;
  const batcher = createBatcher(
    2,
    async (rows, sharing) => {
      batches.push(rows.map((row) => row[0] ?? -1));
      shared.push(sharing);
      await new Promise<void>((resolve) => gates.push(resolve));
      if (failure !== undefined) throw failure;
      return Float32Array.from(rows.flatMap((row) => [row[0] ?? -1, row.length]));
    },
    { ...limits, ...changed },
  );
  return {
    batcher,
    batches,
    shared,
    fail: (error: Error | undefined) => {
      failure = error;
    },
    /** Ends batches until none is left. */
    async drain() {
      for (let idle = 0; idle < 3; idle += 1) {
        await new Promise((resolve) => setImmediate(resolve));
        if (gates.length > 0) idle = 0;
        gates.shift()?.();
      }
    },
    /** Ends the batch that runs, or lets the first begin. */
    async step() {
      gates.shift()?.();
      for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** Rows by their first tokens and lengths. */
function rows(...shapes: (readonly [first: number, length: number])[]): Uint32Array[] {
  return shapes.map(([first, length]) => new Uint32Array(length).fill(first));
}

function run(batcher: Batcher, list: Uint32Array[], tenant = "", signal = never) {
  return batcher.run({ rows: list, tenant }, signal);
}

it("answers rows in their order, whatever order they ran in", async () => {
  const { batcher, batches, drain } = setup();
  const result = run(batcher, rows([1, 3], [2, 30], [3, 4], [4, 29], [5, 3]));
  await drain();
  expect((await result).vectors.flatMap((vector) => [...vector])).toEqual([1, 3, 2, 30, 3, 4, 4, 29, 5, 3]);
  expect(batches).toEqual([[2], [4], [3], [5, 1]]);
});

it("keeps a batch within its tokens, padding included, and rows of one length together", async () => {
  const { batcher, batches, drain } = setup();
  const mixed = Array.from({ length: 40 }, (_, index): [number, number] => [index, 4 + (index % 20)]);
  const result = run(batcher, rows(...mixed));
  await drain();
  await result;
  const lengthOf = (first: number) => mixed[first]?.[1] ?? 0;
  for (const batch of batches) {
    const lengths = batch.map(lengthOf);
    expect(Math.max(...lengths) * batch.length).toBeLessThanOrEqual(32);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(1.25 * Math.min(...lengths));
  }
  expect(batches.flat().toSorted((a, b) => a - b)).toEqual(mixed.map(([first]) => first));
});

it("a row longer than a batch is one of its own", async () => {
  const { batcher, batches, drain } = setup();
  const result = run(batcher, rows([1, 100], [2, 100]));
  await drain();
  expect((await result).vectors.flatMap((vector) => [...vector])).toEqual([1, 100, 2, 100]);
  expect(batches).toEqual([[2], [1]]);
});

it("starts at once when idle, and joins what comes meanwhile", async () => {
  const { batcher, batches, step, drain } = setup();
  const first = run(batcher, rows([1, 8]));
  await step();
  expect(batches).toEqual([[1]]);
  const others = [2, 3, 4].map((id) => run(batcher, rows([id, 8])));
  await step();
  await first;
  expect(batches).toEqual([[1], [2, 3, 4]]);
  await drain();
  await Promise.all(others);
});

it("a request with many long rows holds up a short one by a batch", async () => {
  const { batcher, batches, step, drain } = setup();
  const long = run(batcher, rows(...Array.from({ length: 20 }, (_, id): [number, number] => [id, 30])));
  await step();
  const short = run(batcher, rows([99, 2]));
  await step();
  await step();
  expect(batches.length).toBe(3);
  expect(batches.slice(1)).toContainEqual([99]);
  await drain();
  await Promise.all([long, short]);
});

it("tenants take turns, however many requests each has", async () => {
  const { batcher, batches, step, drain } = setup();
  const many = Array.from({ length: 10 }, (_, id) => run(batcher, rows([id, 30]), "many"));
  await step();
  const one = [run(batcher, rows([98, 30]), "one"), run(batcher, rows([99, 30]), "one")];
  for (let turn = 0; turn < 4; turn += 1) await step();
  expect(batches.flat().filter((id) => id >= 98)).toEqual([98, 99]);
  await drain();
  await Promise.all([...many, ...one]);
});

it("computes nothing more for a request that is cancelled", async () => {
  const { batcher, batches, step, drain } = setup();
  const controller = new AbortController();
  const long = run(
    batcher,
    rows(...Array.from({ length: 20 }, (_, id): [number, number] => [id, 30])),
    "",
    controller.signal,
  );
  await step();
  controller.abort(new Error("left"));
  await expect(long).rejects.toThrow("left");
  const next = run(batcher, rows([99, 30]));
  expect(batcher.load).toEqual({ active: 0, queued: 1, queuedTokens: 30 });
  await drain();
  await next;
  expect(batches).toEqual([[19], [99]]);
  expect(batcher.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
  await expect(run(batcher, rows([1, 1]), "", AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
});

it("refuses what is too much to wait", async () => {
  const { batcher, step, drain } = setup({ maxRequests: 3, maxTokens: 100 });
  // The first may have any number.
  const first = run(batcher, rows(...Array.from({ length: 10 }, (_, id): [number, number] => [id, 30])));
  await step();
  await expect(run(batcher, rows([1, 1]))).rejects.toMatchObject({
    kind: "overloaded",
    message: "270 tokens wait already, with this request's 1 they would exceed the maximum 100",
  });
  await drain();
  await first;
  const three = [1, 2, 3].map((id) => run(batcher, rows([id, 8])));
  await expect(run(batcher, rows([4, 1]))).rejects.toMatchObject({
    kind: "overloaded",
    message: "3 requests wait already, the maximum is 3",
  });
  await drain();
  await Promise.all(three);
});

it("an engine that fails fails those in the batch, and goes on", async () => {
  const { batcher, fail, step, drain } = setup();
  fail(new Error("out of memory"));
  const broken = [run(batcher, rows([1, 30], [2, 30])), run(batcher, rows([3, 10]))];
  const settled = Promise.allSettled(broken);
  await step();
  await step();
  fail(undefined);
  await drain();
  const [first, second] = await settled;
  expect(first).toMatchObject({ status: "rejected", reason: { message: "out of memory" } });
  expect(second).toMatchObject({ status: "fulfilled" });
  expect(batcher.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
});

it("runs rows alone that the engine wants alone, and others together", async () => {
  const { batcher, batches, drain } = setup({ aloneAbove: 8 });
  const result = run(batcher, rows([1, 9], [2, 9], [3, 8], [4, 8]));
  await drain();
  expect((await result).vectors.map(([first]) => first)).toEqual([1, 2, 3, 4]);
  expect(batches).toEqual([[2], [1], [4, 3]]);
});

it("runs as many batches at a time as there are lanes, and one by itself where no other waits", async () => {
  const { batcher, batches, shared, step, drain } = setup({ lanes: 2, aloneAbove: 8 });
  const list = rows([1, 9], [2, 9], [3, 9], [4, 9]);
  const results = [run(batcher, list), run(batcher, rows([5, 9]))];
  await step();
  expect([batches, shared]).toEqual([
    [[4], [5]],
    [true, true],
  ]);
  expect(batcher.load).toEqual({ active: 2, queued: 0, queuedTokens: 27 });
  await step();
  // As soon as one has ended the next begins.
  expect(batches).toEqual([[4], [5], [3]]);
  await drain();
  expect(batches.length).toBe(5);
  expect((await Promise.all(results)).map(({ vectors }) => vectors.map(([first]) => first))).toEqual([
    [1, 2, 3, 4],
    [5],
  ]);
  const last = run(batcher, rows([6, 9]));
  await drain();
  expect((await last).vectors.length).toBe(1);
  expect(shared.at(-1)).toBe(false);
});

it("a batch that fails in one lane leaves the others", async () => {
  const { batcher, fail, step, drain } = setup({ lanes: 2, aloneAbove: 8 });
  const [first, second] = [run(batcher, rows([1, 9], [2, 9])), run(batcher, rows([3, 9]))];
  const refused = expect(first).rejects.toThrow("broken");
  await step();
  fail(new Error("broken"));
  await step();
  fail(undefined);
  await drain();
  await refused;
  expect((await second).vectors.length).toBe(1);
  expect(batcher.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
});
