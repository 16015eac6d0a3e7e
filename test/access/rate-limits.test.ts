import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createRateLimits } from "../../src/access/rate-limits.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms: number) => vi.advanceTimersByTime(ms);

describe("requests a minute", () => {
  it("are counted down, refused with the time that is left, and free again after the minute", async () => {
    const limits = createRateLimits({ requestsPerMinute: 2 });
    expect((await limits.enter("key:a", {})).headers).toEqual({
      "x-ratelimit-limit-requests": "2",
      "x-ratelimit-remaining-requests": "1",
      "x-ratelimit-reset-requests": "1m0s",
    });
    pass(10_500);
    expect((await limits.enter("key:a", {})).exceeded).toBeUndefined();
    const refused = await limits.enter("key:a", {});
    expect(refused.headers).toEqual({
      "x-ratelimit-limit-requests": "2",
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "50s",
    });
    expect(refused.exceeded?.limit).toBe("requests");
    expect(refused.exceeded?.error).toMatchObject({
      kind: "rate_limited",
      retryAfterMs: 49_500,
      message: "the limit of 2 requests a minute is used up; try again in 50 s",
    });
    pass(49_499);
    expect((await limits.enter("key:a", {})).exceeded?.error.retryAfterMs).toBe(1);
    pass(1);
    expect((await limits.enter("key:a", {})).exceeded).toBeUndefined();
  });

  it("count for each account", async () => {
    const limits = createRateLimits({ requestsPerMinute: 1 });
    expect((await limits.enter("key:a", {})).exceeded).toBeUndefined();
    expect((await limits.enter("key:b", {})).exceeded).toBeUndefined();
    expect((await limits.enter("key:a", {})).exceeded).toBeDefined();
  });

  it("an account's own limit wins over the default, to both sides", async () => {
    const limits = createRateLimits({ requestsPerMinute: 1 });
    const own = { requestsPerMinute: 2 };
    await limits.enter("key:a", own);
    expect((await limits.enter("key:a", own)).exceeded).toBeUndefined();
    expect((await limits.enter("key:a", own)).exceeded).toBeDefined();
    const free = { requestsPerMinute: Number.POSITIVE_INFINITY };
    for (let index = 0; index < 100; index++) {
      expect(await limits.enter("key:b", free)).toEqual({ exceeded: undefined, headers: {} });
    }
  });
});

describe("tokens a minute", () => {
  it("block the next request once they are used up, without counting it", async () => {
    const limits = createRateLimits({ tokensPerMinute: 100, requestsPerMinute: 10 });
    expect((await limits.enter("key:a", {})).headers).toMatchObject({
      "x-ratelimit-limit-tokens": "100",
      "x-ratelimit-remaining-tokens": "100",
      "x-ratelimit-reset-tokens": "0ms",
    });
    await limits.charge("key:a", {}, 60);
    expect((await limits.enter("key:a", {})).headers).toMatchObject({
      "x-ratelimit-remaining-tokens": "40",
      "x-ratelimit-reset-tokens": "1m0s",
      "x-ratelimit-remaining-requests": "8",
    });
    await limits.charge("key:a", {}, 40);
    const refused = await limits.enter("key:a", {});
    expect(refused.exceeded?.limit).toBe("tokens");
    expect(refused.exceeded?.error.message).toBe("the limit of 100 tokens a minute is used up; try again in 60 s");
    pass(60_000);
    expect((await limits.enter("key:a", {})).headers).toMatchObject({ "x-ratelimit-remaining-requests": "9" });
  });

  it("beyond the limit are paid with the minutes that follow", async () => {
    const limits = createRateLimits({ tokensPerMinute: 100 });
    await limits.charge("key:a", {}, 250);
    expect((await limits.enter("key:a", {})).exceeded?.error.retryAfterMs).toBe(150_000);
    pass(30_000);
    await limits.charge("key:a", {}, 100);
    expect((await limits.enter("key:a", {})).exceeded?.error.retryAfterMs).toBe(180_000);
    pass(179_999);
    expect((await limits.enter("key:a", {})).exceeded).toBeDefined();
    pass(1);
    expect((await limits.enter("key:a", {})).headers["x-ratelimit-remaining-tokens"]).toBe("100");
  });

  it("never block for more than a day", async () => {
    const limits = createRateLimits({ tokensPerMinute: 1 });
    await limits.charge("key:a", {}, 2 ** 31);
    expect((await limits.enter("key:a", {})).exceeded?.error.retryAfterMs).toBe(86_400_000);
  });
});
