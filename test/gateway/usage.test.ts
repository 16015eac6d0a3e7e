import { expect, test } from "vitest";
import { createMinuteSum, createRecentValues } from "../../src/gateway/recent-values.ts";
import { createUsage } from "../../src/gateway/usage.ts";
import type { RequestRecord } from "../../src/request-context.ts";

const record: RequestRecord = {
  requestId: "r",
  protocol: "grpc",
  method: "loqui.v1.ChatService/CreateChatCompletion",
  receivedAt: 0,
  model: "alias",
  modelId: "m",
  backend: "worker:m",
  outcome: "ok",
};

test("totals, rates and times of a model's calls", () => {
  let now = 5_000;
  const usage = createUsage(() => now);
  const times = { queueMs: 2, firstTokenMs: 30, generationMs: 90, durationMs: 125 };
  usage.add({ ...record, ...times, promptTokens: 100, cachedTokens: 40, completionTokens: 10 });
  usage.add({ ...record, outcome: "cancelled", firstTokenMs: 50, durationMs: 60 });
  usage.add({ ...record, outcome: "worker_crashed", durationMs: 60 });
  const { recent, ...totals } = usage.of("m");
  expect(totals).toEqual({
    requests: 3,
    errors: 1,
    cancelled: 1,
    promptTokens: 100,
    cachedTokens: 40,
    completionTokens: 10,
    promptTokensPerSecond: 1,
    completionTokensPerSecond: 10 / 60,
  });
  const { queueMs, firstTokenMs, perTokenMs, durationMs } = recent();
  expect(queueMs).toEqual({ count: 1, mean: 2, p50: 2, p90: 2, p99: 2, max: 2 });
  expect(firstTokenMs).toEqual({ count: 2, mean: 40, p50: 30, p90: 50, p99: 50, max: 50 });
  expect(perTokenMs?.mean).toBe(10);
  expect(durationMs?.count).toBe(3);
  now += 60_000;
  expect(usage.of("m")).toMatchObject({ promptTokens: 100, promptTokensPerSecond: 0 });
});

test("what came to no backend, or names no model, is not a model's", () => {
  const usage = createUsage();
  const { backend: _, ...listed } = record;
  const { modelId: __, ...unknown } = record;
  usage.add(listed);
  usage.add(unknown);
  expect(usage.of("m").requests).toBe(0);
  expect(usage.of("m").recent().durationMs).toBeUndefined();
});

test("of more values than there is room for the last count", () => {
  const values = createRecentValues(100);
  for (let value = 1; value <= 1_000; value++) values.add(value);
  expect(values.distribution()).toEqual({ count: 100, mean: 950.5, p50: 950, p90: 990, p99: 999, max: 1_000 });
});

test.each([
  ["one value a second for two minutes", Array.from({ length: 120 }, (_, second) => second * 1_000), 119_000, 1],
  ["all at once", [500, 500, 500], 500, 3 / 60],
  ["half of it long ago", [0, 61_000], 61_000, 1 / 60],
  ["all of it long ago", [0, 1_000], 1e9, 0],
])("a minute's rate: %s", (_, times, now, rate) => {
  const sum = createMinuteSum();
  for (const time of times) sum.add(1, time);
  expect(sum.perSecond(now)).toBeCloseTo(rate, 10);
});
