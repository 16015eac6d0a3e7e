import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { createHostPolicy } from "../../src/server/host-policy.ts";
import type { HttpRequest } from "../../src/server/http.ts";
import type { TestServer } from "../server/test-server.ts";
import { pathOf, startAccessServer } from "./access-server.ts";

const unary = pathOf(ChatService.method.createChatCompletion);
const stream = pathOf(ChatService.method.streamChatCompletion);

/** The request that Node makes of these. */
const requestOf = (headers: readonly string[], url = "/") =>
  ({ url, rawHeaders: headers, headers: { host: headers[1] } }) as unknown as HttpRequest;

describe.each([
  ["127.0.0.1", []],
  ["::1", []],
  ["localhost", []],
  ["192.0.2.1", []],
  ["0.0.0.0", []],
  ["::", []],
  ["127.0.0.1", ["models.example", "OTHER.example"]],
  ["127.0.0.1", ["*"]],
] as const)("a server on %s that allows %j", (bound, allowed) => {
  const policy = createHostPolicy(bound, allowed);
  const passes = (host: string) => policy.refusal(requestOf(["Host", host])) === undefined;
  const names: readonly string[] = allowed;
  const every = names.includes("*");
  const everywhere = bound === "0.0.0.0" || bound === "::";

  it.each([
    ["localhost", true],
    ["LOCALHOST:8000", true],
    ["127.0.0.1:8000", true],
    ["127.9.9.9", true],
    ["[::1]:8000", true],
    ["192.0.2.1", bound === "192.0.2.1" || everywhere],
    ["198.51.100.7:8000", everywhere],
    ["[2001:db8::1]", everywhere],
    ["models.example", names.includes("models.example")],
    ["Other.Example:443", names.length > 1],
    ["evil.example", false],
    ["127.0.0.1.evil.example", false],
    ["localhost.evil.example", false],
    ["127.1", false],
    ["2130706433", false],
    ["0x7f.0.0.1", false],
  ])("Host: %s passes: %s", (host, expected) => {
    expect(passes(host)).toBe(expected || every);
  });

  it.each([
    "",
    " ",
    "localhost:",
    "localhost:x",
    "localhost:999999",
    "localhost, evil.example",
    "a@localhost",
    "localhost/",
    "[::1",
    "::1",
    "localhost\0",
    `${"a".repeat(254)}`,
  ])("the odd host %j never passes", (host) => expect(passes(host)).toBe(false));

  it("no Host, two Hosts and another host in the target don't pass", () => {
    const refused = (headers: string[], url?: string) => policy.refusal(requestOf(headers, url)) !== undefined;
    expect(refused([])).toBe(true);
    expect(refused(["Host", "localhost", "host", "localhost"])).toBe(true);
    expect(refused(["Host", "localhost"], "http://evil.example/")).toBe(!every);
    expect(refused(["Host", "evil.example"], "http://localhost/")).toBe(!every);
    expect(refused(["Host", "localhost"], "http://localhost:8000/livez")).toBe(false);
  });
});

let server: TestServer;
const rejected: string[] = [];
beforeAll(async () => {
  server = await startAccessServer(undefined, {
    allowedOrigins: ["https://app.example"],
    onRejected: (reason) => rejected.push(reason),
  });
});
afterAll(() => server.close({ force: true }));

