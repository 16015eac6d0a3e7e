/** A worker stands still with work in flight: the watchdog ends it, and that is a crash like any other. */
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { signalWorker, workerOf } from "../support/processes.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";
import {
  endless,
  endlessParameters,
  events,
  grpcClient,
  pause,
  post,
  question,
  readDisturbed,
  until,
} from "./support.ts";

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts(
    { endless, hello: { reply: ["Hello", "!"] }, large: { ...endless, contextLength: 8_192 } },
    { LOQUI_WATCHDOG_SECONDS: "3" },
    { endless: endlessParameters, large: { n_ctx: 8_192, sequences: 1, batch_size: 8_192, threads: 1 } },
  );
});
afterAll(() => running[Symbol.asyncDispose]());

describe("SIGSTOP of a worker", () => {
  it("in mid-stream, REST: worker_crashed in band, no [DONE], the next request succeeds", async () => {
    const { url } = running;
    const response = await post(url, { model: "endless", stream: true });
    expect(response.status).toBe(200);
    signalWorker("endless", "SIGSTOP");
    const all = await events(response);
    expect(JSON.parse(all.at(-1) ?? "")).toMatchObject({ error: { code: "worker_crashed" } });
    expect(all).not.toContain("[DONE]");
    expect((await post(url, { model: "endless", max_tokens: 2 })).status).toBe(200);
  });

  it("in mid-stream, gRPC: UNAVAILABLE", async () => {
    const client = grpcClient(running.url);
    const request = { ...question("endless"), seed: 5n };
    const read = readDisturbed(client.streamChatCompletion(request), () => signalWorker("endless", "SIGSTOP"));
    await expect(read).rejects.toMatchObject({ code: Code.Unavailable });
  });

  it("before the first byte: the request is sent again, and nobody notices", async () => {
    const { url } = running;
    const pid = workerOf("hello");
    signalWorker("hello", "SIGSTOP");
    const [rest, grpc] = await Promise.all([
      post(url, { model: "hello" }),
      grpcClient(url).createChatCompletion(question("hello")),
    ]);
    expect(await rest.json()).toMatchObject({ choices: [{ message: { content: "Hello!" } }] });
    expect(grpc.choices[0]?.message?.content).toBe("Hello!");
    expect(workerOf("hello")).not.toBe(pid);
  });

  it("with callers that don't wait so long: it is ended all the same", async () => {
    const { url } = running;
    await until("there is a worker", () => workerOf("hello") !== undefined);
    const pid = workerOf("hello");
    signalWorker("hello", "SIGSTOP");
    const late = await post(url, { model: "hello" }, { headers: { "x-request-timeout": "0.3" } });
    expect(late.status).toBe(504);
    await until("it is another", () => workerOf("hello") !== pid && workerOf("hello") !== undefined);
    expect((await post(url, { model: "hello" })).status).toBe(200);
  });

  it("idle: it is noticed with the next request", async () => {
    const { url } = running;
    await until("there is a worker", () => workerOf("hello") !== undefined);
    signalWorker("hello", "SIGSTOP");
    await pause(4_000);
    expect((await post(url, { model: "hello" })).status).toBe(200);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('loqui_worker_hangs_total{model="hello"} 3\n');
  });
});

it("a single decode that computes for longer than the limit is left alone", async () => {
  const { url } = running;
  const pid = workerOf("large");
  const started = performance.now();
  const answer = await post(url, {
    model: "large",
    messages: [{ role: "user", content: "x".repeat(7_000) }],
    max_tokens: 1,
  });
  const took = performance.now() - started;
  expect(answer.status).toBe(200);
  expect(workerOf("large")).toBe(pid);
  console.log(`one decode of 7,000 tokens took ${Math.round(took)} ms with a limit of 3,000 ms`);
}, 120_000);
