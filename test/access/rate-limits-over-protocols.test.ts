import { describe, expect, it } from "vitest";
import { calls, plainKey, startAccessServer, testKey } from "./access-server.ts";

const bearer = (id: string) => ({ authorization: `Bearer ${plainKey(id)}` });

describe.each(calls)("%s", (_, call) => {
  it("the request beyond the limit is refused at once, and says when to come back", async () => {
    const rejected: string[] = [];
    await using server = await startAccessServer(
      [testKey("few", ["inference"], { requestsPerMinute: 2 }), testKey("other", ["inference"])],
      { onRejected: (reason) => rejected.push(reason) },
    );
    // Asked for before the first fetch of a test, with the key of that: see test/support/validate-responses.ts.
    await fetch(`${server.url}/openapi.json`, { headers: bearer("other") });
    rejected.length = 0;

    for (const remaining of ["1", "0"]) {
      const outcome = await call(server, bearer("few"));
      expect(outcome.code).toBe(0);
      expect(outcome.header("x-ratelimit-limit-requests")).toBe("2");
      expect(outcome.header("x-ratelimit-remaining-requests")).toBe(remaining);
      expect(outcome.header("x-ratelimit-reset-requests")).toMatch(/^(1m0s|[1-9]\d?s)$/);
      expect(outcome.header("x-ratelimit-limit-tokens")).toBeUndefined();
    }
    const refused = await call(server, bearer("few"));
    expect(refused.code).toBe(8);
    expect(refused.http ?? 429).toBe(429);
    expect(refused.kind).toBe(refused.http === undefined ? "rate_limited" : "rate_limit_exceeded");
    expect(refused.message).toMatch(/^the limit of 2 requests a minute is used up; try again in \d+ s$/);
    expect(Number(refused.header("retry-after"))).toBeGreaterThan(0);
    expect(Number(refused.header("retry-after"))).toBeLessThanOrEqual(60);
    expect(refused.header("x-ratelimit-remaining-requests")).toBe("0");
    expect(server.contexts).toHaveLength(2);
    await expect.poll(() => rejected).toEqual(["rate_limited"]);

    expect((await call(server, bearer("other"))).code).toBe(0);
  });
});

it("without keys, the limit is each address's; probes and health don't count", async () => {
  await using server = await startAccessServer(undefined, { rateLimit: { requestsPerMinute: 3 } });
  for (let index = 0; index < 10; index++) expect((await fetch(`${server.url}/livez`)).status).toBe(200);
  const [, connect] = calls.find(([name]) => name === "Connect, unary") ?? [];
  const [, grpc] = calls.find(([name]) => name === "gRPC, grpc-js, unary") ?? [];
  if (connect === undefined || grpc === undefined) throw new Error("no such call");
  const check = () =>
    fetch(`${server.url}/grpc.health.v1.Health/Check`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
  for (let index = 0; index < 10; index++) expect(await (await check()).json()).toEqual({ status: "SERVING" });
  const codes = [];
  for (const call of [connect, grpc, connect]) codes.push((await call(server, {})).code);
  // One of the three went to the /openapi.json that fetch asked for in this test.
  expect(codes).toEqual([0, 0, 8]);
});

it("a refused key is not charged to anybody", async () => {
  await using server = await startAccessServer([testKey("few", ["inference"], { requestsPerMinute: 1 })], {
    rateLimit: { requestsPerMinute: 1 },
  });
  const [, grpc] = calls.find(([name]) => name === "gRPC, grpc-js, unary") ?? [];
  if (grpc === undefined) throw new Error("no such call");
  for (let index = 0; index < 5; index++) expect((await grpc(server, { "x-api-key": "wrong" })).code).toBe(16);
  expect((await grpc(server, bearer("few"))).code).toBe(0);
  expect((await grpc(server, bearer("few"))).code).toBe(8);
});
