import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, expect, test } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { type ServerLimits, serverLimits } from "../../src/server/limits.ts";
import { listen } from "../../src/server/listen.ts";
import { createLog } from "../../src/telemetry/log.ts";
import type { RejectReason } from "../../src/telemetry/rejections.ts";
import { connectRawHttp2, fieldsOf, flag, frame, frameOf, frameType, type RawHttp2 } from "../support/http2-frames.ts";
import { grpcJsClient } from "./grpc-js-client.ts";
import { chatRequest, startTestServer, type TestServer, until } from "./test-server.ts";

let server: TestServer;
let rejected: RejectReason[];

async function start(limits: Partial<ServerLimits> = {}): Promise<void> {
  const reasons: RejectReason[] = [];
  rejected = reasons;
  server = await startTestServer({ limits, onRejected: (reason) => reasons.push(reason) });
}
afterEach(() => server.close({ force: true }));

/** A client that has opened its connection as it should, and goes on with these bytes. */
function attack(...bytes: readonly Buffer[]): RawHttp2 {
  const client = connectRawHttp2(server);
  client.socket.write(Buffer.concat([frame.opening(), ...bytes]));
  return client;
}

/** Another client is served. */
async function expectUnharmed(): Promise<void> {
  expect((await fetch(`${server.url}/livez`)).status).toBe(200);
}

