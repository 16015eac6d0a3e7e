import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { resolve as resolvePath } from "node:path";
import { createInterface } from "node:readline";
import { create, type DescMethod, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ChatCompletionChunk, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { ModelEventSchema, ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { implement } from "../../src/services/handlers.ts";
import { createFrameReader, flag, frame, frameType } from "../support/http2-frames.ts";
import { type GrpcJsClient, grpcError, grpcJsClient } from "./grpc-js-client.ts";
import { chatRequest, createTestServices, startTestServer, type TestServer, until } from "./test-server.ts";

const { createChatCompletion, streamChatCompletion } = ChatService.method;
let server: TestServer;
let client: GrpcJsClient;

beforeEach(async () => {
  server = await startTestServer();
  client = grpcJsClient(server);
});
afterEach(async () => {
  client[Symbol.dispose]();
  await server.close({ force: true });
});

async function restart(drainMs: number): Promise<void> {
  client[Symbol.dispose]();
  await server.close();
  server = await startTestServer({ limits: { drainMs } });
  client = grpcJsClient(server);
}

/** Milliseconds that something takes. */
async function timed(work: Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work;
  return performance.now() - started;
}

function collect(model: string, text: string) {
  const chunks: ChatCompletionChunk[] = [];
  const call = client
    .serverStream(streamChatCompletion, chatRequest(model, text))
    .on("data", (data) => chunks.push(data));
  const end = new Promise<{ code: number; details: string } | undefined>((resolve) => {
    call.on("end", () => resolve(undefined));
    call.on("error", (error) => resolve(error as unknown as { code: number; details: string }));
  });
  return { chunks, end };
}

/** What an HTTP/2 client sends that opens its connection and calls a method on stream 1, with a short message. */
function rawCall(method: DescMethod, type: string, message: Uint8Array): Buffer {
  const headers = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": server.host,
    ":path": `/${method.parent.typeName}/${method.name}`,
    "content-type": type,
    te: "trailers",
  };
  const envelope = Buffer.concat([Buffer.of(0, 0, 0, 0, message.length), message]);
  return Buffer.concat([frame.opening(), frame.headers(1, headers), frame.data(1, envelope)]);
}

test("nothing in flight: at once, and the port is free", async () => {
  await restart(10_000);
  await client.unary(createChatCompletion, chatRequest("echo"));
  await fetch(`${server.url}/livez`); // leaves an idle connection
  expect(await timed(server.close())).toBeLessThan(5_000);
  const again = await startTestServer({ port: server.port });
  await again.close();
});

test("a stream that ends within the time is whole; one that does not ends with UNAVAILABLE", async () => {
  // Eight tokens take 0.1 s, on a busy machine several times as long.
  await restart(1_500);
  const short = collect("slow", "8");
  const long = collect("endless", "");
  await until(() => short.chunks.length > 0 && long.chunks.length > 0);
  const took = await timed(server.close());
  expect(await short.end).toBeUndefined();
  expect(short.chunks).toHaveLength(8);
  expect(await long.end).toMatchObject({ code: 14, details: "the server is shutting down" });
  expect(took).toBeGreaterThan(1_480);
  expect(server.contexts[1]?.record.outcome).toBe("shutting_down");
});

test("a generator that only returns when it is aborted does not look complete", async () => {
  const { chunks, end } = collect("deaf", "");
  await until(() => chunks.length > 0);
  await server.close();
  expect(await end).toMatchObject({ code: 14 });
});

test("no call left: the drain ends before its time", async () => {
  await restart(10_000);
  const { chunks, end } = collect("slow", "5");
  await until(() => chunks.length > 0);
  expect(await timed(server.close())).toBeLessThan(5_000);
  expect(await end).toBeUndefined();
});

test("a unary call in flight gets UNAVAILABLE on gRPC, 503 on Connect", async () => {
  const grpc = grpcError(client.unary(createChatCompletion, chatRequest("wait")));
  const connect = fetch(`${server.url}/loqui.v1.ChatService/CreateChatCompletion`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "wait", messages: [{ role: "CHAT_ROLE_USER", content: { text: "" } }] }),
  });
  await until(() => server.contexts.length === 2);
  await server.close();
  expect(await grpc).toMatchObject({ code: 14 });
  const response = await connect;
  expect(response.status).toBe(503);
  expect(response.headers.get("connection")).toBe("close");
  expect(await response.json()).toMatchObject({ code: "unavailable", message: "the server is shutting down" });
});

