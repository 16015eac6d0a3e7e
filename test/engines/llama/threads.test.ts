import { afterEach, describe, expect, it, vi } from "vitest";
import type { LlamaContext } from "../../../src/engines/llama/addon.ts";
import { chooseThreads, threadCounts } from "../../../src/engines/llama/threads.ts";
import type { DecodeRow } from "../../../src/engines/token-engine.ts";

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

  /** A context whose decodes take what tables say, of one token and of several, by a clock of its own. */
  function fakeContext(msByThreads: Record<number, number>, batchMs = msByThreads) {
    const state = { clock: 0, threads: 1, decodes: 0, held: 0, longest: 0 };
    vi.spyOn(performance, "now").mockImplementation(() => state.clock);
    const context = {
      async decode([row]: readonly DecodeRow[]) {
        const length = row?.tokens.length ?? 0;
        state.clock += (length > 1 ? batchMs : msByThreads)[state.threads] ?? 0;
        state.decodes += 1;
        state.held += length;
        state.longest = Math.max(state.longest, length);
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
    expect(await chooseThreads(context, counts, 512, true)).toEqual({ token: expected, batch: expected });
    expect(state.held).toBe(0);
  });

  it("takes more for batches where that is faster, never fewer", async () => {
    const more = fakeContext({ 1: 8, 2: 9, 4: 12 }, { 1: 40, 2: 22, 4: 13 });
    expect(await chooseThreads(more.context, [1, 2, 4], 512, true)).toEqual({ token: 1, batch: 4 });
    vi.restoreAllMocks();
    const fewer = fakeContext({ 1: 8, 2: 4, 4: 5 }, { 1: 1, 2: 10, 4: 12 });
    expect(await chooseThreads(fewer.context, [1, 2, 4], 512, true)).toEqual({ token: 2, batch: 2 });
  });

  it("takes more that have to be started anew only where they are much faster, for batches where they are faster", async () => {
    const { context } = fakeContext({ 1: 8.2, 2: 6.7 }, { 1: 40, 2: 32 });
    expect(await chooseThreads(context, [1, 2], 512, false)).toEqual({ token: 1, batch: 2 });
    vi.restoreAllMocks();
    const hardly = fakeContext({ 1: 8.2, 2: 6.7 }, { 1: 40, 2: 38 });
    expect(await chooseThreads(hardly.context, [1, 2], 512, false)).toEqual({ token: 1, batch: 1 });
  });

  it("decodes no more tokens at a time than the context takes", async () => {
    const { context, state } = fakeContext({ 1: 8, 2: 5 });
    expect(await chooseThreads(context, [1, 2], 4, true)).toEqual({ token: 2, batch: 2 });
    expect(state.longest).toBe(1);
    expect(await chooseThreads(context, [1], 4, true)).toEqual({ token: 1, batch: 1 });
    vi.restoreAllMocks();
    const worse = fakeContext({ 1: 5, 2: 8 }, { 1: 20, 2: 11 });
    expect(await chooseThreads(worse.context, [1, 2], 4, true)).toEqual({ token: 1, batch: 2 });
    expect(worse.state.longest).toBe(4);
  });

  it("decodes once where there is nothing to choose, and gives up soon on what is much slower", async () => {
    const single = fakeContext({ 2: 5 });
    await chooseThreads(single.context, [2], 512, true);
    expect(single.state.decodes).toBe(1);
    vi.restoreAllMocks();
    const slow = fakeContext({ 1: 10, 2: 1000 });
    expect(await chooseThreads(slow.context, [1, 2, 4], 512, true)).toEqual({ token: 1, batch: 1 });
    expect(slow.state.clock).toBeLessThan(2300);
  });
});