/** Sends a request as it stands and gives back all that comes. */
function exchange(head: string, body = ""): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connectTcp(server.port, server.host, () =>
      socket.write(`${head}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
    );
    socket.on("data", (data) => {
      text += data;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

const chat = JSON.stringify({ model: "echo", messages: [{ role: "user", content: "hi" }] });
const protocols: [name: string, head: string, body: string, refused: RegExp][] = [
  ["a probe", "GET /livez HTTP/1.1", "", /^HTTP\/1\.1 403 [\s\S]*"code":"host_not_allowed"/],
  [
    "REST",
    "POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json",
    chat,
    /^HTTP\/1\.1 403 [\s\S]*"code":"host_not_allowed"/,
  ],
  ["REST without a body", "POST /v1/models/x:unload HTTP/1.1", "", /^HTTP\/1\.1 403 [\s\S]*"code":"host_not_allowed"/],
  ["an unknown path", "GET /nowhere HTTP/1.1", "", /^HTTP\/1\.1 403 /],
  [
    "Connect",
    `POST ${unary} HTTP/1.1\r\nContent-Type: application/json`,
    "{}",
    /^HTTP\/1\.1 403 [\s\S]*"code":"permission_denied"/,
  ],
  [
    "Connect's streams",
    `POST ${stream} HTTP/1.1\r\nContent-Type: application/connect+json`,
    "",
    /^HTTP\/1\.1 200 [\s\S]*permission_denied/,
  ],
  [
    "gRPC-Web",
    `POST ${unary} HTTP/1.1\r\nContent-Type: application/grpc-web+proto`,
    "",
    /^HTTP\/1\.1 200 [\s\S]*grpc-status: 7/,
  ],
  [
    "a preflight of an allowed page",
    "OPTIONS /v1/models HTTP/1.1\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST",
    "",
    /^HTTP\/1\.1 403 /,
  ],
];

describe.each(protocols)("%s", (_, head, body, refused) => {
  it.each([
    ["a rebound name", "evil.example"],
    ["a rebound name with the server's port", "evil.example:PORT"],
    ["an odd one", "localhost, evil.example"],
  ])("Host: %s is refused", async (_, host) => {
    server.contexts.length = 0;
    const answer = await exchange(`${head}\r\nHost: ${host.replace("PORT", String(server.port))}`, body);
    // What makes no URL Connect can't even begin to answer in a protocol of its own.
    if (!/^HTTP\/1\.1 400 [\s\S]*Content-Length: 0/.test(answer) || !host.includes(","))
      expect(answer).toMatch(refused);
    expect(answer).not.toMatch(/access-control-allow-methods/i);
    expect(server.contexts).toEqual([]);
  });

  it("two Hosts are refused", async () => {
    const answer = await exchange(`${head}\r\nHost: 127.0.0.1\r\nHost: evil.example`, body);
    expect(answer).toMatch(/^HTTP\/1\.1 (400|403) |grpc-status: 7|permission_denied/);
  });

  it("no Host is refused", async () => {
    expect(await exchange(head, body)).toMatch(/^HTTP\/1\.1 400 /);
    expect(await exchange(head.replace("HTTP/1.1", "HTTP/1.0"), body)).toMatch(/^HTTP\/1\.1 (400|403) /);
  });

  it("another host in an absolute target is refused", async () => {
    const answer = await exchange(`${head.replace(" /", " http://evil.example/")}\r\nHost: 127.0.0.1`, body);
    expect(answer).toMatch(refused);
  });

  it("the server's own passes", async () => {
    const answer = await exchange(`${head}\r\nHost: 127.0.0.1:${server.port}`, body);
    expect(answer).toMatch(/^HTTP\/1\.1 /);
    expect(answer).not.toMatch(/host_not_allowed|host_refused|this host name|^HTTP\/1\.1 403/);
  });
});

describe("HTTP/2", () => {
  /** Sends gRPC's frame of an empty message with these headers; resolves with the gRPC status, or what became of the stream. */
  function ask(headers: Record<string, string>): Promise<string> {
    return new Promise((resolve) => {
      const session = connectHttp2(server.url);
      session.on("error", () => resolve("session error"));
      const request = session.request({
        ":method": "POST",
        ":path": unary,
        "content-type": "application/grpc",
        te: "trailers",
        ...headers,
      });
      request.on("trailers", (trailers) => resolve(`grpc-status ${trailers["grpc-status"]}`));
      request.on("response", (response) => {
        if (response["grpc-status"] !== undefined) resolve(`grpc-status ${response["grpc-status"]}`);
      });
      request.on("error", () => resolve("stream error"));
      request.on("close", () => {
        session.destroy();
        resolve("closed");
      });
      request.resume();
      request.end(Buffer.from([0, 0, 0, 0, 0]));
    });
  }

  it.each([
    ["the server's own", {}, "grpc-status 3"],
    ["localhost", { ":authority": "localhost:1" }, "grpc-status 3"],
    ["a rebound name", { ":authority": "evil.example" }, "grpc-status 7"],
    ["a rebound name in host beside a good one", { host: "evil.example", ":authority": "localhost" }, "grpc-status 7"],
    ["user information", { ":authority": "localhost@evil.example" }, "stream error"],
  ])(":authority %s: %s", async (_, headers, status) => {
    expect(await ask(headers as Record<string, string>)).toBe(status);
  });
});

it("refusals are told as such", () => {
  expect(new Set(rejected)).toContain("host_refused");
});