test("while it drains: no new connections; what is on its way over an old one is answered, then it closes", async () => {
  const body = JSON.stringify({ model: "slow", messages: [{ role: "CHAT_ROLE_USER", content: { text: "8" } }] });
  const socket = connect(server.port, server.host);
  let text = "";
  socket.on("data", (data) => {
    text += data;
  });
  socket.write(
    `POST /loqui.v1.ChatService/StreamChatCompletion HTTP/1.1\r\nHost: a\r\nContent-Type: application/connect+json\r\nContent-Length: ${body.length + 5}\r\n\r\n\0\0\0\0${String.fromCharCode(body.length)}${body}`,
    "latin1",
  );
  await until(() => text.includes('"content":"0 "'));
  const closing = server.close();
  socket.write("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
  const refused = connect(server.port, server.host);
  expect((await once(refused, "error"))[0]).toMatchObject({ code: "ECONNREFUSED" });
  await once(socket, "close");
  expect(text).toContain('"content":"7 "');
  const second = text.slice(text.lastIndexOf("HTTP/1.1"));
  expect(second).toMatch(/^HTTP\/1\.1 503 .*\r\nconnection: close\r\n.*shutting down/is);
  await closing;
});

test("HTTP/2 clients get GOAWAY without error, and their streams go on", async () => {
  const session = connectHttp2(server.url);
  const goaway = once(session, "goaway");
  const stream = session.request({
    ":method": "POST",
    ":path": "/loqui.v1.ChatService/StreamChatCompletion",
    "content-type": "application/connect+json",
  });
  const body = Buffer.from(
    JSON.stringify({ model: "slow", messages: [{ role: "CHAT_ROLE_USER", content: { text: "5" } }] }),
  );
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]));
  await once(stream, "response");
  const closing = server.close();
  expect((await goaway)[0]).toBe(0);
  let text = "";
  for await (const data of stream.setEncoding("utf8")) text += data;
  expect(text).toContain('"content":"4 "');
  expect(text.endsWith("{}")).toBe(true);
  await closing;
});

