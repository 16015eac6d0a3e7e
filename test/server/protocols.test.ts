import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { type ChatCompletionChunk, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { EmbeddingService, StreamEmbeddingsRequestSchema } from "../../gen/loqui/v1/embedding_pb.ts";
import { ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { detailOf, type GrpcJsClient, grpcError, grpcJsClient } from "./grpc-js-client.ts";
import { chatRequest, startTestServer, type TestServer, until } from "./test-server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close({ force: true }));

const tooLong = {
  kind: "context_too_long",
  type: "invalid_request_error",
  code: "context_length_exceeded",
  param: "messages",
  promptTokens: 9,
  contextLength: 4,
};

describe("grpc-js", () => {
  let client: GrpcJsClient;
  const { createChatCompletion, streamChatCompletion } = ChatService.method;

  beforeAll(() => {
    client = grpcJsClient(server);
  });
  afterAll(() => client[Symbol.dispose]());

  test("unary: message, and the request id echoed", async () => {
    const { message, headers } = await client.unary(createChatCompletion, chatRequest("echo", "héllo"), {
      metadata: { "x-request-id": "mine-1" },
    });
    expect(message.choices[0]?.message?.content).toBe("héllo");
    expect(headers.get("x-request-id")).toEqual(["mine-1"]);
    const { record } = server.records.at(-1) ?? {};
    expect(record).toMatchObject({
      requestId: "mine-1",
      protocol: "grpc",
      method: "loqui.v1.ChatService/CreateChatCompletion",
      outcome: "ok",
    });
  });

  test("a request id is made where the client sends none, or none that is sane", async () => {
    for (const metadata of [{}, { "x-request-id": "with space" }]) {
      const { headers, message } = await client.unary(createChatCompletion, chatRequest("echo"), { metadata });
      expect(headers.get("x-request-id")).toEqual([message.id]);
      expect(message.id).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  test("server stream", async () => {
    const chunks: ChatCompletionChunk[] = [];
    for await (const chunk of client.serverStream(streamChatCompletion, chatRequest("count", "500")))
      chunks.push(chunk);
    expect(chunks).toHaveLength(500);
    expect(chunks.at(-1)?.choices[0]?.delta?.content).toBe("499 ");
  });

  test("bidirectional stream, message by message", async () => {
    const call = client.bidi(EmbeddingService.method.streamEmbeddings);
    const ids: string[] = [];
    call.on("data", ({ id }) => ids.push(id));
    call.write({ message: { case: "options", value: { model: "m" } } });
    for (const id of ["a", "b"]) {
      call.write({ message: { case: "item", value: { id, input: { case: "text", value: "t" } } } });
      await until(() => ids.includes(id));
    }
    call.end();
    await new Promise((resolve) => call.on("end", resolve));
    expect(ids).toEqual(["a", "b"]);
  });

  test("large messages both ways", async () => {
    const size = 8 << 20;
    const { message } = await client.unary(createChatCompletion, chatRequest("echo", "x".repeat(size)));
    expect(message.choices[0]?.message?.content).toHaveLength(size);
  });

  test("150 calls at once on one connection of 100 streams", async () => {
    const calls = Array.from({ length: 150 }, (_, index) =>
      client.unary(createChatCompletion, chatRequest("echo", String(index).repeat(10_000))),
    );
    const answers = await Promise.all(calls);
    expect(answers.map(({ message }) => message.choices[0]?.message?.content?.length)).toContain(30_000);
  });

  test.each([
    ["before the first message", "wait"],
    ["in the stream", "endless"],
  ])("cancel %s aborts the context", async (_, model) => {
    const before = server.contexts.length;
    const call = client.serverStream(streamChatCompletion, chatRequest(model));
    const ended = grpcError(call);
    await until(() => server.contexts.length > before);
    if (model === "endless") await new Promise((resolve) => call.once("readable", resolve));
    call.cancel();
    expect(await ended).toMatchObject({ code: 1 });
    const context = server.contexts.at(-1);
    await until(() => context?.signal.aborted === true && context.record.outcome !== undefined);
    expect(context?.signal.reason).toMatchObject({ kind: "cancelled" });
    expect(context?.record.outcome).toBe("cancelled");
  });

  test("a signal is not aborted by completion", async () => {
    await client.unary(createChatCompletion, chatRequest("echo"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(server.contexts.at(-1)?.signal.aborted).toBe(false);
  });

  test.each(["wait", "endless"])("a deadline ends %s with DEADLINE_EXCEEDED", async (model) => {
    const call = client.serverStream(streamChatCompletion, chatRequest(model), { deadline: Date.now() + 100 });
    expect(await grpcError(call)).toMatchObject({ code: 4 });
    await until(() => server.contexts.at(-1)?.record.outcome !== undefined);
    expect(server.contexts.at(-1)?.record.outcome).toMatch(/^(timeout|cancelled)$/);
  });

  test("the server keeps the deadline by itself", async () => {
    // Sent as a plain header, so that grpc-js keeps no clock of its own.
    const response = await fetch(`${server.url}/loqui.v1.ChatService/CreateChatCompletion`, {
      method: "POST",
      headers: { "content-type": "application/json", "connect-timeout-ms": "50" },
      body: JSON.stringify({ model: "wait", messages: [{ role: "CHAT_ROLE_USER", content: { text: "a" } }] }),
    });
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({
      code: "deadline_exceeded",
      message: expect.stringMatching(/^the deadline of \d+(\.\d+)? ms has passed$/),
    });
    expect(server.contexts.at(-1)?.record.outcome).toBe("timeout");
  });

  test.each(["99999999H", "2147484S"])("a deadline of %s does not overflow into none at all", async (timeout) => {
    const { message } = await client.unary(createChatCompletion, chatRequest("echo"), {
      metadata: { "grpc-timeout": timeout },
    });
    expect(message.choices).toHaveLength(1);
  });

  test("an error has code, message, detail and the request id", async () => {
    const error = await grpcError(client.unary(createChatCompletion, chatRequest("too-long")));
    expect(error).toMatchObject({ code: 3 });
    expect(error.details).toBe("the prompt has 9 tokens: 4 fit");
    expect(detailOf(error)).toMatchObject(tooLong);
    expect(detailOf(error)?.retryAfterMs).toBeUndefined();
  });

  test("a message is whatever the error says", async () => {
    const error = await grpcError(
      client.unary(createChatCompletion, chatRequest("say", "100% of ünïcode: a/b, c?\n~")),
    );
    expect(error.details).toBe("100% of ünïcode: a/b, c?\n~");
  });

  test("half a surrogate pair, as a cut text may end with, does not break the status", async () => {
    const error = await grpcError(client.unary(createChatCompletion, chatRequest("cut", "ab😀")));
    expect(error).toMatchObject({ code: 3, details: "ab\ufffd" });
  });

  test("retry-after, in seconds rounded up", async () => {
    const error = await grpcError(client.unary(createChatCompletion, chatRequest("overloaded")));
    expect(error.code).toBe(8);
    expect(error.metadata.get("retry-after")).toEqual(["2"]);
    expect(detailOf(error)).toMatchObject({ kind: "overloaded", retryAfterMs: 1500 });
  });

  test("what a handler did not mean to throw stays inside", async () => {
    const error = await grpcError(client.unary(createChatCompletion, chatRequest("crash")));
    expect(error).toMatchObject({ code: 13, details: "internal error" });
    expect(JSON.stringify(error.metadata.getMap())).not.toContain("secret");
    expect(server.records.at(-1)?.error?.cause).toBeInstanceOf(TypeError);
  });

  test("a stream that breaks ends with the error after its messages", async () => {
    const chunks: unknown[] = [];
    const call = client
      .serverStream(streamChatCompletion, chatRequest("broken"))
      .on("data", (data) => chunks.push(data));
    const error = await new Promise((resolve) => call.on("error", resolve));
    expect(error).toMatchObject({ code: 14 });
    expect(chunks).toHaveLength(2);
  });

  test("a violated rule names its field", async () => {
    const error = await grpcError(client.unary(createChatCompletion, { model: "echo" }));
    expect(error.code).toBe(3);
    expect(detailOf(error)).toMatchObject({ kind: "invalid_request", param: "messages", code: "repeated.min_items" });
  });

  test("a violated rule in a stream of requests", async () => {
    const call = client.bidi(EmbeddingService.method.streamEmbeddings);
    call.write({});
    const error = await new Promise((resolve) => call.on("error", resolve).resume());
    expect(error).toMatchObject({ code: 3 });
  });

  test("a method without handler, an unknown method and an unknown service are UNIMPLEMENTED", async () => {
    const known = ChatService.method.tokenize;
    expect(await grpcError(client.unary(known, { model: "m" }))).toMatchObject({ code: 12 });
    const unknown = { ...known, name: "Nothing" } as typeof known;
    expect(await grpcError(client.unary(unknown, {}))).toMatchObject({
      code: 12,
      details: "loqui.v1.ChatService/Nothing is not implemented",
    });
    const elsewhere = { ...known, parent: { ...known.parent, typeName: "a.B" } } as typeof known;
    expect(await grpcError(client.unary(elsewhere, {}))).toMatchObject({ code: 12 });
  });
});

describe("limits of a message", () => {
  let small: TestServer;
  let client: GrpcJsClient;

  beforeAll(async () => {
    small = await startTestServer({ limits: { maxRequestBytes: 1000, maxResponseBytes: 2000 } });
    client = grpcJsClient(small);
  });
  afterAll(async () => {
    client[Symbol.dispose]();
    await small.close({ force: true });
  });

  test("a request over the limit is RESOURCE_EXHAUSTED", async () => {
    const call = client.unary(ChatService.method.createChatCompletion, chatRequest("echo", "x".repeat(1001)));
    expect(await grpcError(call)).toMatchObject({ code: 8 });
  });

  test("so is one that only its decompression makes large", async () => {
    const transport = node.createGrpcTransport({
      baseUrl: small.url,
      sendCompression: node.compressionGzip,
      compressMinBytes: 1,
    });
    const call = createClient(ChatService, transport).createChatCompletion(chatRequest("echo", "x".repeat(100_000)));
    await expect(call).rejects.toMatchObject({ code: Code.ResourceExhausted });
  });

  test("so is one in a stream of requests", async () => {
    const call = client.bidi(EmbeddingService.method.streamEmbeddings);
    call.write({ message: { case: "options", value: { model: "x".repeat(2000) } } });
    const error = await new Promise<Parameters<typeof detailOf>[0]>((resolve) => call.on("error", resolve).resume());
    expect(error.code).toBe(8);
    // As where a single message is refused: the protocol's own errors have no details.
    expect(detailOf(error)).toBeUndefined();
  });

  test("a response over the limit is RESOURCE_EXHAUSTED", async () => {
    const call = client.unary(ChatService.method.createChatCompletion, chatRequest("large", "2001"));
    expect(await grpcError(call)).toMatchObject({ code: 8 });
  });
});

/** connect-web in Node goes through fetch, which speaks HTTP/1.1 here, as browsers do without TLS. */
const transports: [string, () => Transport][] = [
  ["connect-web, Connect with JSON", () => web.createConnectTransport({ baseUrl: server.url })],
  ["connect-web, Connect binary", () => web.createConnectTransport({ baseUrl: server.url, useBinaryFormat: true })],
  ["connect-web, gRPC-Web", () => web.createGrpcWebTransport({ baseUrl: server.url })],
  [
    "connect-node, Connect over HTTP/1.1",
    () => node.createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" }),
  ],
  ["connect-node, Connect over HTTP/2", () => node.createConnectTransport({ baseUrl: server.url, httpVersion: "2" })],
  [
    "connect-node, gRPC-Web over HTTP/1.1",
    () => node.createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1" }),
  ],
  ["connect-node, gRPC-Web over HTTP/2", () => node.createGrpcWebTransport({ baseUrl: server.url, httpVersion: "2" })],
  ["connect-node, gRPC", () => node.createGrpcTransport({ baseUrl: server.url })],
  [
    "connect-node, gRPC with gzip",
    () => node.createGrpcTransport({ baseUrl: server.url, sendCompression: node.compressionGzip, compressMinBytes: 1 }),
  ],
];

describe.each(transports)("%s", (name, transport) => {
  const protocol = /gRPC-Web/.test(name) ? "grpc-web" : /gRPC/.test(name) ? "grpc" : "connect";

  test("unary", async () => {
    let headers = new Headers();
    const client = createClient(ChatService, transport());
    const answer = await client.createChatCompletion(chatRequest("echo", "hello"), {
      headers: { "x-request-id": "mine-2" },
      onHeader: (received) => {
        headers = received;
      },
    });
    expect(answer.choices[0]?.message?.content).toBe("hello");
    expect(headers.get("x-request-id")).toBe("mine-2");
    expect(server.contexts.at(-1)).toMatchObject({ requestId: "mine-2", protocol });
  });

  test("server stream", async () => {
    const contents: (string | undefined)[] = [];
    for await (const chunk of createClient(ChatService, transport()).streamChatCompletion(chatRequest("count", "3"))) {
      contents.push(chunk.choices[0]?.delta?.content);
    }
    expect(contents).toEqual(["0 ", "1 ", "2 "]);
  });

  test("a large answer is not compressed and whole", async () => {
    const client = createClient(ChatService, transport());
    const answer = await client.createChatCompletion(chatRequest("large", "3000000"));
    expect(answer.choices[0]?.message?.content).toHaveLength(3_000_000);
  });

  test("error, detail, request id", async () => {
    const client = createClient(ChatService, transport());
    const error = ConnectError.from(
      await client
        .createChatCompletion(chatRequest("too-long"), { headers: { "x-request-id": "mine-3" } })
        .catch((e) => e),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toBe("the prompt has 9 tokens: 4 fit");
    expect(error.findDetails(ErrorDetailSchema)[0]).toMatchObject(tooLong);
    expect(error.metadata.get("x-request-id")).toBe("mine-3");
  });

  test("a stream that breaks has its messages and then its error", async () => {
    const contents: unknown[] = [];
    const stream = createClient(ChatService, transport()).streamChatCompletion(chatRequest("broken"));
    const error = await (async () => {
      for await (const chunk of stream) contents.push(chunk);
    })().catch((e) => e);
    expect(error).toMatchObject({ code: Code.Unavailable, rawMessage: "the model's process has ended" });
    expect(contents).toHaveLength(2);
  });

  test("leaving the stream aborts the context", async () => {
    const abort = new AbortController();
    const stream = createClient(ChatService, transport()).streamChatCompletion(chatRequest("endless"), {
      signal: abort.signal,
    });
    const error = await (async () => {
      for await (const _ of stream) abort.abort();
    })().catch((e) => e);
    expect(error.code).toBe(Code.Canceled);
    await until(() => server.contexts.at(-1)?.record.outcome !== undefined);
    expect(server.contexts.at(-1)?.signal.aborted).toBe(true);
    expect(server.contexts.at(-1)?.record.outcome).toBe("cancelled");
  });

  test("deadline", async () => {
    const call = createClient(ChatService, transport()).createChatCompletion(chatRequest("wait"), { timeoutMs: 50 });
    await expect(call).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("stream: true belongs to the streaming method", async () => {
    const client = createClient(ChatService, transport());
    const error = ConnectError.from(
      await client.createChatCompletion(chatRequest("echo", "hello", { stream: true })).catch((e) => e),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toBe(
      "stream is true, but CreateChatCompletion answers with one message: call StreamChatCompletion or leave it out",
    );
    expect(error.findDetails(ErrorDetailSchema)[0]).toMatchObject({ kind: "invalid_request", param: "stream" });
    const id = error.metadata.get("x-request-id");
    const { record } = server.records.find((each) => each.record.requestId === id) ?? {};
    expect(record).toMatchObject({ protocol, outcome: "invalid_request" });
    const answer = await client.createChatCompletion(chatRequest("echo", "hello", { stream: false }));
    expect(answer.choices).toHaveLength(1);
  });
});

describe("what is no call", () => {
  test.each([
    ["a malformed JSON body", "application/json", "{", 400, /invalid_argument/],
    ["an unknown media type", "text/plain", "{}", 415, /^$/],
    ["an unknown compression", "application/json", "{}", 501, /unimplemented/],
  ])("%s", async (_, type, body, status, expected) => {
    const response = await fetch(`${server.url}/grpc.health.v1.Health/Check`, {
      method: "POST",
      headers: { "content-type": type, ...(status === 501 && { "content-encoding": "zstd" }) },
      body,
    });
    expect(response.status).toBe(status);
    expect(await response.text()).toMatch(expected);
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("GET of a method is 405", async () => {
    expect((await fetch(`${server.url}/grpc.health.v1.Health/Check`)).status).toBe(405);
  });

  test("a bidirectional stream over HTTP/1.1 is 505", async () => {
    const transport = node.createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" });
    const requests = (async function* () {
      yield create(StreamEmbeddingsRequestSchema);
    })();
    const stream = createClient(EmbeddingService, transport).streamEmbeddings(requests);
    const error = await (async () => {
      for await (const _ of stream);
    })().catch((e) => e);
    expect(error).toMatchObject({ rawMessage: "HTTP 505" });
  });

  test("a path that only begins like a method's goes to REST", async () => {
    const response = await fetch(`${server.url}/${Health.typeName}/Check/more`, { method: "POST", body: "{}" });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { message: "no path /grpc.health.v1.Health/Check/more" } });
  });

  test("a query does not hide a method", async () => {
    const response = await fetch(`${server.url}/grpc.health.v1.Health/Check?a=b`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect(response.status).toBe(200);
  });
});
