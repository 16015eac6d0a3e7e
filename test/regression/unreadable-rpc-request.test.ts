import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { implement } from "../../src/services/handlers.ts";
import { createTestServices, startTestServer, type TestServer } from "../server/test-server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer({ services: [...createTestServices().services, implement(ModelService, {})] });
});
afterAll(() => server.close({ force: true }));

const unary = "/loqui.v1.ChatService/CreateChatCompletion";
const stream = "/loqui.v1.ChatService/StreamChatCompletion";
const withGet = "/loqui.v1.ModelService/GetModel";

function envelope(payload: Uint8Array, flags = 0): Buffer {
  const head = Buffer.of(flags, 0, 0, 0, 0);
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, payload]);
}

const wrongTag = Buffer.of(0x6f);
const noText = Buffer.of(0x0a, 2, 0xff, 0xfe);
const cutGzip = gzipSync(Buffer.of(0x0a, 1, 0x61)).subarray(0, -4);
const noGzip = Buffer.from("not gzip");

/** What can't be read, enveloped; whether it is sent as gzip. */
const unreadable: [string, Buffer, boolean][] = [
  ["a message that doesn't parse", envelope(wrongTag), false],
  ["a string that is no UTF-8", envelope(noText), false],
  ["gzip that is none", envelope(noGzip, 1), true],
  ["gzip that is cut", envelope(cutGzip, 1), true],
  ["an envelope that is cut", envelope(wrongTag).subarray(0, 4), false],
];

interface Answer {
  readonly headers: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
  readonly body: Buffer;
}

async function call(path: string, headers: Record<string, string>, body: Buffer): Promise<Answer> {
  const session = connectHttp2(server.url);
  try {
    const request = session.request({ ":method": "POST", ":path": path, ...headers });
    const chunks: Buffer[] = [];
    let trailers = {};
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("trailers", (fields) => {
      trailers = fields;
    });
    request.end(body);
    const [fields] = (await once(request, "response")) as [Record<string, unknown>];
    await once(request, "close");
    return { headers: fields, trailers, body: Buffer.concat(chunks) };
  } finally {
    session.destroy();
  }
}

describe.each([unary, stream])("%s", (path) => {
  test.each(unreadable)("gRPC: %s is INVALID_ARGUMENT", async (_, body, gzip) => {
    const { trailers } = await call(
      path,
      { "content-type": "application/grpc", te: "trailers", ...(gzip && { "grpc-encoding": "gzip" }) },
      body,
    );
    expect(trailers["grpc-status"]).toBe("3");
    expect(trailers["grpc-message"]).toMatch(/^(parse binary|decompression failed|protocol error)/);
  });

  test.each(unreadable)("gRPC-Web: %s is INVALID_ARGUMENT", async (_, body, gzip) => {
    const { body: answer } = await call(
      path,
      { "content-type": "application/grpc-web", ...(gzip && { "grpc-encoding": "gzip" }) },
      body,
    );
    expect(answer[0]).toBe(0x80);
    expect(answer.toString()).toMatch(/grpc-status: 3\r\n/);
  });

  test("a message that is compressed as nobody says is INTERNAL: so grpc/doc/compression.md has it", async () => {
    const body = envelope(noGzip, 1);
    const { trailers } = await call(path, { "content-type": "application/grpc", te: "trailers" }, body);
    expect(trailers["grpc-status"]).toBe("13");
    const { body: answer } = await call(path, { "content-type": "application/grpc-web" }, body);
    expect(answer.toString()).toMatch(/grpc-status: 13\r\n/);
  });

  test("gRPC: no message, or two, is UNIMPLEMENTED", async () => {
    const headers = { "content-type": "application/grpc", te: "trailers" };
    const two = Buffer.concat([envelope(Buffer.alloc(0)), envelope(Buffer.alloc(0))]);
    expect((await call(path, headers, Buffer.alloc(0))).trailers["grpc-status"]).toBe("12");
    expect((await call(path, headers, two)).trailers["grpc-status"]).toBe("12");
  });

  test("gRPC: an unknown encoding is UNIMPLEMENTED, and the answer says which are known", async () => {
    const { headers, trailers } = await call(
      path,
      { "content-type": "application/grpc", te: "trailers", "grpc-encoding": "zstd" },
      envelope(wrongTag, 1),
    );
    expect(headers["grpc-accept-encoding"]).toBe("gzip");
    expect(trailers["grpc-status"]).toBe("12");
  });
});

test.each(unreadable)("Connect, streaming: %s is invalid_argument", async (_, body, gzip) => {
  const { body: answer } = await call(
    stream,
    { "content-type": "application/connect+proto", ...(gzip && { "connect-content-encoding": "gzip" }) },
    body,
  );
  expect(answer[0]).toBe(2);
  const { error } = JSON.parse(answer.subarray(5).toString());
  expect(error).toEqual({ code: "invalid_argument", message: expect.any(String) });
});

test.each([
  ["a message that doesn't parse", wrongTag, false, /^parse binary: /],
  ["a string that is no UTF-8", noText, false, /^parse binary: /],
  ["gzip that is none", noGzip, true, /^decompression failed$/],
  ["gzip that is cut", cutGzip, true, /^decompression failed$/],
])("Connect, unary: %s is invalid_argument", async (_, body, gzip, message) => {
  const response = await fetch(`${server.url}${unary}`, {
    method: "POST",
    headers: { "content-type": "application/proto", ...(gzip && { "content-encoding": "gzip" }) },
    body,
  });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({
    code: "invalid_argument",
    message: expect.stringMatching(message),
  });
});

test("Connect, GET: a message that is no base64 is invalid_argument", async () => {
  const response = await fetch(`${server.url}${withGet}?connect=v1&encoding=proto&base64=1&message=%C3%BF`);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ code: "invalid_argument", message: "the request can't be read" });
});

test("a failure of ours is still internal", async () => {
  const response = await fetch(`${server.url}${unary}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "crash", messages: [{ role: "CHAT_ROLE_USER", content: { text: "a" } }] }),
  });
  expect(response.status).toBe(500);
  expect(await response.json()).toMatchObject({ code: "internal", message: "internal error" });
});
