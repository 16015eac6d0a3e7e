import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  ChatCompletionChunkSchema,
  ChatService,
  CreateChatCompletionRequestSchema,
  CreateChatCompletionResponseSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { createRestHandler } from "../../src/rest/handler.ts";
import { implement } from "../../src/services/handlers.ts";
import { frame } from "../support/http2-frames.ts";
import { chatRequest, startTestServer, type TestServer, until } from "./test-server.ts";

const chunkBytes = 16 * 1024;

/** Streams that were asked for, with the chunks that were taken from each. */
let floods: { chunks: number; closed: boolean }[] = [];
const chat = implement(ChatService, {
  async *streamChatCompletion() {
    const flood = { chunks: 0, closed: false };
    floods.push(flood);
    try {
      for (; ; flood.chunks++) {
        yield create(ChatCompletionChunkSchema, { choices: [{ delta: { content: "x".repeat(chunkBytes) } }] });
      }
    } finally {
      flood.closed = true;
    }
  },
  async createChatCompletion(request) {
    const content = "y".repeat(Number(request.model));
    return create(CreateChatCompletionResponseSchema, { choices: [{ message: { content } }] });
  },
});

let server: TestServer;
const sockets = new Set<Socket>();

async function start(stallMs: number): Promise<void> {
  server = await startTestServer({
    services: [chat],
    limits: { stallMs },
    rest: (dispatcher, limits) =>
      createRestHandler({ dispatcher, services: [ChatService], limits: { stallMs: limits.stallMs } }),
  });
}

beforeEach(() => {
  floods = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await server.close({ force: true });
});

const restPath = "/v1/chat/completions";
const streamPath = "/loqui.v1.ChatService/StreamChatCompletion";

const message = toBinary(CreateChatCompletionRequestSchema, chatRequest("flood"));
const prefix = Buffer.alloc(5);
prefix.writeUInt32BE(message.length, 1);
const enveloped = Buffer.concat([prefix, message]);
const json = Buffer.from(JSON.stringify({ model: "flood", stream: true, messages: [{ role: "user", content: "hi" }] }));

const protocols: readonly [name: string, path: string, type: string, body: Buffer][] = [
  ["REST", restPath, "application/json", json],
  ["Connect", streamPath, "application/connect+proto", enveloped],
  ["gRPC-Web", streamPath, "application/grpc-web+proto", enveloped],
  ["gRPC", streamPath, "application/grpc+proto", enveloped],
];

/** What all connections are read into: of what comes only the size counts, and memory is the server's. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

/** A connection of which nothing is read, but one buffer at each `resume`. */
function silent(...pieces: (string | Buffer)[]): Socket & { bytes: number } {
  let bytes = 0;
  const onread = {
    buffer: readBuffer,
    callback(length: number) {
      bytes += length;
      return false;
    },
  };
  const socket = connect({ port: server.port, host: server.host, onread });
  sockets.add(socket);
  socket.on("error", () => {});
  for (const piece of pieces) socket.write(piece);
  return Object.defineProperty(socket, "bytes", { get: () => bytes }) as Socket & { bytes: number };
}

function openHttp1(path: string, type: string, body: Buffer): Socket & { bytes: number } {
  return silent(
    `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n`,
    body,
  );
}

