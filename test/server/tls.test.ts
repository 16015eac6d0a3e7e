import { once } from "node:events";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { request } from "node:https";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import type { ServerOptions } from "../../src/server/server.ts";
import type { TlsFiles } from "../../src/server/tls-files.ts";
import { type Certificate, createAuthority } from "../support/certificates.ts";
import { grpcJsClient } from "./grpc-js-client.ts";
import { chatRequest, startTestServer, type TestServer, until } from "./test-server.ts";

const authority = createAuthority();
const ca = authority.cert;

let folder: string;
let files: TlsFiles;
let server: TestServer | undefined;
let refused: string[];
let logged: { level: string; msg: string; reason?: string }[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-tls-"));
  files = { certFile: join(folder, "tls.crt"), keyFile: join(folder, "tls.key") };
  refused = [];
  logged = [];
  write(authority.issue("first"));
});
afterEach(async () => {
  await server?.close({ force: true });
  server = undefined;
  rmSync(folder, { recursive: true });
});

function write({ cert, key }: Certificate, within = folder): void {
  writeFileSync(join(within, "tls.crt"), cert);
  writeFileSync(join(within, "tls.key"), key);
}

async function start(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  // Not the variables: what one test left behind belongs not to the next.
  const [reasons, lines] = [refused, logged];
  const formatters = { level: (label: string) => ({ level: label }) };
  server = await startTestServer({
    tls: files,
    log: pino({ formatters }, { write: (line) => void lines.push(JSON.parse(line)) }),
    onRejected: (reason) => reasons.push(reason),
    ...options,
    limits: { tlsCheckMs: 20, ...options.limits },
  });
  return server;
}

/** What the server says to a client that sends this after its handshake: in JSON, until it matches or the connection closes. */
async function say(words: string | Buffer, expected: RegExp, options: ConnectionOptions = {}) {
  const socket = connectTls({ host: "127.0.0.1", port: server?.port, ca, ...options });
  await once(socket, "secureConnect");
  socket.write(words);
  const { alpnProtocol: protocol } = socket;
  let answer = "";
  for await (const data of socket) {
    answer += JSON.stringify(data.toString("latin1")).slice(1, -1);
    if (expected.test(answer)) break;
  }
  return { protocol, answer };
}

/** The name in the certificate that a new client is shown. */
async function certificateName(): Promise<string | undefined> {
  const socket = connectTls({ host: "127.0.0.1", port: server?.port, ca });
  await once(socket, "secureConnect");
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

async function becomes(name: string): Promise<void> {
  for (let index = 0; index < 100 && (await certificateName()) !== name; index++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(await certificateName()).toBe(name);
}

/** Waits until so many are open. */
async function connections(count: number): Promise<void> {
  let open: number | undefined;
  for (let index = 0; index < 200 && open !== count; index++) {
    open = (await server?.status())?.connections;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(open).toBe(count);
}

/** Why a client can't get an answer. */
async function failure(options: ConnectionOptions): Promise<string> {
  return say(livez, /./, options).then(
    ({ answer }) => (answer === "" ? "closed" : `answered ${answer}`),
    (error: NodeJS.ErrnoException) => error.code ?? error.message,
  );
}

const livez = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
const ok = /^HTTP\/1\.1 200 /;
const preface = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0)]);

