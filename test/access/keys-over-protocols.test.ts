import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { text } from "node:stream/consumers";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { EmbeddingService } from "../../gen/loqui/v1/embedding_pb.ts";
import { ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { RerankService } from "../../gen/loqui/v1/rerank_pb.ts";
import { SpeechService } from "../../gen/loqui/v1/speech_pb.ts";
import { accessOf } from "../../src/server/method-access.ts";
import { detailOf, grpcError, grpcJsClient } from "../server/grpc-js-client.ts";
import type { TestServer } from "../server/test-server.ts";
import { calls, type Headers, pathOf, plainKey, startAccessServer, testKey } from "./access-server.ts";

const bearer = (id: string) => ({ authorization: `Bearer ${plainKey(id)}` });
const unary = pathOf(ChatService.method.createChatCompletion);

let server: TestServer;
const rejected: string[] = [];
beforeAll(async () => {
  server = await startAccessServer([testKey("user"), testKey("reader", ["models:read"]), testKey("root", ["admin"])], {
    onRejected: (reason, protocol) => rejected.push(`${protocol} ${reason}`),
    metricsPage: async () => ({ contentType: "text/plain", body: "metrics" }),
  });
});
// Every fetch in a test asks for this before its own request, once for each server.
beforeAll(() => fetch(`${server.url}/openapi.json`, { headers: bearer("root") }));
afterAll(() => server.close({ force: true }));
beforeEach(() => {
  server.contexts.length = 0;
  server.records.length = 0;
  rejected.length = 0;
});

describe.each(calls)("%s", (_, call) => {
  it.each([
    ["no key", {}, /^an API key is needed/, "Bearer"],
    ["an empty key", { authorization: "Bearer " }, /^an API key is needed/, "Bearer"],
    [
      "a wrong key",
      { authorization: "Bearer loqui_wrong" },
      /^the API key is not valid$/,
      'Bearer error="invalid_token"',
    ],
    ["a wrong x-api-key", { "x-api-key": "loqui_wrong" }, /^the API key is not valid$/, 'Bearer error="invalid_token"'],
    [
      "15 kB",
      { authorization: `Bearer ${"x".repeat(15_000)}` },
      /^the API key is not valid$/,
      'Bearer error="invalid_token"',
    ],
    ["SQL", { "x-api-key": "' OR '1'='1' --" }, /^the API key is not valid$/, 'Bearer error="invalid_token"'],
  ])("%s: unauthenticated", async (_, headers: Headers, message, challenge) => {
    const outcome = await call(server, headers);
    expect(outcome.code).toBe(16);
    expect(outcome.kind).toBe(outcome.http === undefined ? "unauthenticated" : "invalid_api_key");
    expect(outcome.http ?? 401).toBe(401);
    expect(outcome.message).toMatch(message);
    expect(outcome.header("www-authenticate")).toBe(challenge);
    expect(server.contexts).toEqual([]);
  });

  it("a key without the scope: permission denied, naming the scope", async () => {
    const outcome = await call(server, bearer("reader"));
    expect(outcome.code).toBe(7);
    expect(outcome.kind).toBe(outcome.http === undefined ? "permission_denied" : "insufficient_scope");
    expect(outcome.message).toBe("the API key reader has no scope inference");
    expect(outcome.header("www-authenticate")).toBe('Bearer error="insufficient_scope", scope="inference"');
    expect(server.contexts).toEqual([]);
    await expect.poll(() => rejected).toMatchObject([expect.stringMatching(/ permission_denied$/)]);
  });

  it.each([
    ["authorization", bearer("user"), "user"],
    ["x-api-key", { "x-api-key": plainKey("user") }, "user"],
    ["the scope admin", bearer("root"), "root"],
  ])("a key by %s gets in; who calls is in the context and the record", async (_, headers: Headers, id) => {
    expect((await call(server, headers)).code).toBe(0);
    expect(server.contexts).toMatchObject([{ keyId: id, tenant: `tenant-${id}` }]);
    expect([...(server.contexts[0]?.scopes ?? [])]).toEqual(id === "root" ? ["admin"] : ["inference"]);
    await expect.poll(() => server.records).toMatchObject([{ record: { keyId: id, tenant: `tenant-${id}` } }]);
    expect(rejected).toEqual([]);
  });
});

describe("without a key", () => {
  it.each(["/", "/livez", "/readyz", "/health"])("%s answers", async (path) => {
    expect((await fetch(server.url + path)).status).toBe(200);
  });

  it.each(["/v1/models", "/openapi.json", "/metrics", "/nowhere"])("%s asks for one", async (path) => {
    const response = await fetch(server.url + path);
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    expect(await response.json()).toEqual({
      error: {
        message: "an API key is needed: send it as `authorization: Bearer KEY` or as `x-api-key: KEY`",
        type: "authentication_error",
        param: null,
        code: "invalid_api_key",
      },
    });
  });

  it("health answers, reflection asks for one", async () => {
    const transport = createGrpcTransport({ baseUrl: server.url });
    expect(await createClient(Health, transport).check({})).toMatchObject({ status: 1 });
    const ask = async (headers: Headers) => {
      const requests = (async function* () {
        yield { messageRequest: { case: "listServices" as const, value: "" } };
      })();
      for await (const answer of createClient(ServerReflection, transport).serverReflectionInfo(requests, {
        headers,
      })) {
        return answer.messageResponse.case;
      }
    };
    await expect(ask({})).rejects.toMatchObject({ code: 16 });
    expect(await ask(bearer("reader"))).toBe("listServicesResponse");
  });
});

describe("with any key", () => {
  it.each([
    ["/openapi.json", "user", 200],
    ["/nowhere", "user", 404],
    ["/metrics", "user", 403],
    ["/metrics", "root", 200],
  ])("%s answers %s with %i", async (path, id, status) => {
    expect((await fetch(server.url + path, { headers: bearer(id) })).status).toBe(status);
  });
});

describe("the body is not read before the refusal", () => {
  /** Sends a header that announces a body, and none of that; gives back the response's first bytes. */
  function ask(path: string, type: string, more = ""): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connectTcp(server.port, server.host, () =>
        socket.write(
          `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\nContent-Length: 1000\r\n${more}\r\n`,
        ),
      );
      socket.once("data", (data) => {
        socket.destroy();
        resolve(data.toString());
      });
      socket.once("error", reject);
    });
  }

  it.each([
    ["REST", "/v1/chat/completions", "application/json", /^HTTP\/1\.1 401 [\s\S]*"code":"invalid_api_key"/],
    ["Connect", unary, "application/json", /^HTTP\/1\.1 401 [\s\S]*"code":"unauthenticated"/],
    [
      "Connect's streams",
      pathOf(ChatService.method.streamChatCompletion),
      "application/connect+json",
      /^HTTP\/1\.1 200 /,
    ],
    ["gRPC-Web", unary, "application/grpc-web+proto", /^HTTP\/1\.1 200 /],
  ])("%s", async (_, path, type, answer) => {
    expect(await ask(path, type)).toMatch(answer);
  });

  it("gRPC: a status without a message", async () => {
    const session = connectHttp2(server.url);
    const stream = session.request({ ":method": "POST", ":path": unary, "content-type": "application/grpc" });
    stream.resume();
    const trailers = await new Promise<Record<string, unknown>>((resolve, reject) => {
      stream.once("trailers", resolve);
      stream.once("error", reject);
    });
    session.destroy();
    expect(trailers["grpc-status"]).toBe("16");
  });

  it("a wrong key without a body read: REST", async () => {
    const answer = await ask("/v1/chat/completions", "application/json", "Authorization: Bearer wrong\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 401 [\s\S]*the API key is not valid/);
  });
});