/** All windows are open, but nobody reads the connection. */
function openHttp2(path: string, type: string, body: Buffer): Socket & { bytes: number } {
  const names = { ":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "content-type": type };
  return silent(Buffer.concat([frame.opening(), frame.headers(1, names), frame.data(1, body)]));
}

/** The connection is read, the stream is not: its window stays shut. */
function openHttp2Stream(path: string, type: string, body: Buffer): void {
  const session = connectHttp2(server.url);
  session.on("error", () => {});
  session.on("connect", (_, socket) => sockets.add(socket as Socket));
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": type });
  stream.on("error", () => {});
  stream.end(body);
}

const ways = [
  ["HTTP/1.1", openHttp1],
  ["HTTP/2, the connection", openHttp2],
  ["HTTP/2, the stream", openHttp2Stream],
] as const;

/** Waits until the streams stand still; what was produced until then. */
async function standstill(): Promise<number> {
  const produced = () => floods.reduce((sum, { chunks }) => sum + chunks, 0);
  for (let last = -1; last !== produced(); ) {
    last = produced();
    await new Promise((done) => setTimeout(done, 250));
  }
  return produced();
}

describe.each(ways)("%s", (_, open) => {
  test.each(protocols.filter(([name]) => name !== "gRPC" || open !== openHttp1))(
    "%s: is paused, then ended as stalled; others are answered",
    async (name, path, type, body) => {
      await start(1_000);
      open(path, type, body);
      await until(() => floods.length === 1);
      const produced = await standstill();
      expect(floods).toEqual([{ chunks: produced, closed: false }]);
      const response = await fetch(`${server.url}${restPath}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "5", messages: [{ role: "user", content: "hi" }] }),
      });
      expect(await response.json()).toMatchObject({ choices: [{ message: { content: "yyyyy" } }] });
      await until(() => floods[0]?.closed === true);
      expect(floods[0]?.chunks).toBe(produced);
      await until(() => server.records.length === 2);
      const { record, error } = server.records[1] ?? {};
      expect(record).toMatchObject({ protocol: name === "REST" ? "rest" : name.toLowerCase(), outcome: "cancelled" });
      expect(error).toMatchObject({ code: "stalled", message: "the client read nothing for 1000 ms" });
    },
  );
});

describe.each([
  ["HTTP/1.1", openHttp1],
  ["HTTP/2", openHttp2],
])("%s, an answer in one piece", (_, open) => {
  const size = 50_000_000;
  const asked = chatRequest(String(size));
  const unaryPath = "/loqui.v1.ChatService/CreateChatCompletion";
  const answers: [string, string, string, Buffer][] = [
    [
      "REST",
      restPath,
      "application/json",
      Buffer.from(json.toString().replace("flood", String(size)).replace("true", "false")),
    ],
    ["Connect", unaryPath, "application/proto", Buffer.from(toBinary(CreateChatCompletionRequestSchema, asked))],
  ];

  test.each(answers)("%s: is given up where nobody takes it", async (_, path, type, body) => {
    await start(300);
    const socket = open(path, type, body);
    await until(() => server.records.length === 1);
    await new Promise((done) => setTimeout(done, 1_800));
    await read(socket, size, 0);
    expect(socket.bytes).toBeLessThan(size / 2);
  });

  test.each(answers)("%s: comes whole to one who is slow to read, but reads", async (_, path, type, body) => {
    await start(500);
    const socket = open(path, type, body);
    const started = performance.now();
    await read(socket, size, 4);
    expect(socket.bytes).toBeGreaterThanOrEqual(size);
    // Longer than anybody may take nothing.
    expect(performance.now() - started).toBeGreaterThan(500);
  });
});

/** Takes a buffer from a connection every few milliseconds until it is closed, or so many bytes are read. */
async function read(socket: Socket & { bytes: number }, bytes: number, everyMs: number): Promise<void> {
  while (!socket.destroyed && socket.bytes < bytes) {
    socket.resume();
    await new Promise((done) => setTimeout(done, everyMs));
  }
}

test("a response behind another one on its connection is not stalled", async () => {
  await start(400);
  const request = (model: string, stream: boolean) => {
    const body = JSON.stringify({ model, stream, messages: [{ role: "user", content: "hi" }] });
    return `POST ${restPath} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  };
  const socket = silent(request("flood", true), request("7", false));
  await until(() => floods.length === 1 && server.records.length === 1);
  for (let turn = 0; turn < 150; turn++) {
    socket.resume();
    await new Promise((done) => setTimeout(done, 10));
  }
  expect(socket.destroyed).toBe(false);
  expect(floods).toMatchObject([{ closed: false }]);
});

test("a hundred streams that are never read cost less than 256 KiB each", async () => {
  await start(60_000);
  openHttp1(...streamOf("REST"));
  await standstill();
  const before = await used();
  for (let index = 0; index < 25; index++) {
    openHttp1(...streamOf("REST"));
    openHttp2(...streamOf("REST"));
    openHttp2(...streamOf("gRPC"));
    openHttp1(...streamOf("Connect"));
  }
  await until(() => floods.length === 101);
  await standstill();
  expect(((await used()) - before) / 100).toBeLessThan(256 * 1024);
});

/**
 * Bytes of the heap and of buffers that are in use. Buffers are freed beside the
 * program when a collection has ended, for certain before the next begins, and
 * objects that own native memory by a task of their own.
 */
async function used(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round += 1) {
    collect();
    await new Promise((done) => setImmediate(done));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function streamOf(protocol: string): [path: string, type: string, body: Buffer] {
  const found = protocols.find(([name]) => name === protocol);
  if (found === undefined) throw new Error(`there is no ${protocol}`);
  const [, path, type, body] = found;
  return [path, type, body];
}