describe("every protocol", () => {
  test("grpc-js", async () => {
    using client = grpcJsClient(await start(), { ca });
    const { message } = await client.unary(ChatService.method.createChatCompletion, chatRequest("echo", "secret"));
    expect(message.choices[0]?.message?.content).toBe("secret");
    const stream = client.serverStream(ChatService.method.streamChatCompletion, chatRequest("count", "50"));
    expect(await Array.fromAsync(stream)).toHaveLength(50);
  });

  const nodeOptions = { ca };
  test.each<[string, (baseUrl: string) => Transport]>([
    ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl, nodeOptions })],
    ["gRPC-Web over HTTP/1.1", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1", nodeOptions })],
    ["gRPC-Web over HTTP/2", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2", nodeOptions })],
    ["Connect over HTTP/1.1", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", nodeOptions })],
    ["Connect over HTTP/2", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2", nodeOptions })],
  ])("%s", async (_, transport) => {
    const { url } = await start();
    expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const client = createClient(ChatService, transport(url));
    const { choices } = await client.createChatCompletion(chatRequest("echo", "secret"));
    expect(choices[0]?.message?.content).toBe("secret");
    expect(await Array.fromAsync(client.streamChatCompletion(chatRequest("count", "50")))).toHaveLength(50);
  });

  test("REST over HTTP/1.1 and HTTP/2", async () => {
    const { url } = await start();
    const [response] = await once(request(`${url}/readyz`, { ca }).end(), "response");
    expect([response.statusCode, await text(response)]).toEqual([200, '{"status":"ok"}']);
    const session = connectHttp2(url, { ca });
    const stream = session.request({ ":path": "/readyz" });
    expect(await text(stream)).toBe('{"status":"ok"}');
    session.close();
  });
});

describe("the handshake", () => {
  test.each<[string[] | undefined, string | Buffer, string | false, RegExp]>([
    [["h2"], preface, "h2", /^\\u0000\\u0000\\u0012\\u0004/],
    [["h2", "http/1.1"], preface, "h2", /^\\u0000\\u0000\\u0012\\u0004/],
    [["http/1.1"], livez, "http/1.1", /^HTTP\/1\.1 200 /],
    [undefined, livez, false, /^HTTP\/1\.1 200 /],
    // RFC 9113, section 3.2: over TLS there is no HTTP/2 without ALPN.
    [undefined, preface, false, /^HTTP\/1\.1 400 /],
    [["http/1.1"], preface, "http/1.1", /^HTTP\/1\.1 400 /],
    // Agreed on HTTP/2, so that is what it must speak: only the server's SETTINGS come before the end.
    [["h2"], livez, "h2", /^\\u0000\\u0000\\u0012\\u0004(?!.*HTTP)/],
  ])("ALPN %o", async (ALPNProtocols, words, protocol, expected) => {
    await start();
    const said = await say(words, expected, { ...(ALPNProtocols !== undefined && { ALPNProtocols }) });
    expect(said.protocol).toBe(protocol);
    expect(said.answer).toMatch(expected);
  });

  test("no protocol in common: refused", async () => {
    await start();
    expect(await failure({ ALPNProtocols: ["spdy/3"] })).toMatch(/NO_APPLICATION_PROTOCOL/);
    expect(refused).toEqual(["tls_handshake"]);
  });

  test("TLS 1.2 is the oldest", async () => {
    await start();
    const ciphers = "DEFAULT@SECLEVEL=0";
    const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers } as const;
    expect(await failure(old)).toMatch(/PROTOCOL_VERSION/);
    expect((await say(livez, ok, { maxVersion: "TLSv1.2" })).answer).toMatch(ok);
  });

  test("plain HTTP is closed without an answer in HTTP", async () => {
    const { port } = await start();
    const socket = connectTcp(port, "127.0.0.1").on("error", () => {});
    socket.write(livez);
    const received = text(socket).catch(() => "");
    await once(socket, "close");
    expect(await received).not.toContain("HTTP");
    expect(refused).toEqual(["tls_handshake"]);
    expect((await say(livez, ok)).answer).toMatch(ok);
  });

  test.each([
    ["nothing", ""],
    ["a part of a hello", Buffer.of(0x16, 3, 1, 2)],
  ])("%s within the time: closed", async (_, words) => {
    const { port } = await start({ limits: { tlsHandshakeTimeoutMs: 100 } });
    const socket = connectTcp(port, "127.0.0.1").on("error", () => {});
    socket.write(words);
    socket.resume();
    await once(socket, "close");
    expect(refused).toEqual(["tls_handshake"]);
    await connections(0);
  });

  test("one in the middle of it does not hold up the end", async () => {
    const { port, close } = await start({ limits: { drainMs: 60_000 } });
    const socket = connectTcp(port, "127.0.0.1").on("error", () => {});
    await connections(1);
    await close();
    expect(socket.destroyed || (await once(socket, "close"))).toBeTruthy();
  });
});

