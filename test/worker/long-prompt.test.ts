import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts({ hello: { reply: ["Hello"] } });
});
afterAll(() => running[Symbol.asyncDispose]());

test("a prompt that can't fit is refused before it is tokenized, with both counts", async () => {
  const response = await fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "hello", messages: [{ role: "user", content: "a".repeat(8_000_000) }] }),
  });
  expect(response.status).toBe(400);
  const { error } = (await response.json()) as { error: Record<string, string> };
  expect(error).toMatchObject({ code: "context_length_exceeded", param: "messages" });
  const [, length, tokens] =
    /maximum context length is (\d+) tokens\. .* resulted in at least (\d+) tokens/.exec(error.message ?? "") ?? [];
  expect(Number(length)).toBe(4096);
  // As many as the longest token makes of it at least; not the 8,000,000 that tokenizing would find.
  expect(Number(tokens)).toBeGreaterThan(4096);
  expect(Number(tokens)).toBeLessThan(1_000_000);
});
