import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { ServerLimits } from "../../src/server/limits.ts";
import type { RejectReason } from "../../src/telemetry/rejections.ts";
import { startTestServer, type TestServer, until } from "./test-server.ts";

let server: TestServer;
let rejected: RejectReason[];

async function start(limits: Partial<ServerLimits> = {}): Promise<void> {
  const reasons: RejectReason[] = [];
  rejected = reasons;
  server = await startTestServer({ limits, onRejected: (reason) => reasons.push(reason) });
}
afterEach(() => server.close({ force: true }));

interface Client {
  readonly socket: Socket;
  /** Resolves when the connection has closed, by a reset too. */
  readonly closed: Promise<void>;
  readonly received: () => string;
  /** The statuses of the responses so far, in their order. */
  readonly statuses: () => number[];
}

function open(): Client {
  const socket = connect(server.port, server.host);
  let text = "";
  socket.on("data", (data) => {
    text += data.toString("latin1");
  });
  // A server that closes before it has read all resets the connection.
  socket.on("error", () => {});
  return {
    socket,
    closed: new Promise((resolve) => socket.once("close", () => resolve())),
    received: () => text,
    statuses: () => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status)),
  };
}

/** Sends this and gives back the client once the server has closed its connection. */
async function send(bytes: string | Buffer): Promise<Client> {
  const client = open();
  client.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  await client.closed;
  return client;
}

async function expectUnharmed(): Promise<void> {
  expect((await fetch(`${server.url}/livez`)).status).toBe(200);
}

const host = "Host: 127.0.0.1\r\n";
const chatPath = "/loqui.v1.ChatService/CreateChatCompletion";
const chatBody = (model: string) =>
  JSON.stringify({ model, messages: [{ role: "CHAT_ROLE_USER", content: { text: "hello" } }] });
const post = (more: string, body = "") =>
  `POST ${chatPath} HTTP/1.1\r\n${host}Content-Type: application/json\r\n${more}\r\n${body}`;
const chat = (model: string) => post(`Content-Length: ${chatBody(model).length}\r\n`, chatBody(model));
const get = (more = "", path = "/livez") => `GET ${path} HTTP/1.1\r\n${host}${more}\r\n`;
/** What a front server that reads the message otherwise would take for another request. */
const smuggled = get("", "/smuggled");