describe("the files change", () => {
  test("under load: no request fails, and what is open goes on", async () => {
    const { url } = await start();
    using client = grpcJsClient(server as TestServer, { ca });
    const stream = client.serverStream(ChatService.method.streamChatCompletion, chatRequest("slow", "40"));
    const whole = Array.fromAsync(stream);
    const statuses: number[] = [];
    let done = false;
    const load = Array.from({ length: 4 }, async () => {
      while (!done) {
        const [response] = await once(request(`${url}/livez`, { ca, agent: false }).end(), "response");
        response.resume();
        statuses.push(response.statusCode);
      }
    });
    for (const name of ["second", "third"]) {
      write(authority.issue(name));
      await becomes(name);
    }
    done = true;
    await Promise.all(load);
    expect(statuses.length).toBeGreaterThan(0);
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await whole).toHaveLength(40);
    expect(logged.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("by renaming, as certbot does", async () => {
    await start();
    const { cert, key } = authority.issue("second");
    writeFileSync(`${files.certFile}.new`, cert);
    writeFileSync(`${files.keyFile}.new`, key);
    renameSync(`${files.certFile}.new`, files.certFile);
    renameSync(`${files.keyFile}.new`, files.keyFile);
    await becomes("second");
  });

  test("by swapping a link in the folder above, as Kubernetes does", async () => {
    for (const name of ["v1", "v2"]) {
      mkdirSync(join(folder, name));
      write(authority.issue(name), join(folder, name));
    }
    symlinkSync("v1", join(folder, "..data"));
    for (const path of [files.certFile, files.keyFile]) {
      unlinkSync(path);
      symlinkSync(join("..data", path.slice(folder.length + 1)), path);
    }
    await start();
    expect(await certificateName()).toBe("v1");
    symlinkSync("v2", join(folder, "..data.new"));
    renameSync(join(folder, "..data.new"), join(folder, "..data"));
    await becomes("v2");
  });

  test.each<[string, () => void, RegExp]>([
    ["a key that belongs to another", () => writeFileSync(files.keyFile, authority.issue("x").key), /does not belong/],
    ["half a certificate", () => writeFileSync(files.certFile, authority.cert.slice(0, 99)), /holds no certificate/],
    ["no file", () => unlinkSync(files.keyFile), /tls\.key: no such file/],
  ])("%s is logged once, and the old ones stay", async (_, change, message) => {
    await start();
    change();
    await until(() => logged.some(({ level }) => level === "error"));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const errors = logged.filter(({ level }) => level === "error");
    expect(errors.map(({ reason }) => reason)).toEqual([expect.stringMatching(message)]);
    expect(await certificateName()).toBe("first");
    write(authority.issue("second"));
    await becomes("second");
  });
});

describe("mutual TLS", () => {
  const clients = createAuthority("clients");
  const stranger = createAuthority("strangers");

  beforeEach(async () => {
    files = { ...files, clientCaFile: join(folder, "clients.pem") };
    writeFileSync(join(folder, "clients.pem"), clients.cert);
    await start();
  });

  test("a client of the CA is served", async () => {
    const client = clients.issue("client");
    using grpc = grpcJsClient(server as TestServer, { ca, ...client });
    const { message } = await grpc.unary(ChatService.method.createChatCompletion, chatRequest("echo", "known"));
    expect(message.choices[0]?.message?.content).toBe("known");
    expect((await say(livez, ok, client)).answer).toMatch(ok);
    expect(refused).toEqual([]);
  });

  test.each([
    ["without a certificate", {}],
    ["with one of another CA", stranger.issue("client")],
    ["with one that it signed itself", stranger],
    ["with one that has expired", clients.issue("client", { notAfter: new Date(Date.now() - 60_000) })],
  ])("a client %s is refused, by either version of TLS", async (_, client) => {
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      expect(await failure({ ...client, maxVersion })).toMatch(/^(closed|ECONNRESET|EPIPE|ERR_SSL_.*ALERT.*)$/);
    }
    expect(refused).toEqual(["tls_handshake", "tls_handshake"]);
    expect(server?.contexts).toEqual([]);
  });

  test("the CA changes", async () => {
    const client = stranger.issue("client");
    expect(await failure(client)).not.toContain("answered");
    writeFileSync(join(folder, "clients.pem"), stranger.cert);
    await until(() => logged.some(({ msg }) => msg === "TLS files reloaded"));
    expect((await say(livez, ok, client)).answer).toMatch(ok);
    expect(await failure(clients.issue("client"))).not.toContain("answered");
  });
});

describe("files that can't be used hinder the start", () => {
  const encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
  const garbled = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

  test.each<[string, () => void, RegExp]>([
    ["no certificate file", () => unlinkSync(files.certFile), /^TLS: \S+\/tls\.crt: no such file$/],
    ["a folder", () => (files = { ...files, keyFile: folder }), /^TLS: \S+ is not a file$/],
    ["an empty certificate", () => writeFileSync(files.certFile, ""), /tls\.crt holds no certificate in PEM$/],
    ["a garbled one", () => writeFileSync(files.certFile, garbled), /tls\.crt: certificate 1 can't be read: /],
    ["a certificate for the key", () => writeFileSync(files.keyFile, ca), /tls\.key holds no private key in PEM$/],
    ["an encrypted key", () => writeFileSync(files.keyFile, encrypted), /tls\.key: the private key is encrypted; /],
    ["another's key", () => writeFileSync(files.keyFile, authority.key), /tls\.key does not belong to .*tls\.crt$/],
    ["a file of 2 MB", () => writeFileSync(files.certFile, "x".repeat(2e6)), /tls\.crt has 2000000 bytes: /],
    [
      "a client CA that is none",
      () => (files = { ...files, clientCaFile: files.certFile }),
      /tls\.crt: CN=first is not a CA's certificate$/,
    ],
  ])("%s", async (_, change, message) => {
    change();
    await expect(start()).rejects.toMatchObject({ name: "ListenError", message: expect.stringMatching(message) });
  });

  test("an expired certificate is used, with a warning", async () => {
    write(authority.issue("late", { notAfter: new Date(Date.now() - 60_000) }));
    await start();
    expect(logged).toMatchObject([{ level: "warn", msg: expect.stringContaining("has expired") }]);
  });
});
