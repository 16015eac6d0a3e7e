import { request } from "node:http";
import { Code, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { transports } from "../support/transports.ts";
import { grpcError, grpcJsClient } from "./grpc-js-client.ts";
import { chatRequest, startTestServer, type TestServer } from "./test-server.ts";

const app = "https://app.example";
const foreign = "https://evil.example";
const rest = "/v1/models";
const method = "/loqui.v1.ChatService/CreateChatCompletion";

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** fetch does not let a script set Origin. */
function ask(
  server: TestServer,
  path: string,
  verb: string,
  headers: Record<string, string>,
  body = "",
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(server.url + path, { method: verb, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (data) => {
        text += data;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
    });
    sent.on("error", reject).end(body);
  });
}

const refused = {
  error: {
    message: "requests from this origin are not allowed",
    type: "permission_error",
    param: null,
    code: "origin_not_allowed",
  },
};

describe("no origin allowed", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.close({ force: true }));

  test.each([
    ["none", undefined, 404],
    ["the server's own", "own", 404],
    ["the server's own through a proxy with TLS", "own-tls", 404],
    ["another port of the host", "http://127.0.0.1:1", 403],
    ["another name of the host", "localhost", 403],
    ["another site", foreign, 403],
    ["a file's or a sandboxed frame's", "null", 403],
    ["no URL", "garbage", 403],
    ["empty", "", 403],
  ])("Origin: %s", async (_, origin, status) => {
    const own = server.url;
    const sent =
      origin === "own"
        ? own
        : origin === "own-tls"
          ? own.replace("http", "https")
          : origin === "localhost"
            ? own.replace("127.0.0.1", "localhost")
            : origin;
    for (const [path, verb] of [
      [rest, "GET"],
      [rest, "POST"],
      ["/readyz", "GET"],
    ] as const) {
      const answer = await ask(server, path, verb, sent === undefined ? {} : { origin: sent });
      expect(answer.status).toBe(status === 404 && path === "/readyz" ? 200 : status);
      if (status === 403) expect(JSON.parse(answer.body)).toEqual(refused);
      expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
      expect(answer.headers).not.toHaveProperty("vary");
    }
  });

  test("a preflight is refused", async () => {
    const answer = await ask(server, rest, "OPTIONS", { origin: foreign, "access-control-request-method": "POST" });
    expect(answer.status).toBe(403);
    expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  test("a refused preflight is counted, by why", async () => {
    const rejected: unknown[] = [];
    await using counting = await startTestServer({ onRejected: (...rejection) => rejected.push(rejection) });
    const headers = { "access-control-request-method": "POST" };
    await ask(counting, rest, "OPTIONS", { ...headers, origin: foreign });
    await ask(counting, rest, "OPTIONS", { ...headers, origin: foreign, host: "evil.example" });
    expect(rejected).toEqual([
      ["origin_refused", "rest"],
      ["host_refused", "rest"],
    ]);
  });

  test("OPTIONS that is no preflight goes to REST", async () => {
    expect((await ask(server, rest, "OPTIONS", {})).status).toBe(404);
  });

  test.each(transports)("%s is refused in its own shape, before the body is read", async (_, transportTo) => {
    const client = createClient(ChatService, transportTo(server.url));
    const headers = { origin: foreign };
    const unary = await client.createChatCompletion(chatRequest("echo"), { headers }).catch((e) => e);
    const stream = await (async () => {
      for await (const _ of client.streamChatCompletion(chatRequest("count", "1"), { headers }));
    })().catch((e) => e);
    for (const error of [unary, stream]) {
      expect(error.code).toBe(Code.PermissionDenied);
      expect(error.findDetails(ErrorDetailSchema)[0]).toMatchObject({ kind: "origin_refused" });
    }
    expect(server.contexts).toEqual([]);
  });

  test("grpc-js too", async () => {
    using client = grpcJsClient(server);
    const call = client.unary(ChatService.method.createChatCompletion, chatRequest("echo"), {
      metadata: { origin: foreign },
    });
    expect(await grpcError(call)).toMatchObject({ code: 7 });
  });

  test("a Connect unary refusal is HTTP 403", async () => {
    const headers = { origin: foreign, "content-type": "application/json" };
    const answer = await ask(server, method, "POST", headers, "{");
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ code: "permission_denied" });
  });
});

describe("an allowed origin", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ allowedOrigins: [app, "http://localhost:5173"] });
  });
  afterAll(() => server.close({ force: true }));

  test.each([rest, method])("preflight of %s", async (path) => {
    const answer = await ask(server, path, "OPTIONS", {
      origin: app,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,x-stainless-lang,x-stainless-os,x-evil",
    });
    expect(answer.status).toBe(204);
    expect(answer.body).toBe("");
    expect(answer.headers).toMatchObject({
      "access-control-allow-origin": app,
      "access-control-allow-methods": "POST, GET, PATCH, DELETE",
      "access-control-max-age": "7200",
      vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    });
    const allowed = String(answer.headers["access-control-allow-headers"]).toLowerCase().split(", ");
    for (const name of [
      "content-type",
      "connect-protocol-version",
      "connect-timeout-ms",
      "x-grpc-web",
      "x-user-agent",
      "grpc-timeout",
      "authorization",
      "x-api-key",
      "x-request-id",
      "x-stainless-lang",
      "x-stainless-os",
    ]) {
      expect(allowed).toContain(name);
    }
    expect(allowed).not.toContain("x-evil");
    expect(answer.headers).not.toHaveProperty("access-control-allow-credentials");
  });

  test.each([
    ["REST", rest, {}, "", 404],
    ["Connect", method, { "content-type": "application/json" }, "{}", 400],
    ["gRPC-Web", method, { "content-type": "application/grpc-web+proto" }, "\0\0\0\0\0", 200],
    ["a probe", "/livez", {}, "", 405],
  ])("a response of %s may be read", async (_, path, headers, body, status) => {
    const answer = await ask(server, path, "POST", { origin: app, ...headers }, body);
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject({ "access-control-allow-origin": app, vary: "Origin" });
    const exposed = String(answer.headers["access-control-expose-headers"]).toLowerCase().split(", ");
    expect(exposed).toEqual(
      expect.arrayContaining(["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id", "retry-after"]),
    );
  });

  test("another origin is refused, and caches are told why answers differ", async () => {
    const answer = await ask(server, rest, "GET", { origin: foreign });
    expect(answer.status).toBe(403);
    expect(answer.headers.vary).toBe("Origin");
    expect(answer.headers).not.toHaveProperty("access-control-allow-origin");
    expect((await ask(server, rest, "GET", {})).headers.vary).toBe("Origin");
  });
});

test("* allows every origin", async () => {
  await using server = await startTestServer({ allowedOrigins: ["*"] });
  for (const origin of [foreign, "null"]) {
    const answer = await ask(server, rest, "GET", { origin });
    expect(answer.status).toBe(404);
    expect(answer.headers["access-control-allow-origin"]).toBe(origin);
  }
});
