import { afterEach, describe, expect, it, vi } from "vitest";
import type { LlamaContext } from "../../../src/engines/llama/addon.ts";
import { chooseThreads, threadCounts } from "../../../src/engines/llama/threads.ts";

describe("thread counts", () => {
  it.each([
    [1, 1e6, [1]],
    [2, 1e6, [1, 2]],
    [6, 1e6, [1, 2, 4, 6]],
    [8, 1e6, [1, 2, 4, 8]],
    [16, 4 * 2 ** 30, [8, 16]],
    [4, 64 * 2 ** 30, [4]],
  ])("for %d cores and %d bytes", (most, bytes, counts) => {
    expect(threadCounts(most, bytes)).toEqual(counts);
  });
});

describe("choosing", () => {
  afterEach(() => vi.restoreAllMocks());

  /** A context whose decodes take what a table says, by a clock of its own. */
  function fakeContext(msByThreads: Record<number, number>) {
    const state = { clock: 0, threads: 1, decodes: 0, held: 0 };
    vi.spyOn(performance, "now").mockImplementation(() => state.clock);
    const context = {
      async decode() {
        state.clock += msByThreads[state.threads] ?? 0;
        state.decodes += 1;
        state.held += 1;
        return [0];
      },
      setThreads(threads: number) {
        state.threads = threads;
      },
      removeCells() {
        state.held = 0;
        return true;
      },
    };
    return { context: context as unknown as LlamaContext, state };
  }

  it.each<[string, number[], Record<number, number>, number]>([
    ["the fastest", [1, 2, 4, 8], { 1: 40, 2: 22, 4: 15, 8: 19 }, 4],
    ["the most, when each is faster", [1, 2, 4], { 1: 40, 2: 22, 4: 12 }, 4],
    ["fewer, when more are hardly faster", [1, 2], { 1: 10, 2: 9.8 }, 1],
    ["one for a model that is decoded in no time", [1, 2], { 1: 0.3, 2: 0.01 }, 1],
    ["the only one", [3], { 3: 5 }, 3],
  ])("takes %s", async (_what, counts, msByThreads, expected) => {
    const { context, state } = fakeContext(msByThreads);
    expect(await chooseThreads(context, counts)).toBe(expected);
    expect(state).toMatchObject({ threads: expected, held: 0 });
  });

  it("decodes once where there is nothing to choose, and gives up soon on what is much slower", async () => {
    const single = fakeContext({ 2: 5 });
    await chooseThreads(single.context, [2]);
    expect(single.state.decodes).toBe(1);
    vi.restoreAllMocks();
    const slow = fakeContext({ 1: 10, 2: 1000 });
    expect(await chooseThreads(slow.context, [1, 2, 4])).toBe(1);
    expect(slow.state.clock).toBeLessThan(1200);
  });
});
