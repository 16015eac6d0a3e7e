import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ChatRole,
  ChatService,
  type CreateChatCompletionRequest,
  CreateChatCompletionResponseSchema,
  FinishReason,
} from "../../gen/loqui/v1/chat_pb.ts";
import {
  DeleteModelResponseSchema,
  ListModelsResponseSchema,
  type LoadModelRequest,
  ModelSchema,
  ModelService,
  type UnloadModelRequest,
} from "../../gen/loqui/v1/model_pb.ts";
import { RerankResponseSchema, RerankService, RerankTextsResponseSchema } from "../../gen/loqui/v1/rerank_pb.ts";
import { SpeechService } from "../../gen/loqui/v1/speech_pb.ts";
import { LoquiError } from "../../src/errors.ts";
import type { RequestContext } from "../../src/request-context.ts";
import { implement } from "../../src/services/handlers.ts";
import { ask, type HttpVersion, open, type RestServer, raw, startRestServer } from "./rest-server.ts";

const bodyBytes = 4096;
let server: RestServer;
let chat: (request: CreateChatCompletionRequest, context: RequestContext) => Promise<string>;
let lastLoad: LoadModelRequest | undefined;
let lastUnload: UnloadModelRequest | undefined;

beforeAll(async () => {
  server = await startRestServer({
    implementations: [
      implement(ChatService, {
        async createChatCompletion(request, context) {
          return create(CreateChatCompletionResponseSchema, {
            id: "chatcmpl-1",
            object: "chat.completion",
            created: 1_767_225_600,
            model: request.model,
            choices: [
              {
                message: { role: ChatRole.ASSISTANT, content: await chat(request, context) },
                finishReason: FinishReason.STOP,
              },
            ],
          });
        },
      }),
      implement(ModelService, {
        listModels: async (request) =>
          create(ListModelsResponseSchema, {
            object: "list",
            data: request.provider.map((id) => ({ id, object: "model" })),
          }),
        getModel: async ({ model }) => {
          if (model === "missing") throw new LoquiError("model_not_found", "the model missing is unknown");
          return create(ModelSchema, { id: model, object: "model" });
        },
        async loadModel(request) {
          lastLoad = request;
          return create(ModelSchema, { id: request.model, object: "model" });
        },
        async unloadModel(request) {
          lastUnload = request;
          return create(ModelSchema, { id: request.model, object: "model" });
        },
        deleteModel: async ({ model }) =>
          create(DeleteModelResponseSchema, { id: model, object: "model", deleted: true }),
      }),
      implement(RerankService, {
        rerank: async ({ model, documents }) =>
          create(RerankResponseSchema, {
            id: "r",
            object: "list",
            model,
            results: documents.map((_, index) => ({ index })),
          }),
        rerankTexts: async ({ texts }) =>
          create(RerankTextsResponseSchema, { ranks: texts.map((text, index) => ({ index, score: 0.5, text })) }),
      }),
      implement(SpeechService, {}),
    ],
    limits: { bodyBytes, bodyTimeoutMs: 300 },
    maxTimeoutMs: 5_000,
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const hello = { model: "m", messages: [{ role: "user", content: "hello" }] };
const chatPath = "/v1/chat/completions";
const json = { "content-type": "application/json" };

function error(message: string, fields: Record<string, unknown> = {}) {
  return { error: { message, type: "invalid_request_error", param: null, code: null, ...fields } };
}

describe.each<HttpVersion>(["HTTP/1.1", "HTTP/2"])("%s", (version) => {
  describe("answers", () => {
    test("a request as JSON", async () => {
      chat = async ({ messages }) => `${messages.length}`;
      const response = await ask(server, version, { path: chatPath, body: hello, headers: { "x-request-id": "abc" } });
      expect(response.status).toBe(200);
      expect(response.headers).toEqual({
        "content-type": "application/json",
        "content-length": String(response.body().length),
        "x-request-id": "abc",
        ...(version === "HTTP/1.1" && { connection: "close" }),
      });
      expect(response.text()).toBe(
        '{"id":"chatcmpl-1","object":"chat.completion","created":1767225600,"model":"m","choices":[{"index":0,' +
          '"message":{"role":"assistant","content":"1","refusal":null},"finish_reason":"stop","logprobs":null}]}',
      );
    });

    test.each([
      ["/v1/models/Qwen%2FQwen3-4B", "Qwen/Qwen3-4B"],
      ["/v1/models/Qwen/Qwen3-4B", "Qwen/Qwen3-4B"],
      ["/v1/models/llama3.1:latest", "llama3.1:latest"],
      ["/v1/models/%F0%9F%A6%99?x=y", "🦙"],
    ])("GET %s", async (path, id) => {
      const response = await ask(server, version, { path });
      expect(response.json()).toMatchObject({ id, object: "model" });
    });

    test("query parameters", async () => {
      const response = await ask(server, version, {
        path: "/v1/models?provider=a&provider=b%20c&state=all&x=1&y%5B%5D=2",
      });
      expect((response.json() as { data: { id: string }[] }).data.map(({ id }) => id)).toEqual(["a", "b c"]);
      expect(response.headers["x-loqui-ignored"]).toBe("x,%5B%22y%5B%5D%22%5D");
    });

    test("path and query together, without a body", async () => {
      const response = await ask(server, version, { method: "POST", path: "/v1/models/a/b:unload?force=true" });
      expect(response.status).toBe(200);
      expect(lastUnload).toMatchObject({ model: "a/b", force: true });
    });

    test("path and body together", async () => {
      const response = await ask(server, version, { path: "/v1/models/a/b:load", body: { pinned: true } });
      expect(response.status).toBe(200);
      expect(lastLoad).toMatchObject({ model: "a/b", pinned: true });
    });

    test("a body that may be left out", async () => {
      for (const headers of [{}, json]) {
        const response = await ask(server, version, { method: "POST", path: "/v1/models/a:load", headers });
        expect(response.status).toBe(200);
      }
      const response = await ask(server, version, { path: "/v1/models/a:load", body: "", chunked: true });
      expect(response.status).toBe(200);
    });

    test("DELETE", async () => {
      const response = await ask(server, version, { method: "DELETE", path: "/v1/models/a%2Fb" });
      expect(response.text()).toBe('{"id":"a/b","object":"model","deleted":true}');
    });

    test("the variant that the members choose, on every path of the method", async () => {
      for (const path of ["/rerank", "/v1/rerank", "/v2/rerank", "/reranking", "/v1/reranking"]) {
        const texts = await ask(server, version, { path, body: { query: "q", texts: ["a", "b"] } });
        expect(texts.text()).toBe('[{"index":0,"score":0.5,"text":"a"},{"index":1,"score":0.5,"text":"b"}]');
        const documents = await ask(server, version, {
          path,
          body: { model: "m", query: "q", documents: ["a"], texts: null },
        });
        expect(documents.json()).toMatchObject({ object: "list", results: [{ index: 0 }] });
      }
    });

    test.each([
      ["gzip", gzipSync],
      ["deflate", deflateSync],
      ["br", brotliCompressSync],
      ["identity", (text: string) => Buffer.from(text)],
    ])("a body in %s", async (encoding, compress) => {
      chat = async () => "ok";
      const response = await ask(server, version, {
        path: chatPath,
        body: compress(JSON.stringify(hello)),
        headers: { ...json, "content-encoding": encoding },
      });
      expect(response.status).toBe(200);
    });

    test.each(["application/json; charset=utf-8", "application/json;charset=UTF-8", "APPLICATION/JSON"])(
      "content-type %s",
      async (type) => {
        chat = async () => "ok";
        const response = await ask(server, version, { path: chatPath, body: hello, headers: { "content-type": type } });
        expect(response.status).toBe(200);
      },
    );

    test("HEAD with the headers of GET", async () => {
      const get = await ask(server, version, { path: "/v1/models/a" });
      const head = await ask(server, version, { method: "HEAD", path: "/v1/models/a" });
      expect(head.status).toBe(200);
      expect(head.text()).toBe("");
      expect({ ...head.headers, "x-request-id": "" }).toEqual({ ...get.headers, "x-request-id": "" });
    });

    test("OPTIONS with what the path has", async () => {
      const response = await ask(server, version, { method: "OPTIONS", path: "/v1/models/a" });
      expect(response.status).toBe(204);
      expect(response.headers.allow).toBe("DELETE, GET, HEAD, OPTIONS, PATCH");
    });

    test("a request id of its own where the client's is none", async () => {
      const response = await ask(server, version, { path: "/v1/models/a", headers: { "x-request-id": "a b" } });
      expect(response.headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
    });
  });

  describe("refuses", () => {
    test("JSON that is none, naming the position", async () => {
      const response = await ask(server, version, { path: chatPath, body: '{"model": "m",', headers: json });
      expect(response.status).toBe(400);
      expect(response.headers["content-type"]).toBe("application/json");
      expect(response.json()).toMatchObject({ error: { type: "invalid_request_error", param: null } });
      expect((response.json() as { error: { message: string } }).error.message).toMatch(/position 14/);
    });

    test("a member of the wrong kind, naming its path", async () => {
      const response = await ask(server, version, {
        path: chatPath,
        body: { model: "m", messages: [{ role: "robot", content: "" }] },
      });
      expect(response.status).toBe(400);
      expect(response.json()).toMatchObject({ error: { param: "messages[0].role" } });
    });

    test("what breaks a rule, naming rule and path", async () => {
      const response = await ask(server, version, { path: chatPath, body: { ...hello, temperature: 3.5 } });
      expect(response.status).toBe(400);
      expect(response.json()).toMatchObject({ error: { param: "temperature", code: "double.gte_lte" } });
    });

    test.each([
      ["/v1/none", "there is no /v1/none"],
      ["/v1/models/", "there is no /v1/models/"],
      [`/${"x".repeat(300)}`, `there is no /${"x".repeat(199)}…`],
    ])("the unknown path %s", async (path, message) => {
      const response = await ask(server, version, { path });
      expect(response.status).toBe(404);
      expect(response.json()).toEqual(error(message, { code: "not_found" }));
    });

    test("an unknown model, with the detail that other clients read", async () => {
      const response = await ask(server, version, { path: "/v1/models/missing" });
      expect(response.status).toBe(404);
      expect(response.json()).toEqual({
        ...error("the model missing is unknown", { code: "model_not_found" }),
        detail: "the model missing is unknown",
      });
    });

    test("a method that the path doesn't have, and says which it has", async () => {
      const response = await ask(server, version, { path: chatPath });
      expect(response.status).toBe(405);
      expect(response.headers.allow).toBe("OPTIONS, POST");
      expect(response.json()).toEqual(
        error("/v1/chat/completions takes OPTIONS, POST, not GET", { code: "method_not_allowed" }),
      );
    });

    test.each([
      ["text/plain", 'content-type "text/plain" is not supported; application/json is'],
      ["multipart/form-data; boundary=x", 'content-type "multipart/form-data" is not supported; application/json is'],
      [
        "application/x-www-form-urlencoded",
        'content-type "application/x-www-form-urlencoded" is not supported; application/json is',
      ],
      ["application/json; charset=latin1", 'charset "latin1" is not supported; utf-8 is'],
    ])("content-type %s", async (type, message) => {
      const response = await ask(server, version, { path: chatPath, body: hello, headers: { "content-type": type } });
      expect(response.status).toBe(415);
      expect(response.json()).toEqual(error(message, { code: "unsupported_media_type" }));
    });

    test("a body without content-type", async () => {
      const response = await ask(server, version, { path: chatPath, body: JSON.stringify(hello) });
      expect(response.status).toBe(415);
      expect(response.json()).toEqual(
        error("a body without content-type is not supported; application/json is", { code: "unsupported_media_type" }),
      );
    });

    test("an unknown content-encoding", async () => {
      const response = await ask(server, version, {
        path: chatPath,
        body: hello,
        headers: { "content-encoding": "zstd" },
      });
      expect(response.status).toBe(415);
      expect(response.json()).toEqual(
        error('content-encoding "zstd" is not supported; gzip, deflate and br are', { code: "unsupported_media_type" }),
      );
    });

    test("gzip that is none", async () => {
      const response = await ask(server, version, {
        path: chatPath,
        body: hello,
        headers: { "content-encoding": "gzip" },
      });
      expect(response.status).toBe(400);
      expect(response.json()).toEqual(error("the request body can't be decoded: incorrect header check"));
    });

    test("an empty body where one is needed", async () => {
      for (const request of [{ method: "POST" }, { body: "", chunked: true }, { body: "", headers: json }]) {
        const response = await ask(server, version, { path: chatPath, ...request });
        expect(response.status).toBe(400);
        expect(response.json()).toEqual(error("the request body is empty; CreateChatCompletion needs one"));
      }
    });

    test("a body that contradicts the path", async () => {
      const response = await ask(server, version, { path: "/v1/models/a:load", body: { model: "b" } });
      expect(response.status).toBe(400);
      expect(response.json()).toEqual(error('model: the path says "a", the request "b"', { param: "model" }));
    });

    test("percent-encoding that is none", async () => {
      const response = await ask(server, version, { path: "/v1/models/%zz" });
      expect(response.status).toBe(400);
      expect(response.json()).toEqual(error('the path segment "%zz" is not valid percent-encoding'));
    });

    test("what nobody has implemented yet", async () => {
      const response = await ask(server, version, { path: "/v1/audio/speech", body: { model: "m", input: "hi" } });
      expect(response.status).toBe(501);
      expect(response.json()).toEqual({
        error: {
          message: "loqui.v1.SpeechService/CreateSpeech is not implemented",
          type: "server_error",
          param: null,
          code: "unimplemented",
        },
      });
    });

    test("a timeout that is no number", async () => {
      const response = await ask(server, version, { path: "/v1/models/a", headers: { "x-request-timeout": "soon" } });
      expect(response.status).toBe(400);
      expect(response.json()).toEqual(error("x-request-timeout soon is not a number of seconds"));
    });
  });

  describe("bounds the body", () => {
    const large = { ...hello, user: "x".repeat(bodyBytes) };

    test("by Content-Length, without reading", async () => {
      const body = JSON.stringify(large);
      const response = await ask(server, version, { path: chatPath, body, headers: json });
      expect(response.status).toBe(413);
      expect(response.json()).toEqual(
        error(`the request body of ${body.length} bytes is above the limit of 4096 bytes`, {
          code: "request_too_large",
        }),
      );
    });

    test("by what arrives", async () => {
      const response = await ask(server, version, { path: chatPath, body: large, chunked: true });
      expect(response.status).toBe(413);
      expect(response.json()).toEqual(
        error("the request body is above the limit of 4096 bytes", { code: "request_too_large" }),
      );
    });

    test("by what it is decoded", async () => {
      const bomb = gzipSync(JSON.stringify({ ...hello, user: "x".repeat(64 * 1024 * 1024) }), { level: 9 });
      const nested = gzipSync(JSON.stringify(large));
      expect(nested.length).toBeLessThan(bodyBytes);
      for (const body of [nested, bomb.subarray(0, bodyBytes)]) {
        const response = await ask(server, version, {
          path: chatPath,
          body,
          headers: { ...json, "content-encoding": "gzip" },
        });
        expect(response.status).toBe(413);
      }
    });

    test("by what it is encoded: empty members decode to nothing", async () => {
      const member = gzipSync("");
      const body = Buffer.concat(Array.from({ length: bodyBytes / member.length + 1 }, () => member));
      const response = await ask(server, version, {
        path: chatPath,
        body,
        chunked: true,
        headers: { ...json, "content-encoding": "gzip" },
      });
      expect(response.status).toBe(413);
    });

    test("of a size far above it, while it is still being sent", async () => {
      const response = await ask(server, version, {
        path: chatPath,
        body: Buffer.alloc(8 * 1024 * 1024, " "),
        headers: json,
      });
      expect(response.status).toBe(413);
    });

    test("to the limit itself", async () => {
      chat = async () => "ok";
      const text = JSON.stringify(hello);
      const body = text + " ".repeat(bodyBytes - text.length);
      expect((await ask(server, version, { path: chatPath, body, headers: json })).status).toBe(200);
      expect((await ask(server, version, { path: chatPath, body: `${body} `, headers: json })).status).toBe(413);
    });
  });

  describe("unknown members", () => {
    test("are ignored and named", async () => {
      const response = await ask(server, version, {
        path: "/v1/models/a:load?api-version=1",
        body: { foo: 1, "b ä": 2, parameters: { bar: 3 } },
      });
      expect(response.status).toBe(200);
      const ignored = response.headers["x-loqui-ignored"]?.split(",").map(decodeURIComponent);
      expect(ignored?.toSorted()).toEqual(['["b ä"]', "api-version", "foo", "parameters.bar"]);
    });

    test("are named in at most 1 KiB", async () => {
      const body = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`unknown${index}`, 1]));
      const response = await ask(server, version, { path: "/v1/models/a:load", body });
      const header = response.headers["x-loqui-ignored"] ?? "";
      expect(header.length).toBeGreaterThan(1000);
      expect(header.length).toBeLessThanOrEqual(1024);
      expect(header).toMatch(/^unknown0,unknown1,.*,unknown\d+$/);
    });

    test("are refused in strict mode", async () => {
      const strict = { "x-loqui-strict": "1" };
      const member = await ask(server, version, { path: "/v1/models/a:load", body: { foo: 1 }, headers: strict });
      expect(member.status).toBe(400);
      expect(member.json()).toEqual(error("unknown parameter: foo", { param: "foo", code: "unknown_parameter" }));
      const query = await ask(server, version, { path: "/v1/models/a:load?foo=1", body: {}, headers: strict });
      expect(query.json()).toEqual(error("unknown query parameter: foo", { param: "foo", code: "unknown_parameter" }));
      const body = await ask(server, version, { path: "/v1/models/a:unload", body: { force: true }, headers: strict });
      expect(body.json()).toEqual(error("UnloadModel takes no request body"));
    });

    test("a body that no field takes is one of them", async () => {
      const response = await ask(server, version, { path: "/v1/models/a:unload", body: { force: true } });
      expect(response.status).toBe(200);
      expect(response.headers["x-loqui-ignored"]).toBe("body");
      expect(lastUnload?.force).toBeUndefined();
    });
  });

  describe("passes on", () => {
    test.each([
      [new LoquiError("overloaded", "full", { retryAfterMs: 1200 }), 429, { "retry-after": "2" }],
      [new LoquiError("model_unavailable", "loading", { retryAfterMs: 1 }), 503, { "retry-after": "1" }],
      [new LoquiError("worker_crashed", "crashed"), 503, { "x-should-retry": "false" }],
      [new LoquiError("input_quarantined", "poison"), 422, { "x-should-retry": "false" }],
      [new LoquiError("context_too_long", "too long", { promptTokens: 9, contextLength: 8 }), 400, {}],
      [new Error("secret"), 500, { "x-should-retry": "false" }],
    ])("%s", async (failure, status, headers) => {
      chat = async () => {
        throw failure;
      };
      const response = await ask(server, version, { path: chatPath, body: hello });
      expect(response.status).toBe(status);
      expect(response.headers).toMatchObject(headers);
      expect(Object.keys(response.headers).includes("x-should-retry")).toBe("x-should-retry" in headers);
      expect(response.text()).not.toContain("secret");
      if (status === 400) expect(response.json()).toMatchObject({ error: { n_prompt_tokens: 9, n_ctx: 8 } });
    });
  });

  test("the client's deadline reaches the handler, and ends the call", async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<unknown>();
    let timeLeft = 0;
    chat = (_, context) =>
      new Promise((_resolve, reject) => {
        timeLeft = (context.deadline ?? 0) - performance.now();
        context.signal.addEventListener("abort", () => {
          resolve(context.signal.reason);
          reject(context.signal.reason);
        });
      });
    const response = await ask(server, version, {
      path: chatPath,
      body: hello,
      headers: { "x-request-timeout": "0.25" },
    });
    expect(timeLeft).toBeGreaterThan(0);
    expect(timeLeft).toBeLessThanOrEqual(250);
    expect(response.status).toBe(504);
    expect(response.json()).toMatchObject({ error: { type: "server_error", code: "timeout" } });
    expect(await aborted).toMatchObject({ kind: "timeout" });
  });

  test("a client that leaves aborts the handler at once", async () => {
    const { promise: started, resolve: start } = Promise.withResolvers<void>();
    const { promise: aborted, resolve } = Promise.withResolvers<unknown>();
    chat = (_, context) =>
      new Promise((_resolve, reject) => {
        context.signal.addEventListener("abort", () => {
          resolve(context.signal.reason);
          reject(context.signal.reason);
        });
        start();
      });
    const socketless = leaveAfter(version, started);
    await expect(aborted).resolves.toMatchObject({ kind: "cancelled" });
    await socketless;
    await expect.poll(() => server.records.at(-1)?.outcome).toBe("cancelled");
  });
});

/** Sends a chat request and hangs up before its answer. */
async function leaveAfter(version: HttpVersion, started: Promise<void>): Promise<void> {
  const { request: http1 } = await import("node:http");
  const { connect: http2 } = await import("node:http2");
  if (version === "HTTP/1.1") {
    const request = http1({
      port: server.ports[version],
      host: "127.0.0.1",
      method: "POST",
      path: chatPath,
      headers: json,
    });
    request.on("error", () => {});
    request.end(JSON.stringify(hello));
    await started;
    request.destroy();
  } else {
    const session = http2(`http://127.0.0.1:${server.ports[version]}`);
    const stream = session.request({ ":method": "POST", ":path": chatPath, ...json });
    stream.on("error", () => {});
    stream.end(JSON.stringify(hello));
    await started;
    session.destroy();
  }
}

describe("HTTP/1.1 on the wire", () => {
  test("a body that doesn't arrive is answered with 408 and the connection closed", async () => {
    const answer = await raw(
      server,
      "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(answer.toLowerCase()).toContain("\r\nconnection: close\r\n");
    expect(answer).toContain('{"error":{"message":"the request body did not arrive within 300 ms"');
  });

  test("a client that is cut off while it sends reads the refusal", async () => {
    const answer = await raw(
      server,
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${1 << 20}\r\n\r\n`,
      ...Array.from({ length: 16 }, () => Buffer.alloc(1 << 16)),
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 Payload Too Large\r\n/);
    expect(answer).toMatch(/"code":"request_too_large"}}$/);
  });

  test("the connection is kept after a refusal whose body was read", async () => {
    const request =
      "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]";
    const last = request.replace("host: x", "host: x\r\nconnection: close");
    const answers = await raw(server, request, last);
    expect(answers.match(/HTTP\/1\.1 400 Bad Request/g)).toHaveLength(2);
  });

  test("the connection is kept after a refusal whose small body was not read", async () => {
    const head = "HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n";
    const answers = await raw(
      server,
      `POST /v1/none ${head}\r\n`,
      Buffer.alloc(5000, " "),
      `POST ${chatPath} ${head}\r\n`,
      Buffer.alloc(5000, " "),
      `POST ${chatPath} ${head}connection: close\r\n\r\n`,
      Buffer.alloc(5000, " "),
    );
    expect(answers.match(/HTTP\/1\.1 \d+ [^\r]*/g)).toEqual([
      "HTTP/1.1 404 Not Found",
      "HTTP/1.1 413 Payload Too Large",
      "HTTP/1.1 413 Payload Too Large",
    ]);
  });

  test("an absolute request target", async () => {
    const answer = await raw(server, "GET http://x/v1/models/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });
});

test("every error is told, and whether the dispatcher has recorded it", async () => {
  const before = server.failures.length;
  await ask(server, "HTTP/1.1", { path: "/v1/none" });
  await ask(server, "HTTP/1.1", { path: "/v1/models/missing" });
  expect(
    server.failures.slice(before).map(({ error: { kind }, request }) => ({ kind, ...request, requestId: "" })),
  ).toEqual([
    { kind: "not_found", requestId: "", httpMethod: "GET", path: "/v1/none", dispatched: false },
    { kind: "model_not_found", requestId: "", httpMethod: "GET", path: "/v1/models/missing", dispatched: true },
  ]);
});

test("strict for all requests", async () => {
  await using strict = await startRestServer({ implementations: [implement(ModelService, {})], strict: true });
  const response = await ask(strict, "HTTP/1.1", { path: "/v1/models?x=1" });
  expect(response.json()).toEqual(error("unknown parameter: x", { param: "x", code: "unknown_parameter" }));
});

test("a handler that ignores its deadline doesn't keep the client", async () => {
  await using slow = await startRestServer({
    implementations: [implement(ModelService, { getModel: () => new Promise(() => {}) })],
  });
  const response = await open(slow, "HTTP/1.1", { path: "/v1/models/a", headers: { "x-request-timeout": "0.1" } });
  expect(response.status).toBe(504);
  response.leave();
});
