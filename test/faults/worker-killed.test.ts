/** A worker is killed while it answers: what each protocol says, and that the next request succeeds. */
import { readdirSync, readFileSync } from "node:fs";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts({
    endless: { reply: ["on ", "and ", "off "], loop: true },
    other: { reply: ["still ", "here"] },
  });
});
afterAll(() => running[Symbol.asyncDispose]());

function workerOf(model: string): number {
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      const parent = /PPid:\s+(\d+)/.exec(readFileSync(`/proc/${name}/status`, "utf8"))?.[1];
      if (Number(parent) === process.pid && command.includes("worker") && command.includes(model)) return Number(name);
    } catch {
      // A process that ended meanwhile.
    }
  }
  throw new Error(`no worker of ${model}`);
}

function post(body: object): Promise<Response> {
  return fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages: [{ role: "user", content: "Hi!" }], ...body }),
  });
}

async function nextSucceeds(): Promise<void> {
  const answer = await post({ model: "endless", max_tokens: 3 });
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({ choices: [{ message: { content: "on and off " } }] });
}

describe("kill -9 of a worker in mid-stream", () => {
  it("REST: an error in band, no [DONE], the next request succeeds, the other model never noticed", async () => {
    const response = await post({ model: "endless", stream: true });
    expect(response.status).toBe(200);
    let text = "";
    let killed = false;
    for await (const piece of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (!killed && text.includes('"content":"on "')) {
        process.kill(workerOf("endless"), "SIGKILL");
        killed = true;
        expect((await post({ model: "other" })).status).toBe(200);
      }
    }
    const events = text.split("\n\n").filter((event) => event !== "");
    expect(JSON.parse(events.at(-1)?.replace(/^data: /, "") ?? "")).toEqual({
      error: {
        message: "the worker of the model endless died while it answered",
        type: "server_error",
        param: null,
        code: "worker_crashed",
      },
    });
    expect(text).not.toContain("[DONE]");
    await nextSucceeds();
  });

  it.each([
    ["gRPC", () => createGrpcTransport({ baseUrl: running.url })],
    ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: running.url, httpVersion: "1.1" })],
    ["Connect", () => createConnectTransport({ baseUrl: running.url, httpVersion: "1.1" })],
  ])("%s: UNAVAILABLE, the next request succeeds", async (_, transport) => {
    const client = createClient(ChatService, transport());
    const messages = [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Hi!" } } }];
    let chunks = 0;
    const read = async () => {
      for await (const _ of client.streamChatCompletion({ model: "endless", messages })) {
        if (++chunks === 2) process.kill(workerOf("endless"), "SIGKILL");
      }
    };
    await expect(read()).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: "the worker of the model endless died while it answered",
    });
    await nextSucceeds();
  });
});