/** The pseudo-headers of a request for a path of the test server. */
const get = { ":method": "GET", ":scheme": "http", ":authority": "127.0.0.1", ":path": "/livez" };
const chat = {
  ...get,
  ":method": "POST",
  ":path": "/loqui.v1.ChatService/CreateChatCompletion",
  "content-type": "application/json",
};
const whole = flag.endHeaders | flag.endStream;
const times = (count: number, make: (index: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
/** RFC 9113, section 7. */
const code = { protocol: 1, internal: 2, flowControl: 3, frameSize: 6, refused: 7, compression: 9, calm: 11 } as const;

const reset = (header: Record<string, string>, flags: number) =>
  times(5_000, (index) =>
    Buffer.concat([frame.headers(2 * index + 1, header, flags), frame.rstStream(2 * index + 1, 8)]),
  );

const floods: [string, Buffer, number, RejectReason][] = [
  ["SETTINGS", times(5_000, () => frameOf(frameType.settings, 0, 0)), code.calm, "http2_flood"],
  ["PING", times(5_000, () => frameOf(frameType.ping, 0, 0, Buffer.alloc(8))), code.calm, "http2_flood"],
  ["PRIORITY", times(20_000, () => frameOf(frameType.priority, 0, 1, Buffer.alloc(5, 3))), code.calm, "http2_error"],
  // Node and nghttp2 end these, and say INTERNAL_ERROR. The resets come faster than Node clears their streams away.
  ["resets (CVE-2023-44487)", reset(get, whole), code.internal, "http2_error"],
  ["resets of calls", reset(chat, flag.endHeaders), code.internal, "http2_error"],
  [
    "CONTINUATION (CVE-2024-27983)",
    Buffer.concat([
      frame.headers(1, get, flag.endStream),
      times(1_000, (index) => frameOf(frameType.continuation, 0, 1, fieldsOf({ [`x-${index}`]: "y" }))),
    ]),
    code.internal,
    "http2_error",
  ],
  [
    "empty DATA",
    Buffer.concat([frame.headers(1, chat), times(20_000, () => frameOf(frameType.data, 0, 1))]),
    code.internal,
    "http2_error",
  ],
];

test.each(floods)("a flood of %s ends the connection", async (_, bytes, expected, reason) => {
  await start();
  using client = attack(bytes);
  await expectUnharmed();
  await client.closed;
  expect(client.goaway).toBe(expected);
  expect(rejected).toContain(reason);
  // The burst of the limit, no more, came to a handler.
  expect(server.contexts.length).toBeLessThanOrEqual(1_001);
  await expectUnharmed();
});

test("resets at leisure end the connection too, once there are more than the rate allows", async () => {
  await start({ http2ResetsPerSecond: 10 });
  using client = attack();
  for (let stream = 1; stream < 1_000 && client.goaway === undefined; stream += 2) {
    client.socket.write(Buffer.concat([frame.headers(stream, chat), frame.rstStream(stream, 8)]));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await client.closed;
  expect(client.goaway).toBe(code.calm);
  expect(rejected).toContain("http2_flood");
  await expectUnharmed();
});

test.each<[string, Buffer, number]>([
  ["the connection's window overflows", frame.windowUpdate(0, 0x7fffffff), code.flowControl],
  [
    "a stream's window overflows",
    Buffer.concat([frame.headers(1, get, whole), frame.windowUpdate(1, 0x7fffffff)]),
    code.flowControl,
  ],
  ["a window grows by nothing", frame.windowUpdate(0, 0), code.protocol],
  ["HPACK that can't be decoded", frameOf(frameType.headers, whole, 1, Buffer.alloc(6, 0xff)), code.compression],
  ["an index beyond HPACK's table", frameOf(frameType.headers, whole, 1, Buffer.of(0xff, 0x20)), code.compression],
  ["a frame above the size", frameOf(frameType.headers, whole, 1, Buffer.alloc(20_000)), code.frameSize],
  ["DATA on a stream that is not open", frame.data(1, Buffer.from("x")), code.protocol],
  ["a stream of an even number", frame.headers(2, get, whole), code.protocol],
  [
    "another frame within a header",
    Buffer.concat([frame.headers(1, get, 0), frameOf(frameType.ping, 0, 0, Buffer.alloc(8))]),
    code.protocol,
  ],
  [
    "more data than content-length",
    Buffer.concat([frame.headers(1, { ...chat, "content-length": "1" }), frame.data(1, Buffer.from("{}"))]),
    code.internal,
  ],
  ["PUSH_PROMISE of a client", frameOf(5, flag.endHeaders, 1, Buffer.of(0, 0, 0, 2)), code.protocol],
])("%s: GOAWAY", async (_, bytes, expected) => {
  await start();
  using client = attack(bytes);
  await client.closed;
  expect(client.goaway).toBe(expected);
  expect(rejected).toContain("http2_error");
  expect(server.contexts).toEqual([]);
  await expectUnharmed();
});

test.each<[string, Buffer]>([
  ["a name in upper case", frame.headers(1, { ...get, "X-A": "b" }, whole)],
  ["connection", frame.headers(1, { ...get, connection: "close" }, whole)],
  ["transfer-encoding", frame.headers(1, { ...chat, "transfer-encoding": "chunked" })],
  ["te other than trailers", frame.headers(1, { ...get, te: "chunked" }, whole)],
  ["no :method", frame.headers(1, { ":scheme": "http", ":path": "/", ":authority": "a" }, whole)],
  ["no :path", frame.headers(1, { ":scheme": "http", ":method": "GET", ":authority": "a" }, whole)],
  ["two of :path", frame.headers(1, [...Object.entries(get), [":path", "/other"]], whole)],
  ["an unknown pseudo-header", frame.headers(1, { ":else": "x", ...get }, whole)],
  ["a pseudo-header after the others", frame.headers(1, { "x-a": "b", ...get }, whole)],
  ["two lengths", frame.headers(1, [...Object.entries(chat), ["content-length", "1"], ["content-length", "2"]])],
  [
    "less data than content-length",
    Buffer.concat([frame.headers(1, { ...chat, "content-length": "5" }), frame.data(1, Buffer.from("{}"))]),
  ],
])("a request with %s is reset", async (_, bytes) => {
  await start();
  using client = attack(bytes);
  await until(() => client.resets.has(1));
  expect(client.resets.get(1)).toBe(code.protocol);
  expect(server.contexts).toEqual([]);
  // The connection goes on.
  client.socket.write(frame.headers(3, get, whole));
  await until(() => client.statuses.has(3));
  expect(client.statuses.get(3)).toBe(200);
});

const manyFields = (count: number) => Array.from({ length: count }, (_, index) => [`x-${index}`, "y"] as const);
const largeHeader = fieldsOf([
  ...Object.entries(get),
  ...Array.from({ length: 9 }, () => ["x", "y".repeat(2_000)] as const),
]);

test.each<[string, Buffer, number]>([
  ["as many fields as allowed", frame.headers(1, [...Object.entries(get), ...manyFields(100)], whole), 200],
  ["one more", frame.headers(1, [...Object.entries(get), ...manyFields(101)], whole), 431],
  [
    "more bytes than allowed",
    Buffer.concat([
      frameOf(frameType.headers, flag.endStream, 1, largeHeader.subarray(0, 16_000)),
      frameOf(frameType.continuation, flag.endHeaders, 1, largeHeader.subarray(16_000)),
    ]),
    431,
  ],
])("%s, of a client that has not confirmed the settings", async (_, bytes, status) => {
  await start();
  using client = connectRawHttp2(server);
  client.socket.write(Buffer.concat([frame.preface, frameOf(frameType.settings, 0, 0), bytes]));
  await until(() => client.statuses.size === 1);
  expect(client.statuses.get(1)).toBe(status);
  expect(rejected).toEqual(status === 200 ? [] : ["header_too_large"]);
});

test("far more fields than allowed: the stream is reset before they are kept", async () => {
  await start();
  using client = attack(frame.headers(1, [...Object.entries(get), ...manyFields(300)], whole));
  await until(() => client.resets.size === 1);
  expect(client.resets.get(1)).toBe(code.calm);
});

// nghttp2 leaves them out instead of refusing the request, as RFC 9113, section 8.2.1 would have it.
test("fields with characters that none may have reach no handler", async () => {
  const seen: unknown[] = [];
  await start();
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    limits: serverLimits(),
    handler: (request, response) => {
      seen.push(Object.fromEntries(Object.entries(request.headers)));
      response.end();
    },
    onRejected: () => {},
    log: createLog({ level: "silent" }),
  });
  using client = connectRawHttp2(listener);
  const fields = { "x-a": "b\r\nc: d", "x-b": "b\0c", "x c": "d", "x-d\n": "e" };
  client.socket.write(Buffer.concat([frame.opening(), frame.headers(1, { ...get, ...fields }, whole)]));
  await until(() => client.statuses.has(1));
  listener.stopAccepting();
  listener.closeAll();
  expect(seen).toEqual([get]);
});

test("a thousand small references to one large field make no large header", async () => {
  await start();
  // 4,000 bytes in the dynamic table, and then one byte for each repetition (CVE-2016-6581).
  const insert = Buffer.concat([Buffer.of(0x40), fieldsOf({ x: "y".repeat(3_900) }).subarray(1)]);
  const bomb = Buffer.concat([fieldsOf(get), insert, Buffer.alloc(1_000, 0xbe)]);
  using client = attack(frameOf(frameType.headers, whole, 1, bomb));
  await until(() => client.resets.has(1) || client.statuses.has(1));
  expect(client.statuses.get(1) ?? client.resets.get(1)).toBe(code.calm);
  await expectUnharmed();
});

test("__proto__ is a header like others", async () => {
  await start();
  using client = attack(
    frame.headers(1, { ...get, __proto__: "ignored", constructor: "x" }, whole),
    frame.headers(3, [...Object.entries(get), ["__proto__", "x"], ["constructor", "y"]], whole),
  );
  await until(() => client.statuses.size === 2);
  expect([...client.statuses.values()]).toEqual([200, 200]);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

test.each([
  ["before it has confirmed the settings: the streams are refused", [] as Buffer[], undefined],
  ["after it has: GOAWAY", [frameOf(frameType.settings, flag.ack, 0)], code.protocol],
])("a client that opens more streams than it may, %s", async (_, confirmation, goaway) => {
  await start();
  const body = Buffer.from(
    JSON.stringify({ model: "wait", messages: [{ role: "CHAT_ROLE_USER", content: { text: "x" } }] }),
  );
  using client = connectRawHttp2(server);
  const hello = Buffer.concat([frame.preface, frameOf(frameType.settings, 0, 0), ...confirmation]);
  const call = (index: number) => Buffer.concat([frame.headers(2 * index + 1, chat), frame.data(2 * index + 1, body)]);
  client.socket.write(Buffer.concat([hello, times(150, call)]));
  if (goaway !== undefined) {
    await client.closed;
  } else {
    await until(() => client.resets.size === 50 && server.contexts.length === 100);
    expect(new Set(client.resets.values())).toEqual(new Set([code.refused]));
  }
  expect(client.goaway).toBe(goaway);
  await expectUnharmed();
});

test("CONNECT is refused", async () => {
  await start();
  using client = attack(frame.headers(1, { ":method": "CONNECT", ":authority": "example.com:443" }));
  await until(() => client.statuses.has(1));
  expect(client.statuses.get(1)).toBe(405);
});

test.each<[string, Buffer]>([
  ["half a preface", frame.preface.subarray(0, 20)],
  ["a preface without settings", frame.preface],
  ["half of the settings", Buffer.concat([frame.preface, Buffer.of(0, 0, 6, 4)])],
])("%s, and no more: closed in time", async (_, bytes) => {
  await start({ firstByteTimeoutMs: 100 });
  using client = connectRawHttp2(server);
  client.socket.write(bytes);
  await client.closed;
  expect(rejected).toEqual(["first_byte_timeout"]);
  expect((await server.status()).connections).toBe(0);
});

test.each<[string, Buffer]>([
  ["no stream", Buffer.alloc(0)],
  ["half a header", frame.headers(1, get, flag.endStream)],
  ["a stream that has ended", frame.headers(1, get, whole)],
])("a connection with %s is idle: GOAWAY without error, then closed", async (_, bytes) => {
  await start({ http2IdleTimeoutMs: 150 });
  using client = attack(bytes);
  await client.closed;
  expect(client.goaway).toBe(0);
  expect(rejected).toEqual([]);
});

test("an idle connection that its client never closes is closed all the same", async () => {
  await start({ http2IdleTimeoutMs: 50 });
  const socket = connect({ port: server.port, host: server.host, allowHalfOpen: true });
  socket.on("error", () => {}).resume();
  socket.write(frame.opening());
  await once(socket, "end");
  await expect.poll(async () => (await server.status()).connections, { timeout: 20_000 }).toBe(0);
  socket.destroy();
});

test.each([
  [
    "application/json",
    { ":status": 408 },
    '{"code":"deadline_exceeded","message":"the request body did not arrive within 150 ms"}',
  ],
  ["application/connect+json", { ":status": 408 }, /deadline_exceeded/],
  ["application/grpc", { ":status": 200, "grpc-status": "4" }, ""],
  ["application/grpc-web+proto", { ":status": 200, "grpc-status": "4" }, ""],
])("a body that stops arriving ends the call in time: %s", async (type, headers, body) => {
  await start({ bodyTimeoutMs: 150 });
  const session = connectHttp2(server.url);
  const method = type.includes("connect+") ? "StreamChatCompletion" : "CreateChatCompletion";
  const stream = session.request({ ...chat, ":path": `/loqui.v1.ChatService/${method}`, "content-type": type });
  stream.write(Buffer.of(0));
  const [received] = await once(stream, "response");
  expect(received).toMatchObject(headers);
  expect(await text(stream)).toEqual(typeof body === "string" ? body : expect.stringMatching(body));
  await until(() => rejected.length > 0);
  expect(rejected).toEqual(["timeout"]);
  expect(server.contexts).toEqual([]);
  session.destroy();
  await expectUnharmed();
});

test("a stream in progress keeps its connection, however long it is quiet", async () => {
  await start({ http2IdleTimeoutMs: 50, http2PingIntervalMs: 50 });
  using client = grpcJsClient(server);
  const call = client.unary(ChatService.method.createChatCompletion, chatRequest("wait"), {
    deadline: Date.now() + 500,
  });
  await expect(call).rejects.toMatchObject({ code: 4 });
  expect(rejected).toEqual([]);
});

test("a client that answers no PING is gone", async () => {
  await start({ http2PingIntervalMs: 50, http2PingTimeoutMs: 100 });
  const body = Buffer.from(
    JSON.stringify({ model: "wait", messages: [{ role: "CHAT_ROLE_USER", content: { text: "x" } }] }),
  );
  using client = attack(frame.headers(1, chat), frame.data(1, body));
  await until(() => server.contexts.length === 1);
  await client.closed;
  expect(client.pings).toBe(1);
  expect(rejected).toEqual(["dead_peer"]);
  await until(() => server.contexts[0]?.record.outcome === "cancelled");
});

// It can't answer without breaking its header, RFC 9113, section 6.10.
test("a header that never ends beside a call in progress: gone with the next PING", async () => {
  await start({ http2PingIntervalMs: 50, http2PingTimeoutMs: 100 });
  const body = Buffer.from(
    JSON.stringify({ model: "wait", messages: [{ role: "CHAT_ROLE_USER", content: { text: "x" } }] }),
  );
  using client = attack(frame.headers(1, chat), frame.data(1, body), frame.headers(3, get, flag.endStream));
  await client.closed;
  expect(rejected).toEqual(["dead_peer"]);
  await until(() => server.contexts[0]?.record.outcome === "cancelled");
});

test("a header that goes on drop by drop ends the connection after a few frames", async () => {
  await start();
  using client = attack(frame.headers(1, get, flag.endStream));
  let drops = 0;
  for (; drops < 100 && client.goaway === undefined; drops++) {
    client.socket.write(frameOf(frameType.continuation, flag.none, 1, fieldsOf({ x: "y" })));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await client.closed;
  expect(drops).toBeLessThan(100);
  expect(client.goaway).toBe(code.internal);
  expect(rejected).toEqual(["http2_error"]);
  await expectUnharmed();
});

test("PINGs of a client are answered, many while it is sent data", async () => {
  await start({ http2ControlFramesPerSecond: 1 });
  const session = connectHttp2(server.url);
  const stream = session.request({
    ...chat,
    ":path": "/loqui.v1.ChatService/StreamChatCompletion",
    "content-type": "application/connect+json",
  });
  const body = Buffer.from(
    JSON.stringify({ model: "endless", messages: [{ role: "CHAT_ROLE_USER", content: { text: "x" } }] }),
  );
  stream.on("error", () => {});
  stream.end(Buffer.concat([Buffer.of(0, 0, 0, 0, body.length), body]));
  let answered = 0;
  // gRPC measures the connection by a PING for each window of data.
  stream.on("data", () => session.ping(() => answered++));
  await until(() => answered >= 40);
  expect(rejected).toEqual([]);
  session.destroy();
});

test("memory comes back after floods", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  await start();
  const heap = async () => {
    await until(() => true);
    collect();
    return process.memoryUsage().heapUsed;
  };
  const flood = async () => {
    for (const [, bytes] of floods) {
      using client = attack(bytes);
      await client.closed;
    }
    server.contexts.length = 0;
    server.records.length = 0;
  };
  await flood();
  const before = await heap();
  for (let index = 0; index < 3; index++) await flood();
  expect((await heap()) - before).toBeLessThan(10 << 20);
  expect((await server.status()).connections).toBe(0);
  await expectUnharmed();
});
