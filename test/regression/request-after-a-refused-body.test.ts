import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { CreateChatCompletionRequestSchema } from "../../gen/loqui/v1/chat_pb.ts";
import { chatRequest, startTestServer } from "../server/test-server.ts";

// A body that is refused before its end was left unread, and the next request of an HTTP/1.1 connection waited behind it.

const unary = "/loqui.v1.ChatService/CreateChatCompletion";
const stream = "/loqui.v1.ChatService/StreamChatCompletion";
const limits = { maxRequestBytes: 1000 };
const large = Buffer.alloc(300_000);
/** A message of a stream: no flags, and its length. */
const largeMessage = Buffer.concat([Buffer.from([0, 0, 4, 0, 0]), large]);
const small = Buffer.from(toBinary(CreateChatCompletionRequestSchema, chatRequest("echo")));

function post(path: string, type: string, body: Buffer): Buffer {
  const head = `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

test.each([
  ["a message", unary, "application/proto", large, "429 Too Many Requests"],
  ["a message of a stream", stream, "application/connect+proto", largeMessage, "200 OK"],
])("HTTP/1.1: %s that is too large leaves the connection usable", async (_, path, type, body, status) => {
  await using server = await startTestServer({ limits });
  const socket = connect(server.port, "127.0.0.1");
  let answers = "";
  socket.on("data", (data: Buffer) => {
    answers += data.toString("latin1");
  });
  socket.write(post(path, type, body));
  await expect.poll(() => answers).toContain("resource_exhausted");
  expect(answers).toMatch(new RegExp(`^HTTP/1.1 ${status}`));
  answers = "";
  socket.write(post(unary, "application/proto", small));
  await expect.poll(() => answers).toMatch(/^[^H]*HTTP\/1.1 200 OK[\s\S]*hello/);
  socket.destroy();
});

test("HTTP/1.1: a client that goes on sending after the refusal loses its connection", async () => {
  await using server = await startTestServer({ limits });
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => {});
  const head = `POST ${unary} HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\ntransfer-encoding: chunked\r\n\r\n`;
  socket.write(head);
  const writing = setInterval(
    () => socket.write(Buffer.concat([Buffer.from("493e0\r\n"), large, Buffer.from("\r\n")])),
    5,
  );
  socket.resume();
  await new Promise((resolve) => socket.once("close", resolve));
  clearInterval(writing);
});

test("HTTP/2: the stream of a client that does not end its body is reset without an error", async () => {
  await using server = await startTestServer({ limits });
  const session = connectHttp2(server.url);
  const request = session.request({ ":method": "POST", ":path": unary, "content-type": "application/proto" });
  request.write(large);
  request.resume();
  const [headers] = await once(request, "response");
  expect(headers[":status"]).toBe(429);
  await once(request, "close");
  expect(request.rstCode).toBe(0);
  session.close();
});
