import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startTestServer, type TestServer, until } from "./test-server.ts";

let server: TestServer;
const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);

beforeEach(async () => {
  server = await startTestServer();
  unhandled.length = 0;
  process.on("unhandledRejection", note);
  vi.spyOn(console, "error").mockImplementation(note);
});
afterEach(async () => {
  await server.close({ force: true });
  process.off("unhandledRejection", note);
  vi.restoreAllMocks();
});

const path = "/loqui.v1.ChatService/CreateChatCompletion";
const streamPath = "/loqui.v1.ChatService/StreamChatCompletion";

function bodyOf(model: string, text: string): string {
  return JSON.stringify({ model, messages: [{ role: "CHAT_ROLE_USER", content: { text } }] });
}

function enveloped(body: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, Buffer.from(body)]);
}

/** Where a client breaks off: which request, how much of its body is sent, and whether some response must have come. */
const cases: [string, string, string, Buffer, number, boolean][] = [
  ["in the body", path, "application/json", Buffer.from(bodyOf("echo", "x".repeat(1000))), 500, false],
  ["before the answer", path, "application/json", Buffer.from(bodyOf("wait", "")), 1, false],
  ["in a large answer", path, "application/json", Buffer.from(bodyOf("large", "20000000")), 1, true],
  ["in a stream", streamPath, "application/connect+json", enveloped(bodyOf("endless", "")), 1, true],
  ["in a stream of gRPC", streamPath, "application/grpc+json", enveloped(bodyOf("endless", "")), 1, true],
  ["in a stream of gRPC-Web", streamPath, "application/grpc-web+json", enveloped(bodyOf("endless", "")), 1, true],
  ["in the body of a stream", streamPath, "application/connect+json", enveloped(bodyOf("endless", "")), 20, false],
];

for (const [what, target, type, body, missing, answered] of cases) {
  const sent = missing === 1 ? body : body.subarray(0, -missing);

  test.each(["end", "reset"])(`HTTP/1.1, ${what}: %s`, async (how) => {
    const socket = connect(server.port, server.host);
    socket.on("error", () => {});
    socket.write(
      `POST ${target} HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    socket.write(sent);
    if (answered) await once(socket, "data");
    else await new Promise((resolve) => setTimeout(resolve, 30));
    if (how === "reset") socket.resetAndDestroy();
    else socket.destroy();
    await settled();
  });

  test.each(["cancel", "connection"])(`HTTP/2, ${what}: %s`, async (how) => {
    const session = connectHttp2(server.url);
    session.on("error", () => {});
    const stream = session.request({ ":method": "POST", ":path": target, "content-type": type });
    stream.on("error", () => {});
    if (missing === 1) stream.end(sent);
    else stream.write(sent);
    if (answered) await once(stream, "data");
    else await new Promise((resolve) => setTimeout(resolve, 30));
    if (how === "cancel") stream.close(8);
    else session.destroy();
    await settled();
    session.destroy();
  });
}

/** Every call has ended and been recorded, nothing was printed, and the server answers. */
async function settled(): Promise<void> {
  await until(() => server.contexts.every((context) => context.record.outcome !== undefined));
  expect(server.contexts.every(({ record }) => record.outcome === "ok" || record.outcome === "cancelled")).toBe(true);
  expect((await fetch(`${server.url}/livez`)).status).toBe(200);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(unhandled).toEqual([]);
}
