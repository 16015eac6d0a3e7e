/** What the whole server says of itself while models come and go. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../gen/grpc/health/v1/health_pb.ts";
import { readSettings } from "../src/config/settings.ts";
import { type Loqui, startLoqui } from "../src/loqui.ts";
import { writeScriptedModel } from "./support/scripted-model.ts";

let folder: string;
let loqui: Loqui;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-readiness-"));
});
afterEach(async () => {
  await loqui.close();
  rmSync(folder, { recursive: true });
});

async function start(models: string): Promise<void> {
  writeFileSync(join(folder, "models.yaml"), `models:\n${models}`);
  loqui = await startLoqui(readSettings({ PORT: "0", LOQUI_LOG_LEVEL: "silent" }, {}, folder));
}

const entry = (id: string, more: string) =>
  `  - {id: ${id}, type: chat, engine: llama.cpp, source: {path: ${id}.gguf}, ${more}}\n`;

async function readyz(): Promise<[number, unknown]> {
  const response = await fetch(`${loqui.url}/readyz`);
  return [response.status, await response.json()];
}

async function healthOf(service: string): Promise<Status> {
  const client = createClient(Health, createGrpcTransport({ baseUrl: loqui.url }));
  return (await client.check({ service })).status;
}

it("is not ready while its models load, and ready when one can answer", async () => {
  writeScriptedModel(join(folder, "good.gguf"), { reply: ["ok"] });
  await start(entry("good", "preload: true") + entry("off", "preload: true, disabled: true"));
  expect(await readyz()).toEqual([503, { status: "not ready", reason: "models are loading" }]);
  await loqui.settled;
  expect(await readyz()).toEqual([200, { status: "ok" }]);
  expect([await healthOf(""), await healthOf("good"), await healthOf("off")]).toEqual([
    Status.SERVING,
    Status.SERVING,
    Status.NOT_SERVING,
  ]);
});

it("is not ready while no model can answer, and becomes so when one is mended", async () => {
  writeFileSync(join(folder, "broken.gguf"), "GGUF");
  await start(entry("broken", "preload: true"));
  await loqui.settled;
  expect(await readyz()).toEqual([503, { status: "not ready", reason: "no model can answer" }]);
  expect(await healthOf("broken")).toBe(Status.NOT_SERVING);
  writeScriptedModel(join(folder, "broken.gguf"), { reply: ["mended"] });
  const loaded = await fetch(`${loqui.url}/v1/models/broken:load`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  expect(await loaded.json()).toMatchObject({ id: "broken", state: "ready" });
  expect(await readyz()).toEqual([200, { status: "ok" }]);
  expect(await healthOf("broken")).toBe(Status.SERVING);
});

it("unloads a model and loads it again on demand; a disabled one is not tried again", async () => {
  writeScriptedModel(join(folder, "good.gguf"), { reply: ["ok"] });
  await start(entry("good", "preload: true, aliases: [other]") + entry("off", "disabled: true"));
  await loqui.settled;
  const unloaded = await fetch(`${loqui.url}/v1/models/other:unload`, { method: "POST" });
  expect(await unloaded.json()).toMatchObject({ id: "other", state: "available" });
  const ask = (model: string) =>
    fetch(`${loqui.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model, messages: [{ role: "user", content: "Hi" }] }),
    });
  expect(await (await ask("other")).json()).toMatchObject({
    model: "other",
    choices: [{ message: { content: "ok" } }],
  });
  const refused = await ask("off");
  expect([refused.status, refused.headers.get("x-should-retry")]).toEqual([503, "false"]);
  expect(await refused.json()).toMatchObject({
    error: { code: "model_unavailable", message: "the model off is disabled" },
  });
});

it("refuses what Connect's JSON does not know, as REST lists it", async () => {
  writeScriptedModel(join(folder, "good.gguf"), { reply: ["ok"] });
  await start(entry("good", "preload: true"));
  const ask = (path: string, more: object) =>
    fetch(`${loqui.url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "good", ...more }),
    });
  const connect = await ask("/loqui.v1.ModelService/GetModel", { modle: "x" });
  expect(connect.status).toBe(400);
  expect(((await connect.json()) as { code: string }).code).toBe("invalid_argument");
  const messages = [{ role: "user", content: "Hi" }];
  const rest = await ask("/v1/chat/completions", { messages, modle: "x" });
  expect([rest.status, rest.headers.get("x-loqui-ignored")]).toEqual([200, "modle"]);
});