// http.Server.close() destroys a connection whose response was ended but not sent yet.
test.each(["HTTP/1.1", "HTTP/2"])("a slow reader over %s gets the whole of a large answer", async (version) => {
  await restart(10_000);
  const size = 30_000_000;
  const body = JSON.stringify({
    model: "large",
    messages: [{ role: "CHAT_ROLE_USER", content: { text: String(size) } }],
  });
  let received = 0;
  let ended: Promise<unknown>;
  let resume: () => void;
  if (version === "HTTP/1.1") {
    const socket = connect(server.port, server.host);
    socket.write(
      `POST /loqui.v1.ChatService/CreateChatCompletion HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    ended = once(socket, "close");
    resume = () =>
      void socket.on("data", (data) => {
        received += data.length;
      });
  } else {
    const session = connectHttp2(server.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/loqui.v1.ChatService/CreateChatCompletion",
      "content-type": "application/json",
    });
    stream.end(body);
    ended = once(session, "close");
    resume = () =>
      void stream.on("data", (data) => {
        received += data.length;
      });
  }
  await until(() => server.records.length === 1);
  const closing = server.close();
  await new Promise((resolve) => setTimeout(resolve, 100));
  resume();
  await closing;
  await ended;
  expect(received).toBeGreaterThan(size);
});

test("watches end when nothing else is in flight", async () => {
  const { services } = createTestServices();
  const watching = implement(ModelService, {
    async *watchModels(_, { signal }) {
      yield create(ModelEventSchema);
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    },
  });
  const watch = ModelService.method.watchModels;
  await using other = await startTestServer({
    services: [...services, watching],
    watches: [watch],
    limits: { drainMs: 10_000 },
  });
  using caller = grpcJsClient(other);
  const call = caller.serverStream(watch, {});
  const error = new Promise((resolve) => call.on("error", resolve));
  await once(call, "data");
  const slow = caller.serverStream(streamChatCompletion, chatRequest("slow", "10")).resume();
  const end = once(slow, "end");
  await once(slow, "metadata");
  const took = await timed(other.close());
  await end;
  expect(await error).toMatchObject({ code: 14 });
  expect(took).toBeLessThan(5_000);
});

// Node loses the trailers of a session that is destroyed while its last stream closes.
test("a client whose GOAWAY comes while the last response ends gets its trailers too", async () => {
  await restart(60_000);
  const socket = connect(server.port, server.host);
  const ends: number[] = [];
  const read = createFrameReader((type, flags, _, stream) => {
    if (stream === 1 && flags & flag.endStream) ends.push(type);
    if (type !== frameType.goaway || ends.length > 0) return;
    socket.write(frame.goaway());
    void server.close({ force: true });
  });
  socket.on("data", read).on("error", () => {});
  const message = toBinary(createChatCompletion.input, create(createChatCompletion.input, chatRequest("wait")));
  socket.write(rawCall(createChatCompletion, "application/grpc", message));
  await until(() => server.contexts.length === 1);
  await Promise.all([server.close(), once(socket, "close")]);
  expect(ends).toEqual([frameType.headers]);
});

test("a client that never closes its side does not hold up the end", async () => {
  const socket = connect({ port: server.port, host: server.host, allowHalfOpen: true });
  const frames: number[] = [];
  socket
    .on(
      "data",
      createFrameReader((type) => frames.push(type)),
    )
    .on("error", () => {});
  socket.write(frame.opening());
  await until(() => frames.includes(frameType.settings));
  const ended = once(socket, "end");
  expect(await timed(server.close())).toBeLessThan(5_000);
  await ended;
  expect(frames).toContain(frameType.goaway);
  socket.destroy();
});

test("a handler that notices nothing does not hold up the end", async () => {
  const error = grpcError(client.unary(createChatCompletion, chatRequest("stuck")));
  await until(() => server.contexts.length === 1);
  await server.close();
  expect(await error).toMatchObject({ code: 14 });
});

describe("a stream that can't be told in time does not look complete", () => {
  beforeEach(async () => {
    client[Symbol.dispose]();
    await server.close();
    server = await startTestServer({ limits: { drainMs: 50, flushMs: 50 } });
    client = grpcJsClient(server);
  });

  test("gRPC: UNAVAILABLE, as of a lost connection", async () => {
    const { chunks, end } = collect("stuck", "");
    await until(() => chunks.length > 0);
    await server.close();
    expect(await end).toMatchObject({ code: 14 });
  });

  test("HTTP/2: the stream is not ended", async () => {
    const socket = connect(server.port, server.host);
    const frames: [type: number, flags: number][] = [];
    const read = createFrameReader((type, flags, _, stream) => {
      if (stream === 1) frames.push([type, flags]);
    });
    socket.on("data", read).on("error", () => {});
    const body = JSON.stringify({ model: "stuck", messages: [{ role: "CHAT_ROLE_USER", content: { text: "x" } }] });
    socket.write(rawCall(streamChatCompletion, "application/connect+json", Buffer.from(body)));
    await until(() => frames.length === 2);
    await Promise.all([server.close(), once(socket, "close")]);
    expect(frames).toEqual([
      [frameType.headers, flag.endHeaders],
      [frameType.data, flag.none],
    ]);
  });
});

test("force cuts the drain short", async () => {
  await restart(60_000);
  const { chunks, end } = collect("endless", "");
  await until(() => chunks.length > 0);
  const first = server.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await timed(server.close({ force: true }))).toBeLessThan(5_000);
  await first;
  expect((await end)?.code).toBe(14);
});

describe("SIGTERM of a process", () => {
  async function start(drainMs: number) {
    const child = spawn(process.execPath, [resolvePath(import.meta.dirname, "signal-server.ts"), String(drainMs)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines: string[] = [];
    const exit = once(child, "exit") as Promise<[code: number | null, signal: string | null]>;
    createInterface(child.stdout).on("line", (line) => lines.push(line));
    await until(() => lines.length === 1);
    const { hostname, port } = new URL(lines[0] ?? "");
    return { child, lines, exit, host: hostname, port: Number(port) };
  }

  test("idle, it exits with 0", async () => {
    const { child, exit, lines } = await start(300);
    await fetch(`${lines[0]}/livez`);
    child.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
    expect(lines[1]).toBe("closed");
  });

  test("with a stream in flight, it ends the stream and exits with 0", async () => {
    const { child, exit, host, port } = await start(200);
    using caller = grpcJsClient({ host, port });
    const call = caller.serverStream(streamChatCompletion, chatRequest("endless"));
    const error = new Promise((resolve) => call.on("error", resolve));
    await once(call, "data");
    child.kill("SIGTERM");
    expect(await error).toMatchObject({ code: 14, details: "the server is shutting down" });
    expect(await exit).toEqual([0, null]);
  });

  test("a second one does not wait", async () => {
    const { child, exit, host, port } = await start(60_000);
    using caller = grpcJsClient({ host, port });
    const call = caller.serverStream(streamChatCompletion, chatRequest("endless"));
    const error = new Promise((resolve) => call.on("error", resolve));
    await once(call, "data");
    child.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 100));
    child.kill("SIGTERM");
    expect(await exit).toEqual([0, null]);
    expect(await error).toMatchObject({ code: 14 });
  });
});
