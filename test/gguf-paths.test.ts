import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeEncoder } from "./support/gguf-encoder.ts";
import { type RunningLoqui, startIn, writeScripts } from "./support/running-loqui.ts";

let running: RunningLoqui;
beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
  const [chat = ""] = writeScripts(folder, { chat: { reply: ["Hi"] } });
  const [embeds, reranks] = [join(folder, "embeds.gguf"), join(folder, "reranks.gguf")];
  writeEncoder(embeds, "bert");
  writeEncoder(reranks, "rerankers/xlm-roberta");
  running = await startIn(folder, { MODELS: [chat, embeds, reranks].join() });
});
afterAll(() => running?.[Symbol.asyncDispose]());

it.each<[string, string, object, object]>([
  ["chat", "/v1/chat/completions", { messages: [{ role: "user", content: "?" }] }, { choices: [{ index: 0 }] }],
  ["embeds", "/v1/embeddings", { input: "a" }, { data: [{ index: 0 }] }],
  ["reranks", "/v1/rerank", { query: "a", documents: ["b"] }, { results: [{ index: 0 }] }],
])("a .gguf file in MODELS does what it is made for (%s)", async (model, path, body, expected) => {
  const response = await fetch(`${running.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, ...body }),
  });
  expect(await response.json()).toMatchObject(expected);
});