describe("shapes of request smuggling: one 400, and what follows is not read", () => {
  test.each<[string, string]>([
    [
      "Content-Length and Transfer-Encoding",
      post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${smuggled}`),
    ],
    [
      "Transfer-Encoding and Content-Length",
      post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", `0\r\n\r\n${smuggled}`),
    ],
    ["two lengths", post("Content-Length: 2\r\nContent-Length: 50\r\n", `{}${smuggled}`)],
    ["the same length twice", post("Content-Length: 2\r\nContent-Length: 2\r\n", `{}${smuggled}`)],
    ["a list of lengths", post("Content-Length: 2, 2\r\n", `{}${smuggled}`)],
    ["a length with a sign", post("Content-Length: +2\r\n", `{}${smuggled}`)],
    ["a negative length", post("Content-Length: -2\r\n", `{}${smuggled}`)],
    ["a hexadecimal length", post("Content-Length: 0x2\r\n", `{}${smuggled}`)],
    ["a length that overflows", post("Content-Length: 18446744073709551618\r\n", `{}${smuggled}`)],
    ["an empty length", post("Content-Length:\r\n", `{}${smuggled}`)],
    ["a space before the colon", post("Transfer-Encoding : chunked\r\n", `0\r\n\r\n${smuggled}`)],
    ["a tab before the colon", post("Transfer-Encoding\t: chunked\r\n", `0\r\n\r\n${smuggled}`)],
    ["an unknown coding last", post("Transfer-Encoding: chunked, x\r\n", `0\r\n\r\n${smuggled}`)],
    ["a coding that only begins like chunked", post("Transfer-Encoding: chunkedx\r\n", `0\r\n\r\n${smuggled}`)],
    ["chunked in quotes", post('Transfer-Encoding: "chunked"\r\n', `0\r\n\r\n${smuggled}`)],
    ["chunked after a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", `0\r\n\r\n${smuggled}`)],
    ["a folded header", post("Transfer-Encoding:\r\n chunked\r\n", `0\r\n\r\n${smuggled}`)],
    ["a folded header as the first", `GET /livez HTTP/1.1\r\n ${host}\r\n${smuggled}`],
    ["a line that ends with LF only", `GET /livez HTTP/1.1\n${host}\r\n${smuggled}`],
    ["a header that ends with LF only", `GET /livez HTTP/1.1\r\nX-A: b\n${host}\r\n${smuggled}`],
    ["a header that ends with CR only", `GET /livez HTTP/1.1\r\nX-A: b\r${host}\r\n${smuggled}`],
    [
      "a chunk size that overflows",
      post("Transfer-Encoding: chunked\r\n", `FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n${smuggled}`),
    ],
    ["a chunk size with a sign", post("Transfer-Encoding: chunked\r\n", `+2\r\n{}\r\n0\r\n\r\n${smuggled}`)],
    ["a chunk size with a prefix", post("Transfer-Encoding: chunked\r\n", `0x2\r\n{}\r\n0\r\n\r\n${smuggled}`)],
    ["a chunk longer than its size", post("Transfer-Encoding: chunked\r\n", `1\r\n{}\r\n0\r\n\r\n${smuggled}`)],
    ["a chunk that ends with LF only", post("Transfer-Encoding: chunked\r\n", `2\n{}\n0\n\n${smuggled}`)],
    ["NUL in a value", get("X-A: b\0c\r\n") + smuggled],
    ["NUL in a name", get("X\0A: b\r\n") + smuggled],
    ["a name in which there is a space", get("X A: b\r\n") + smuggled],
    ["an empty name", get(": b\r\n") + smuggled],
    ["a line without a colon", get("X-A\r\n") + smuggled],
    ["two Hosts", get("Host: other.example\r\n") + smuggled],
    ["a space in the target", `GET /livez HTTP/1.1 HTTP/1.1\r\n${host}\r\n${smuggled}`],
    ["HTTP/3.0", `GET /livez HTTP/3.0\r\n${host}\r\n${smuggled}`],
    ["a method that is none", `G\x01T /livez HTTP/1.1\r\n${host}\r\n${smuggled}`],
    ["a method in lower case", `get /livez HTTP/1.1\r\n${host}\r\n${smuggled}`],
  ])("%s", async (_, bytes) => {
    await start();
    const client = await send(bytes);
    expect(client.statuses()).toEqual([400]);
    expect(client.received()).toMatch(/\r\nconnection: close\r\n/i);
    expect(rejected).toContain("bad_http");
    expect(server.contexts).toEqual([]);
    await expectUnharmed();
  });
});

describe("headers", () => {
  test.each<[string, string, number, RejectReason | undefined]>([
    ["a field above the size", get(`X: ${"x".repeat(20_000)}\r\n`), 431, "header_too_large"],
    ["a name above the size", get(`${"x".repeat(20_000)}: x\r\n`), 431, "header_too_large"],
    ["a target above the size", get("", `/${"x".repeat(20_000)}`), 431, "header_too_large"],
    ["small fields above the size", get("a: b\r\n".repeat(5_000)), 431, "header_too_large"],
    ["as many fields as allowed", get(`${"a: b\r\n".repeat(98)}Connection: close\r\n`), 200, undefined],
    ["one field more", get("a: b\r\n".repeat(100)), 431, "header_too_large"],
    ["__proto__", get("__proto__: x\r\nconstructor: y\r\nConnection: close\r\n"), 200, undefined],
    ["the absolute form", `GET http://127.0.0.1/livez HTTP/1.1\r\n${host}Connection: close\r\n\r\n`, 200, undefined],
    ["no Host", `GET /livez HTTP/1.1\r\n\r\n${smuggled}`, 400, undefined],
    [
      "an upgrade to h2c",
      get("Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
      200,
      undefined,
    ],
    ["an expectation that nobody knows", get("Expect: wonders\r\nConnection: close\r\n"), 417, undefined],
    [
      "a chunk extension above the size",
      post("Transfer-Encoding: chunked\r\n", `2;${"x".repeat(20_000)}\r\n{}\r\n0\r\n\r\n`),
      413,
      "bad_http",
    ],
  ])("%s", async (_, bytes, status, reason) => {
    await start();
    const client = await send(bytes);
    expect(client.statuses()).toEqual([status]);
    if (reason === undefined) expect(rejected).toEqual([]);
    else expect(rejected).toContain(reason);
    await expectUnharmed();
  });

  test("CONNECT is closed", async () => {
    await start();
    const client = await send(`CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n`);
    expect(client.statuses()).toEqual([]);
    await expectUnharmed();
  });
});

describe("pipelining", () => {
  test.each([
    ["can't be parsed", "G\x01T\r\n\r\n", 400],
    ["has two lengths", post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"), 400],
    ["has a header above the size", get(`X: ${"x".repeat(20_000)}\r\n`), 431],
    ["has a chunk that is none", post("Transfer-Encoding: chunked\r\n", "zz\r\n"), 400],
  ])("a request that %s is answered after those before it, and nothing after it", async (_, bad, status) => {
    await start();
    const slow = `POST /loqui.v1.ChatService/StreamChatCompletion HTTP/1.1\r\n${host}Content-Type: application/connect+json\r\n`;
    const body = chatBody("slow").replace("hello", "5");
    const first = `${slow}Content-Length: ${body.length + 5}\r\n\r\n\0\0\0\0${String.fromCharCode(body.length)}${body}`;
    const client = await send(first + get() + bad + get());
    expect(client.statuses()).toEqual([200, 200, status]);
    expect(client.received()).toContain('"content":"4 "');
    await expectUnharmed();
  });

  test("more requests than may wait for their answers: the first are answered, the next gets 503 and the connection closes", async () => {
    await start({ maxConcurrentStreams: 10 });
    const client = await send(get().repeat(5_000));
    // All come in one piece: none of them is answered before the last is read.
    expect(client.statuses()).toEqual([...Array.from({ length: 10 }, () => 200), 503]);
    expect(rejected).toEqual(["pipelining_limit"]);
  });

  test("a client that leaves all of them waiting costs no more than the limit", async () => {
    await start({ maxConcurrentStreams: 10 });
    const client = open();
    client.socket.write(chat("wait").repeat(500));
    await until(() => rejected.length === 1);
    await until(() => server.contexts.length === 10);
    client.socket.destroy();
    await until(() => server.contexts.every(({ record }) => record.outcome === "cancelled"));
    expect(server.contexts).toHaveLength(10);
  });
});

describe("slow clients", () => {
  test("a header that drips in: 408 at its time, whatever comes", async () => {
    await start({ headersTimeoutMs: 300 });
    const client = open();
    client.socket.write(`GET /livez HTTP/1.1\r\n${host}`);
    const drip = setInterval(() => client.socket.write("x"), 20);
    await expectUnharmed();
    await client.closed;
    clearInterval(drip);
    expect(client.statuses()).toEqual([408]);
    expect(rejected).toEqual(["request_timeout"]);
  });

  test("a body that drips in: 408 at its time", async () => {
    await start({ headersTimeoutMs: 200, requestTimeoutMs: 400 });
    const client = open();
    client.socket.write(post("Content-Length: 1000\r\n", '{"model":"'));
    const drip = setInterval(() => client.socket.write("x"), 20);
    await expectUnharmed();
    await client.closed;
    clearInterval(drip);
    expect(client.statuses()).toEqual([408]);
    expect(rejected).toContain("request_timeout");
    expect(server.contexts).toEqual([]);
  });

  test("a second request that drips in on the same connection: the same", async () => {
    await start({ headersTimeoutMs: 300 });
    const client = open();
    client.socket.write(get());
    await until(() => client.statuses().length === 1);
    client.socket.write("GET /li");
    await client.closed;
    expect(client.statuses()).toEqual([200, 408]);
  });

  test("an idle connection is closed", async () => {
    await start({ keepAliveTimeoutMs: 100 });
    const client = open();
    client.socket.write(get());
    await client.closed;
    expect(client.statuses()).toEqual([200]);
    expect(rejected).toEqual([]);
  });
});
