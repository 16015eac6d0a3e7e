import { execFile } from "node:child_process";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { type ServerLimits, serverLimits } from "../../src/server/limits.ts";
import { listen } from "../../src/server/listen.ts";
import type { ListenError } from "../../src/server/listen-error.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { grpcJsClient } from "./grpc-js-client.ts";
import { startTestServer, type TestServer, until } from "./test-server.ts";

const log = createLog({ level: "silent" });
let server: TestServer;

async function start(limits: Partial<ServerLimits> = {}): Promise<void> {
  server = await startTestServer({ limits });
}

beforeEach(() => start());
afterEach(() => server.close({ force: true }));

/** Sends pieces one after the other and gives back all that came until the connection closed or `expected` was seen. */
function exchange(pieces: readonly (string | Buffer)[], expected?: string, pauseMs = 5): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(server.port, server.host);
    let received = "";
    socket.setNoDelay(true);
    socket.on("data", (data) => {
      received += data.toString("latin1");
      if (expected !== undefined && received.includes(expected)) socket.destroy();
    });
    // A server that closes before it has read all resets the connection.
    socket.on("error", (error: NodeJS.ErrnoException) => error.code === "ECONNRESET" || reject(error));
    socket.on("close", () => resolve(received));
    (async () => {
      for (const piece of pieces) {
        socket.write(piece);
        await new Promise((next) => setTimeout(next, pauseMs));
      }
    })();
  });
}

const h2Preface = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), // an empty SETTINGS frame
]);
/** How a SETTINGS frame of the server begins, in hex: length (a multiple of 6), type 4, no flags, stream 0. */
const settingsFrame = /^0000(06|0c|12|18|1e)040000000000/;

describe("one port", () => {
  test("HTTP/1.1", async () => {
    const response = await fetch(`${server.url}/livez`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: "ok" });
  });

  test("HTTP/2 with prior knowledge", async () => {
    const session = connectHttp2(server.url);
    const stream = session.request({ ":path": "/livez" });
    let body = "";
    for await (const data of stream.setEncoding("utf8")) body += data;
    expect(body).toBe('{"status":"ok"}');
    expect(session.remoteSettings).toMatchObject({
      initialWindowSize: 1 << 20,
      maxConcurrentStreams: 100,
      maxHeaderListSize: 16 * 1024,
    });
    expect(session.state.remoteWindowSize).toBeGreaterThan(65_535);
    session.close();
  });

  test("both at the same time, and curl with either", async () => {
    using client = grpcJsClient(server);
    const [answer, response] = await Promise.all([
      client.unary(Health.method.check, { service: "" }),
      fetch(`${server.url}/readyz`),
    ]);
    expect(answer.message.status).toBe(1);
    expect(response.status).toBe(200);
  });

  test.each([
    ["HTTP/2", h2Preface, settingsFrame],
    ["HTTP/1.1", Buffer.from("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), /^HTTP\/1\.1 200 OK\r\n/],
    // Shares its first letters with the preface.
    [
      "a method like the preface",
      Buffer.from("PROPFIND / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
      /^HTTP\/1\.1 405 /,
    ],
  ])("%s, byte by byte", async (_, bytes, expected) => {
    const pieces = [...bytes].map((byte) => Buffer.from([byte]));
    const received = await exchange(pieces, bytes === h2Preface ? "\0\0\0\x04\x01" : undefined, 1);
    expect(bytes === h2Preface ? Buffer.from(received, "latin1").toString("hex") : received).toMatch(expected);
  });

  test("a body that comes with the first bytes and after them", async () => {
    const body = JSON.stringify({ service: "" });
    const head = `POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
    for (const cut of [1, head.length - 1, head.length, head.length + 3]) {
      const whole = head + body;
      const received = await exchange([whole.slice(0, cut), whole.slice(cut)]);
      expect(received).toMatch(/^HTTP\/1\.1 200 OK/);
      expect(received).toContain('{"status":"SERVING"}');
    }
  });

  test("the absolute form of a target, as proxies send it", async () => {
    for (const [verb, path] of [
      ["GET", "/livez"],
      ["POST", "/grpc.health.v1.Health/Check"],
    ]) {
      const head = `${verb} http://a${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n`;
      const received = await exchange([`${head}Content-Length: 2\r\nConnection: close\r\n\r\n{}`]);
      expect(received).toMatch(/^HTTP\/1\.1 200 OK/);
    }
  });

  test("pipelined requests are answered in order", async () => {
    const request = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
    const received = await exchange([
      request("/livez") + request("/none") + request("/livez", "Connection: close\r\n"),
    ]);
    expect([...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1])).toEqual(["200", "404", "200"]);
  });
});

