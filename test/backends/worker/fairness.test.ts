import { afterAll, beforeAll, expect, test } from "vitest";
import { ask, chat, contextOf, failure, type TestWorker, testWorker, until } from "./setup.ts";

let worker: TestWorker;
beforeAll(async () => {
  worker = testWorker(
    { reply: ["on ", "and ", "off "], loop: true },
    { parameters: { sequences: 2, max_queue: 40, n_ctx: 4_096 } },
  );
  await worker.backend.load(new AbortController().signal);
});
afterAll(() => worker[Symbol.asyncDispose]());

test("a tenant's single request overtakes the many that another has queued, even in a full queue", async () => {
  const { backend } = worker;
  const ended: string[] = [];
  const refused: string[] = [];
  const send = (tenant: string, maxTokens: number) =>
    chat(backend, ask("Hi", { maxTokens, ignoreEos: true }), contextOf({ tenant })).then(
      () => ended.push(tenant),
      (error: { kind: string }) => refused.push(`${tenant}: ${error.kind}`),
    );
  const many = Array.from({ length: 42 }, () => send("many", 200));
  await until("some are answered", () => ended.length >= 1);
  while (backend.inFlight < 42) many.push(send("many", 200));
  // The last of them may have been refused; whoever was, the queue is full now or nearly.
  await send("one", 5);
  const before = ended.indexOf("one");
  expect(before).toBeGreaterThan(0);
  expect(before).toBeLessThan(10);
  await Promise.all(many);
  expect(refused.every((line) => line === "many: overloaded")).toBe(true);
  expect(ended.length + refused.length).toBe(many.length + 1);
});

test("one that gives way in the queue is told so at once", async () => {
  const { backend } = worker;
  const first = Array.from({ length: 42 }, () =>
    chat(backend, ask("Hi", { maxTokens: 3_000 }), contextOf({ tenant: "a" })),
  );
  const last = first.map((answer) => failure(answer).catch(() => undefined));
  await until("they are in flight", () => backend.inFlight === 42);
  await new Promise((done) => setTimeout(done, 100));
  const controller = new AbortController();
  const other = chat(backend, ask("Hi", { maxTokens: 1 }), contextOf({ tenant: "b", signal: controller.signal }));
  const error = await Promise.race(last);
  expect(error).toMatchObject({ kind: "overloaded" });
  expect(error?.retryAfterMs).toBeGreaterThanOrEqual(1_000);
  await other;
  await backend.unload({ force: true, signal: new AbortController().signal });
  await Promise.all(last);
});
