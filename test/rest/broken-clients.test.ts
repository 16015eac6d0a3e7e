import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  ChatCompletionChunkSchema,
  ChatService,
  CreateChatCompletionResponseSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { implement } from "../../src/services/handlers.ts";
import { ask, type RestServer, startRestServer } from "./rest-server.ts";

let server: RestServer;
let calls = 0;

beforeAll(async () => {
  server = await startRestServer({
    implementations: [
      implement(ChatService, {
        async createChatCompletion({ model }, { signal }) {
          calls += 1;
          if (model === "wait") await new Promise((_, reject) => signal.addEventListener("abort", reject));
          return create(CreateChatCompletionResponseSchema, { id: "x".repeat(20_000_000), model });
        },
        async *streamChatCompletion(_, { signal }) {
          calls += 1;
          for (let index = 0; ; index += 1) {
            signal.throwIfAborted();
            yield create(ChatCompletionChunkSchema, { id: String(index) });
            if (index % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
          }
        },
      }),
    ],
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const path = "/v1/chat/completions";
const bodyOf = (fields: object) =>
  Buffer.from(JSON.stringify({ messages: [{ role: "user", content: "x".repeat(1000) }], ...fields }));

/** Where a client breaks off: its request, how much of the body it keeps back, whether a response must have come. */
const cases: [what: string, body: Buffer, missing: number, answered: boolean][] = [
  ["in the body", bodyOf({ model: "large" }), 500, false],
  ["before the answer", bodyOf({ model: "wait" }), 0, false],
  ["in a large answer", bodyOf({ model: "large" }), 0, true],
  ["in a stream", bodyOf({ model: "m", stream: true }), 0, true],
];

// What nobody catches fails the run: vitest listens for it.
for (const [what, body, missing, answered] of cases) {
  const sent = body.subarray(0, body.length - missing);

  test.each(["close", "reset"])(`HTTP/1.1, ${what}: %s`, async (how) => {
    const socket = connect(server.ports["HTTP/1.1"], "127.0.0.1");
    socket.on("error", () => {});
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    socket.write(sent);
    if (answered) await once(socket, "data");
    else await new Promise((resolve) => setTimeout(resolve, 30));
    if (how === "reset") socket.resetAndDestroy();
    else socket.destroy();
    await settled();
  });

  test.each(["cancel", "connection"])(`HTTP/2, ${what}: %s`, async (how) => {
    const session = connectHttp2(`http://127.0.0.1:${server.ports["HTTP/2"]}`);
    session.on("error", () => {});
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/json",
      // Node's client ends a body before it cancels: the length tells that there was more to come.
      "content-length": String(body.length),
    });
    stream.on("error", () => {});
    if (missing === 0) stream.end(sent);
    else stream.write(sent);
    if (answered) await once(stream, "data");
    else await new Promise((resolve) => setTimeout(resolve, 30));
    if (how === "cancel") stream.close(8);
    else session.destroy();
    await settled();
    session.destroy();
  });
}

/** Every call has ended and is recorded, and the server answers. */
async function settled(): Promise<void> {
  await expect.poll(() => server.records.length).toBe(calls);
  const outcomes = new Set(server.records.map(({ outcome }) => outcome));
  expect([...outcomes].filter((outcome) => outcome !== "ok" && outcome !== "cancelled")).toEqual([]);
  expect(server.failures).toEqual([]);
  expect((await ask(server, "HTTP/2", { path: "/openapi.json" })).status).toBe(200);
}