describe("connections that don't behave", () => {
  test("garbage in the first bytes is answered 400 and closed", async () => {
    expect(await exchange([Buffer.from([0x16, 3, 1, 0, 200, 1, 0])])).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  });

  test("a wrong continuation of the preface is closed by the HTTP/2 server", async () => {
    const received = await exchange(["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxx"]);
    expect(received).not.toContain("HTTP/1.1");
  });

  test.each([
    ["silent", []],
    ["a part of the preface", ["PRI * H"]],
    ["a part of the preface, drop by drop", [..."PRI * HTTP/2"]],
  ])("%s: closed by the timer", async (_, pieces) => {
    await server.close({ force: true });
    await start({ firstByteTimeoutMs: 100 });
    expect(await exchange(pieces, undefined, 20)).toBe("");
  });

  test("half a header gets 408 within the header timeout", async () => {
    await server.close({ force: true });
    await start({ headersTimeoutMs: 200 });
    expect(await exchange(["GET /livez HTTP/1.1\r\nHost"])).toMatch(/^HTTP\/1\.1 408 Request Timeout/);
  });

  test("a header over the limit gets 431", async () => {
    const received = await exchange([`GET /livez HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(20_000)}\r\n\r\n`]);
    expect(received).toMatch(/^HTTP\/1\.1 431 /);
  });

  test("one that says a word and half-closes is answered", async () => {
    const received = await new Promise<string>((resolve) => {
      const socket = connect({ port: server.port, host: server.host, allowHalfOpen: true });
      let text = "";
      socket.on("data", (data) => {
        text += data;
      });
      socket.on("end", () => socket.destroy()).on("close", () => resolve(text));
      socket.end("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    });
    expect(received).toMatch(/^HTTP\/1\.1 200 OK/);
  });

  test("a reset right after connecting leaves the server alive", async () => {
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const socket = connect(server.port, server.host);
        await new Promise((resolve) => socket.once("connect", resolve));
        if (index % 2 === 0) socket.write("PRI");
        socket.resetAndDestroy();
      }),
    );
    expect((await fetch(`${server.url}/livez`)).status).toBe(200);
  });

  // connect-node throws out of the request listener when a request has no authority.
  test.each([
    ["HTTP/1.0 without Host", "POST /grpc.health.v1.Health/Check HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"],
    [
      "a malformed Host",
      "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: a b:c\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    ],
  ])("%s gets 400", async (_, request) => {
    expect(await exchange([request])).toMatch(/^HTTP\/1\.1 400 Bad Request/);
    expect((await fetch(`${server.url}/livez`)).status).toBe(200);
  });
});

describe("Expect: 100-continue", () => {
  const head = (length: number) =>
    `POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n`;

  test("a body within the limit is asked for", async () => {
    const received = await exchange([`${head(2)}Connection: close\r\n\r\n`, "{}"], undefined, 50);
    expect(received).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  });

  test("over HTTP/2", async () => {
    const session = connectHttp2(server.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/json",
      expect: "100-continue",
    });
    await once(stream, "continue");
    stream.end("{}");
    expect((await once(stream, "response"))[0]).toMatchObject({ ":status": 200 });
    stream.resume();
    session.close();
  });

  test("the server ends while the body is on its way", async () => {
    const socket = connect(server.port, server.host);
    let text = "";
    socket.on("data", (data) => {
      text += data;
    });
    socket.write(`${head(2)}\r\n`);
    await until(() => text.includes("100 Continue"));
    const closing = server.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.write("{}");
    await Promise.all([closing, once(socket, "close")]);
    expect(text).toMatch(/HTTP\/1\.1 200 OK.*NOT_SERVING/s);
  });

  test("a body over the limit is refused without it", async () => {
    await server.close({ force: true });
    await start({ maxRequestBytes: 1000 });
    const received = await exchange([`${head(1001)}\r\n`]);
    expect(received).toMatch(/^HTTP\/1\.1 429 /);
    expect(received).toContain("resource_exhausted");
  });
});

describe("what hinders listening", () => {
  const limits = serverLimits();
  const attempt = (host: string, port: number) =>
    listen({ host, port, limits, handler: () => {}, onRejected: () => {}, log }).then(
      () => undefined,
      (error: ListenError) => [error.name, error.code, error.message],
    );

  test("a taken port", async () => {
    expect(await attempt("127.0.0.1", server.port)).toEqual([
      "ListenError",
      "EADDRINUSE",
      `port ${server.port} on 127.0.0.1 is taken: stop the program that listens there, or choose another port`,
    ]);
  });

  test("an address of another machine", async () => {
    expect(await attempt("192.0.2.1", 0)).toEqual([
      "ListenError",
      "EADDRNOTAVAIL",
      "192.0.2.1 is not an address of this machine",
    ]);
  });

  test("a port that is none", async () => {
    expect(await attempt("127.0.0.1", 70_000)).toMatchObject(["ListenError", "ERR_SOCKET_BAD_PORT", /70000/]);
  });

  test("a name without address", async () => {
    const [name, code] = (await attempt("no-such-host.invalid", 0)) ?? [];
    expect(name).toBe("ListenError");
    expect(["ENOTFOUND", "EAI_AGAIN"]).toContain(code);
  });
});

test("IPv6 has brackets in its URL", async () => {
  const listener = await listen({
    host: "::1",
    port: 0,
    limits: serverLimits(),
    handler: (_, response) => void response.end("here"),
    onRejected: () => {},
    log,
  });
  expect(listener.url).toBe(`http://[::1]:${listener.port}`);
  expect(await (await fetch(listener.url, { headers: { connection: "close" } })).text()).toBe("here");
  listener.stopAccepting();
  listener.closeAll();
  await listener.closed;
});

test.for([
  ["--http1.1", "1.1"],
  ["--http2-prior-knowledge", "2"],
])("curl %s", async ([flag = "", version], { skip }) => {
  const args = ["-s", flag, "-w", "%{http_version} %{http_code}", `${server.url}/readyz`];
  const curl = await promisify(execFile)("curl", args).catch((error: NodeJS.ErrnoException) => error);
  if (curl instanceof Error) {
    if (curl.code === "ENOENT") return skip("there is no curl on this machine");
    throw curl;
  }
  expect(curl.stdout).toBe(`{"status":"ok"}${version} 200`);
});

test("limits that are no numbers are refused", () => {
  expect(() => serverLimits({ drainMs: Number.NaN })).toThrow("drainMs NaN is not a whole number from 0 to 2147483647");
  expect(() => serverLimits({ maxTimeoutMs: 2 ** 31 })).toThrow(RangeError);
});
