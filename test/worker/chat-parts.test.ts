import { createServer } from "node:net";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AudioInputFormat, ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

let running: RunningLoqui;
/** Counts the connections that are made to the addresses in the requests. */
let connections = 0;
const listener = createServer((socket) => {
  connections += 1;
  socket.destroy();
});
let url: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  url = `http://127.0.0.1:${address.port}/a.png`;
  running = await startWithScripts({ hello: { reply: ["Hello"] } });
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  listener.close();
});

const data = "data:image/png;base64,iVBORw0KGgo=";

test.each([
  ["an image", () => ({ type: "image_url", image_url: { url, detail: "high" } }), "image_url", "images"],
  ["an image by its address alone", () => ({ type: "image_url", image_url: url }), "image_url", "images"],
  ["an image as data", () => ({ type: "image_url", image_url: { url: data } }), "image_url", "images"],
  ["a sound", () => ({ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }), "input_audio", "sounds"],
  ["a file", () => ({ type: "file", file: { filename: "a.pdf", file_data: url } }), "file", "files"],
  ["a file by its id", () => ({ type: "file", file: { file_id: "file-1" } }), "file", "files"],
])("%s is refused by the place of its part, and nothing is fetched", async (_, part, member, what) => {
  const messages = [
    { role: "system", content: "Look." },
    { role: "user", content: [{ type: "text", text: "What is it?" }, part()] },
  ];
  const param = `messages[1].content[1].${member}`;
  for (const [path, more] of [
    ["/v1/chat/completions", {}],
    ["/v1/chat/completions", { stream: true }],
    ["/v1/chat/completions/input_tokens", {}],
    ["/apply-template", {}],
    ["/tokenize", {}],
  ] as const) {
    const response = await fetch(`${running.url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "hello", messages, ...more }),
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({
      error: {
        message: `${param}: ${what} are not supported by this model`,
        type: "invalid_request_error",
        param,
        code: "unsupported",
      },
    });
  }
  expect(connections).toBe(0);
});

test.each([
  ["gRPC", () => createGrpcTransport({ baseUrl: running.url })],
  ["Connect", () => createConnectTransport({ baseUrl: running.url, httpVersion: "1.1" })],
])("over %s too", async (_, transport) => {
  const client = createClient(ChatService, transport());
  const image = { case: "imageUrl" as const, value: { image: { case: "url" as const, value: url } } };
  const sound = {
    case: "inputAudio" as const,
    value: { data: Uint8Array.of(0), format: AudioInputFormat.WAV },
  };
  for (const part of [image, sound]) {
    const content = { content: { case: "parts" as const, value: { parts: [{ part }] } } };
    const request = { model: "hello", messages: [{ role: ChatRole.USER, content }] };
    await expect(client.createChatCompletion(request)).rejects.toThrow(
      /^\[failed_precondition\] messages\[0\]\.content\[0\]\./,
    );
  }
  expect(connections).toBe(0);
});

test("the listener would have seen a connection", async () => {
  await fetch(url).catch(() => {});
  expect(connections).toBeGreaterThan(0);
});
