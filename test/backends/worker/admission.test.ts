import { afterEach, describe, expect, test, vi } from "vitest";
import { createAdmission, holdMs } from "../../../src/backends/worker/admission.ts";
import { LoquiError } from "../../../src/errors.ts";
import { ask, chat, contextOf, failure, stream, testWorker, textOf, until } from "./setup.ts";

const full = new LoquiError("overloaded", "the model is overloaded: 8 requests wait already", { retryAfterMs: 7_000 });

describe("calls that wait for the worker", () => {
  test("are bounded in number", () => {
    const admission = createAdmission({ calls: 2, bytes: 100 });
    const leave = admission.enter("", 1);
    admission.enter("", 1);
    expect(() => admission.enter("", 1)).toThrow(
      "the model is overloaded: 2 requests wait for it to load, the maximum is 2",
    );
    leave();
    leave();
    admission.enter("", 1);
    expect(() => admission.enter("", 1)).toThrow(LoquiError);
  });

  test("are bounded in bytes, but for the first", () => {
    const admission = createAdmission({ calls: 9, bytes: 100 });
    const leave = admission.enter("", 1_000);
    expect(() => admission.enter("", 1)).toThrow(
      "the model is overloaded: 1000 bytes of requests wait for it to load, with this request's 1 they would exceed the maximum 100",
    );
    leave();
    admission.enter("", 100);
  });
});

describe("what the worker has refused", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test("is refused in its words, to the same tenant only", () => {
    const admission = createAdmission({ calls: 9, bytes: 100 });
    admission.refused("a", full);
    expect(() => admission.enter("a", 1)).toThrow(
      expect.objectContaining({ kind: "overloaded", message: full.message, retryAfterMs: 7_000 }),
    );
    admission.enter("b", 1);
  });

  test("until a call ends", () => {
    const admission = createAdmission({ calls: 9, bytes: 100 });
    admission.refused("a", full);
    admission.ended();
    admission.enter("a", 1);
  });

  test("or until the time is up", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const admission = createAdmission({ calls: 9, bytes: 100 });
    admission.refused("a", full);
    vi.advanceTimersByTime(holdMs - 1);
    expect(() => admission.enter("a", 1)).toThrow(LoquiError);
    vi.advanceTimersByTime(1);
    admission.enter("a", 1);
  });
});

describe("with a worker", () => {
  test("as many calls wait for the model to load as it takes then", async () => {
    await using worker = testWorker(undefined, { parameters: { sequences: 2, max_queue: 3 } });
    const calls = Array.from({ length: 8 }, () => chat(worker.backend, ask("Hi")));
    const results = await Promise.allSettled(calls);
    const answers = results.flatMap((result) => (result.status === "fulfilled" ? [textOf(result.value)] : []));
    expect(answers).toEqual(Array(5).fill("Hello, world!"));
    for (const result of results.slice(5)) {
      expect(result).toMatchObject({
        status: "rejected",
        reason: {
          kind: "overloaded",
          retryAfterMs: 5_000,
          message: "the model is overloaded: 5 requests wait for it to load, the maximum is 5",
        },
      });
    }
  });

  test("a full queue refuses all in the same words, then takes calls again", async () => {
    const script = { reply: ["on ", "and ", "off "], loop: true };
    await using worker = testWorker(script, { parameters: { n_ctx: 16_384, sequences: 1, max_queue: 1 } });
    const controllers = [new AbortController(), new AbortController()];
    const running = controllers.map(({ signal }) => failure(chat(worker.backend, ask("Hi"), contextOf({ signal }))));
    await until("one waits", () => worker.backend.workerLoad?.queued === 1);
    const refusals = [];
    for (let count = 0; count < 20; count++) refusals.push(await failure(chat(worker.backend, ask("Hi"))));
    for (const refusal of refusals) {
      expect(refusal.message).toBe("the model is overloaded: 1 requests wait already, the maximum is 1");
    }
    for (const controller of controllers) controller.abort(new LoquiError("cancelled", "enough"));
    await Promise.all(running);
    expect((await chat(worker.backend, ask("Hi", { maxTokens: 1 }))).usage?.completionTokens).toBe(1);
  });

  test("the queue is bounded in tokens by its setting", async () => {
    const script = { reply: ["on ", "and ", "off "], loop: true };
    await using worker = testWorker(script, {
      parameters: { n_ctx: 16_384, sequences: 1, max_queue: 9, max_queue_tokens: 200 },
    });
    const controller = new AbortController();
    const running = [1, 2].map(() =>
      failure(chat(worker.backend, ask("Hi"), contextOf({ signal: controller.signal }))),
    );
    await until("one waits", () => worker.backend.workerLoad?.queued === 1);
    const error = await failure(chat(worker.backend, ask("x".repeat(300))));
    expect(error.message).toMatch(
      /^the model is overloaded: \d+ prompt tokens wait already, .* exceed the maximum 200$/,
    );
    // A shorter one is not refused for it.
    const short = failure(chat(worker.backend, ask("Hi"), contextOf({ signal: controller.signal })));
    await until("two wait", () => worker.backend.workerLoad?.queued === 2);
    controller.abort(new LoquiError("cancelled", "enough"));
    await Promise.all([...running, short]);
  });

  test("an answer of which 16 MiB wait unread is ended, and its sequence is free", async () => {
    await using worker = testWorker(
      { reply: ["a", "b", "c"].map((letter) => letter.repeat(8_192)), loop: true },
      { parameters: { n_ctx: 16_384, sequences: 1 } },
    );
    const chunks = stream(worker.backend, ask("Hi"))[Symbol.asyncIterator]();
    await chunks.next();
    // The one sequence answers another before the first has been read.
    expect((await chat(worker.backend, ask("Hi", { maxTokens: 1 }))).usage?.completionTokens).toBe(1);
    let bytes = 0;
    const error = await failure(
      (async () => {
        for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
          bytes += next.value.choices[0]?.delta?.content?.length ?? 0;
        }
      })(),
    );
    expect(error).toMatchObject({ kind: "cancelled", code: "stalled" });
    expect(bytes).toBeGreaterThan(15 * 1024 * 1024);
    expect(bytes).toBeLessThan(32 * 1024 * 1024);
  });
});
