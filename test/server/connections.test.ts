import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { resolve as resolvePath } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, test } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { affordableConnections, fileLimit } from "../../src/server/file-limit.ts";
import type { ServerLimits } from "../../src/server/limits.ts";
import { grpcJsClient } from "./grpc-js-client.ts";
import { chatRequest, startTestServer, type TestServer, until } from "./test-server.ts";

let server: TestServer | undefined;
let sockets: Socket[] = [];
let rejected: string[];

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  await server?.close({ force: true });
  server = undefined;
});

async function start(limits: Partial<ServerLimits>): Promise<TestServer> {
  const reasons: string[] = [];
  rejected = reasons;
  server = await startTestServer({ limits, onRejected: (reason) => reasons.push(reason) });
  return server;
}

/** Opens connections that say nothing, a hundred at a time. */
async function openIdle(count: number, { host, port }: { host: string; port: number }): Promise<Socket[]> {
  const opened: Socket[] = [];
  while (opened.length < count) {
    const batch = Array.from({ length: Math.min(100, count - opened.length) }, () => connect(port, host));
    for (const socket of batch) socket.on("error", () => {});
    sockets.push(...batch);
    await Promise.all(batch.map((socket) => once(socket, "connect")));
    opened.push(...batch);
  }
  return opened;
}

const isClosed = (socket: Socket) => socket.destroyed || socket.readableEnded;

describe("connections at the limit", () => {
  test.each<[string, Partial<ServerLimits>, string]>([
    ["in all", { maxConnections: 20 }, "connection_limit"],
    ["of one address", { maxConnectionsPerAddress: 20 }, "address_limit"],
  ])("%s: those that are open go on, one more is closed at once, and room is used again", async (_, limits, reason) => {
    const running = await start(limits);
    using client = grpcJsClient(running);
    await client.unary(ChatService.method.createChatCompletion, chatRequest("echo"));
    const idle = await openIdle(19, running);
    const [surplus] = await openIdle(1, running);
    surplus?.resume();
    await until(() => surplus !== undefined && isClosed(surplus));
    expect(rejected).toEqual([reason]);
    expect(idle.some(isClosed)).toBe(false);
    await client.unary(ChatService.method.createChatCompletion, chatRequest("echo"));
    idle[0]?.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const [next] = await openIdle(1, running);
    next?.resume().write("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    expect(String(await once(next as Socket, "data"))).toMatch(/^HTTP\/1\.1 200 /);
  });
});

test("ten thousand idle connections, or as many as the process may open: another client is served, the connections go", async () => {
  // Both ends of each connection lie in this process.
  const count = Math.min(10_000, Math.floor(((fileLimit() ?? 1e6) - 500) / 2));
  const running = await start({ maxConnections: 20_000, firstByteTimeoutMs: 300_000 });
  const idle = await openIdle(count, running);
  // The last of them wait to be accepted.
  for (let index = 0; index < 500 && (await running.status()).connections < count; index++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect((await running.status()).connections).toBe(count);
  expect((await fetch(`${running.url}/livez`)).status).toBe(200);
  expect(idle.some(isClosed)).toBe(false);
  for (const socket of idle) socket.destroy();
  // Those of fetch stay a while.
  for (let index = 0; index < 500 && (await running.status()).connections > 3; index++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect((await running.status()).connections).toBeLessThanOrEqual(3);
}, 120_000);

test.each([
  [10_000, undefined, 10_000],
  [10_000, 20_000, 10_000],
  [10_000, 1_024, 768],
  [100, 1_024, 100],
  [100, 1, 1],
])("of %i wanted connections and %s files come %i", (wanted, files, expected) => {
  expect(affordableConnections(wanted, files)).toBe(expected);
});

describe.runIf(process.platform === "linux")("a process that may open 100 files", () => {
  async function spawnServer(maxConnections: number, held: number) {
    const script = resolvePath(import.meta.dirname, "few-files-server.ts");
    const command = `ulimit -n 100 && exec "$0" "$1" ${maxConnections} ${held}`;
    const child = spawn("sh", ["-c", command, process.execPath, script], { stdio: ["ignore", "pipe", "inherit"] });
    const lines: Record<string, unknown>[] = [];
    createInterface(child.stdout).on("line", (line) => lines.push(JSON.parse(line)));
    for (let index = 0; index < 1_000 && !lines.some(({ url }) => url); index++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const url = String(lines.find(({ url }) => url)?.url);
    const { hostname: host, port } = new URL(url);
    return {
      lines,
      url,
      address: { host, port: Number(port) },
      async [Symbol.asyncDispose]() {
        const exit = once(child, "exit");
        child.kill("SIGKILL");
        await exit;
      },
    };
  }

  test("says at the start that it takes fewer connections", async () => {
    await using few = await spawnServer(10_000, 0);
    expect(few.lines[0]).toMatchObject({ level: "warn", wanted: 10_000, connections: 75, files: 100 });
  });

  test("has none left: surplus connections are closed, the others go on, and new ones are served as soon as there is room", async () => {
    // Those that it holds are more than the quarter that the limit leaves.
    await using few = await spawnServer(75, 40);
    const get = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    const [early] = (await openIdle(1, few.address)) as [Socket];
    early.write(get);
    await once(early, "data");
    const idle = await openIdle(99, few.address);
    for (const socket of idle) socket.resume();
    await until(() => idle.filter(isClosed).length > 30);
    early.write(get);
    expect(String(await once(early, "data"))).toMatch(/^HTTP\/1\.1 200 /);
    for (const socket of idle) socket.destroy();
    let status = 0;
    for (let index = 0; index < 100 && status !== 200; index++) {
      status = await fetch(`${few.url}/livez`).then(
        (response) => response.status,
        () => 0,
      );
    }
    expect(status).toBe(200);
  });
});
