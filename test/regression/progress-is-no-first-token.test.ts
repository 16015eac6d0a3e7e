import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

interface Metrics {
  readonly time_to_first_token: { readonly count: number; readonly max: number };
}

/** The time to the first token ended with the first message of a stream, which `return_progress` puts before the prompt. */
let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts({ hello: { reply: ["Hello"] } }, {}, { hello: { batch_size: 16 } });
});
afterAll(() => running[Symbol.asyncDispose]());

test("the time to the first token lasts as long as the prompt takes", async () => {
  const client = new OpenAI({ baseURL: `${running.url}/v1`, apiKey: "none", maxRetries: 0 });
  const stream = await client.chat.completions.create({
    model: "hello",
    messages: [{ role: "user", content: "A prompt of many batches. ".repeat(120) }],
    stream: true,
    ...{ return_progress: true },
  });
  let promptMs = Number.NaN;
  for await (const chunk of stream) {
    const { timings } = chunk as { timings?: { prompt_ms: number } };
    if (timings !== undefined) promptMs = timings.prompt_ms;
  }
  const metrics = (await (await fetch(`${running.url}/v1/models/hello:metrics`)).json()) as Metrics;
  expect(metrics.time_to_first_token.count).toBe(1);
  expect(metrics.time_to_first_token.max).toBeGreaterThanOrEqual(promptMs);
});