describe("an unknown method", () => {
  const nothing = "/loqui.v1.ChatService/Nothing";

  it.each([
    ["application/grpc", 200, { "grpc-status": "16" }, { "grpc-status": "12" }],
    ["application/grpc-web+proto", 200, { "grpc-status": "16" }, { "grpc-status": "12" }],
    ["application/proto", 401, {}, {}],
    ["application/connect+json", 401, {}, {}],
  ])("%s without a key is unauthenticated, with one it is unimplemented", async (type, status, without, with_) => {
    const session = connectHttp2(server.url);
    const ask = async (headers: Headers) => {
      const stream = session.request({ ":method": "POST", ":path": nothing, "content-type": type, ...headers });
      const [received] = await once(stream, "response");
      return { received: received as Record<string, unknown>, body: await text(stream) };
    };
    const refused = await ask({});
    expect(refused.received).toMatchObject({ ":status": status, "www-authenticate": "Bearer", ...without });
    const known = await ask(bearer("reader"));
    expect(known.received).toMatchObject({ ":status": status === 200 ? 200 : 404, ...with_ });
    if (type === "application/proto") {
      expect(JSON.parse(refused.body)).toMatchObject({ code: "unauthenticated", details: [{}] });
      expect(JSON.parse(known.body)).toMatchObject({ code: "unimplemented" });
    }
    session.destroy();
    const protocol = /grpc-web|grpc|connect/.exec(type)?.[0] ?? "connect";
    // Connections that the tests before this broke off may be told late.
    const calls = rejected.filter((reason) => !reason.startsWith("undefined "));
    expect(calls).toEqual([`${protocol} unauthenticated`, `${protocol} unimplemented`]);
  });

  it("says why by gRPC as known ones do", async () => {
    using client = grpcJsClient(server);
    const known = ChatService.method.tokenize;
    const unknown = { ...known, name: "Nothing" } as typeof known;
    const error = await grpcError(client.unary(unknown, {}));
    expect(error).toMatchObject({ code: 16, details: expect.stringMatching(/^an API key is needed: send it as `/) });
    expect(detailOf(error)?.kind).toBe("unauthenticated");
  });
});

describe("Expect: 100-continue", () => {
  /** Sends a header that asks whether to send the body; gives back all that comes until the server closes. */
  async function ask(path: string, type: string, more = "", body = ""): Promise<string> {
    const socket = connectTcp(server.port, server.host);
    let received = "";
    socket.on("data", (data) => {
      const asked = received.includes("100 Continue");
      received += data;
      if (!asked && received.includes("100 Continue")) socket.write(body);
    });
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\nContent-Length: ${body.length || 1000}\r\nExpect: 100-continue\r\n${more}\r\n`,
    );
    await once(socket, "close");
    return received;
  }
  const key = `Authorization: Bearer ${plainKey("user")}\r\n`;

  it.each([
    ["REST", "/v1/chat/completions", "application/json", "HTTP/1.1 401 "],
    ["REST, an unknown path", "/nowhere", "application/json", "HTTP/1.1 401 "],
    ["Connect", unary, "application/json", "HTTP/1.1 401 "],
    ["gRPC-Web", unary, "application/grpc-web+proto", "HTTP/1.1 200 "],
    ["Connect, an unknown method", "/a.B/C", "application/proto", "HTTP/1.1 401 "],
    ["a probe", "/livez", "application/json", "HTTP/1.1 405 "],
  ])("%s: without a key the body is not asked for, and the connection ends", async (_, path, type, first) => {
    const received = await ask(path, type);
    expect(received.startsWith(first)).toBe(true);
    expect(received).not.toContain("100 Continue");
    expect(received).toMatch(/\r\nconnection: close\r\n/i);
  });

  it.each([
    ["an unknown path", "/nowhere", "application/json", 404],
    ["another media type", "/v1/chat/completions", "text/plain", 415],
  ])("%s: nor with a key where the header says enough", async (_, path, type, status) => {
    const received = await ask(path, type, key);
    expect(received.startsWith(`HTTP/1.1 ${status} `)).toBe(true);
    expect(received).not.toContain("100 Continue");
  });

  it.each([
    ["REST", "/v1/chat/completions", '{"model":"echo","messages":[{"role":"user","content":"hi"}]}'],
    ["Connect", unary, '{"model":"echo","messages":[{"role":"CHAT_ROLE_USER","content":{"text":"hi"}}]}'],
  ])("%s: with a key it is asked for, and the connection stays", async (_, path, body) => {
    const received = await ask(path, "application/json", `${key}Connection: close\r\n`, body);
    expect(received).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  });

  it("gRPC over HTTP/2: without a key no `100`, with one the body is asked for", async () => {
    const session = connectHttp2(server.url);
    const call = (headers: Headers) => {
      const path = { ":method": "POST", ":path": unary, "content-type": "application/grpc" };
      return session.request({ ...path, expect: "100-continue", ...headers });
    };
    const refused = call({});
    let continued = false;
    refused.on("continue", () => {
      continued = true;
    });
    refused.resume();
    expect((await once(refused, "trailers"))[0]).toMatchObject({ "grpc-status": "16" });
    expect(continued).toBe(false);
    await once(call(bearer("user")), "continue");
    session.destroy();
  });
});

describe("a header that HTTP refuses", () => {
  it.each([
    ["100 kB", "x".repeat(100_000), /^HTTP\/1\.1 431 /],
    ["NUL", "a\0b", /^HTTP\/1\.1 400 /],
  ])("%s as key", async (_, key, status) => {
    const text = await new Promise<string>((resolve) => {
      let received = "";
      const socket = connectTcp(server.port, server.host, () =>
        socket.write(`GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${key}\r\n\r\n`),
      );
      socket.on("data", (data) => {
        received += data;
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve(received));
    });
    expect(text).toMatch(status);
    expect(text).not.toMatch(/Error|at .*\.(ts|js)|parse/i);
  });
});

describe("public methods", () => {
  it("need no key, but a wrong one is still wrong", async () => {
    await using open = await startAccessServer([testKey("user")], {
      publicMethods: [ChatService.method.createChatCompletion],
    });
    const ask = (headers: Headers, model = "echo", stream = false) =>
      fetch(`${open.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model, stream, messages: [{ role: "user", content: "hi" }] }),
      });
    // REST: the path also leads to the streaming method, which is not public.
    expect((await ask({})).status).toBe(401);
    const connect = (headers: Headers) =>
      fetch(open.url + unary, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: "echo", messages: [{ role: "CHAT_ROLE_USER", content: { text: "hi" } }] }),
      });
    expect((await connect({})).status).toBe(200);
    expect(open.contexts[0]).toMatchObject({ tenant: "", scopes: new Set() });
    expect((await connect({ "x-api-key": "wrong" })).status).toBe(401);
  });
});

it("every method of the API has a scope; health needs nothing, reflection any key", () => {
  for (const service of [ChatService, EmbeddingService, ModelService, RerankService, SpeechService]) {
    for (const method of service.methods)
      expect(["inference", "models:read", "models:write"]).toContain(accessOf(method));
  }
  expect(accessOf(Health.method.check)).toBe("none");
  expect(accessOf(ServerReflection.method.serverReflectionInfo)).toBe("key");
});

it("without keys everybody may call, whatever key is sent", async () => {
  await using open = await startAccessServer(undefined);
  for (const [, call] of calls) {
    expect((await call(open, {})).code).toBe(0);
    expect((await call(open, { authorization: "Bearer none" })).code).toBe(0);
  }
  expect(open.contexts.every((context) => context.keyId === undefined && context.tenant === "")).toBe(true);
});
