/** The server's own process stands still while answers stream, as when its event loop is blocked; then it goes on. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ChatCompletionChunk, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { grpcError, grpcJsClient } from "../server/grpc-js-client.ts";
import { writeModelsFile, writeScripts } from "../support/running-loqui.ts";
import { type SpawnedLoqui, spawnLoqui } from "../support/spawned-loqui.ts";
import { endless, endlessParameters, events, modelOf, pause, post, question, until } from "./support.ts";

const tokens = 600;
const { createChatCompletion, streamChatCompletion } = ChatService.method;
let folder: string;
let server: SpawnedLoqui;
let address: { host: string; port: number };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
  writeScripts(folder, { endless });
  const config = writeModelsFile(folder, ["endless"], { endless: endlessParameters });
  // A watchdog that would end the worker, if it took its own standing still for the worker's.
  server = await spawnLoqui(["--config", config, "--watchdog-seconds", "1"]);
  const { hostname, port } = new URL(server.url);
  address = { host: hostname, port: Number(port) };
  await until("it is ready", async () => (await fetch(`${server.url}/readyz`)).ok);
});
afterAll(async () => {
  server.process.kill("SIGCONT");
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function standStill(ms: number): Promise<void> {
  server.process.kill("SIGSTOP");
  await pause(ms);
  server.process.kill("SIGCONT");
}

/** Nothing is left of the calls before, and the worker is the one that it was. */
async function expectUnharmed(): Promise<void> {
  await until("nothing is in flight", async () => (await modelOf(server.url, "endless")).in_flight === 0);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toContain('loqui_worker_crashes_total{model="endless"} 0\n');
  using client = grpcJsClient(address);
  const { message } = await client.unary(createChatCompletion, { ...question("endless"), maxTokens: 3 });
  expect(message.choices[0]?.message?.content).toBe("on and off ");
}

const expected = (count: number) => "on and off ".repeat(count / 3);

describe("in mid-stream", () => {
  it("REST: the answer goes on and is whole", async () => {
    const response = await post(server.url, { model: "endless", max_tokens: tokens, stream: true });
    await standStill(3_000);
    const all = await events(response);
    expect(all.pop()).toBe("[DONE]");
    const text = all.map((event) => JSON.parse(event).choices[0]?.delta.content ?? "").join("");
    expect(text).toBe(expected(tokens));
    await expectUnharmed();
  });

  it("gRPC: the same", async () => {
    using client = grpcJsClient(address);
    const call = client.serverStream(streamChatCompletion, { ...question("endless"), maxTokens: tokens });
    let text = "";
    call.on("data", (chunk: ChatCompletionChunk) => {
      text += chunk.choices[0]?.delta?.content ?? "";
    });
    const ended = once(call, "end");
    await once(call, "data");
    await standStill(3_000);
    await ended;
    expect(text).toBe(expected(tokens));
    await expectUnharmed();
  });

  it("gRPC with a deadline meanwhile: DEADLINE_EXCEEDED in time, and the server ends the call too", async () => {
    using client = grpcJsClient(address);
    const call = client.serverStream(streamChatCompletion, question("endless"), { deadline: Date.now() + 2_000 });
    await once(call, "data");
    const error = grpcError(call);
    let over = false;
    const stopped = standStill(5_000).then(() => {
      over = true;
    });
    expect((await error).code).toBe(4);
    expect(over).toBe(false);
    await stopped;
    await expectUnharmed();
  });

  it("gRPC with keep-alive that finds nobody: UNAVAILABLE, and the call after that is answered", async () => {
    using client = grpcJsClient(address, undefined, {
      "grpc.keepalive_time_ms": 1_000,
      "grpc.keepalive_timeout_ms": 500,
      "grpc.enable_retries": 0,
    });
    const call = client.serverStream(streamChatCompletion, question("endless"));
    await once(call, "data");
    const error = grpcError(call);
    const stopped = standStill(4_000);
    expect((await error).code).toBe(14);
    await stopped;
    const deadline = Date.now() + 20_000;
    const answer = client.unary(createChatCompletion, { ...question("endless"), maxTokens: 3 }, { deadline });
    expect((await answer).message.choices[0]?.message?.content).toBe("on and off ");
    await expectUnharmed();
  });
});

it("a call that comes meanwhile is answered, gRPC and REST", async () => {
  using client = grpcJsClient(address);
  const stopped = standStill(2_000);
  const [rest, grpc] = await Promise.all([
    post(server.url, { model: "endless", max_tokens: 3 }),
    client.unary(createChatCompletion, { ...question("endless"), maxTokens: 3 }),
    stopped,
  ]);
  expect(await rest.json()).toMatchObject({ choices: [{ message: { content: "on and off " } }] });
  expect(grpc.message.choices[0]?.message?.content).toBe("on and off ");
  await expectUnharmed();
});
