/** A server runs out of file descriptors: it refuses, says so, and answers again when there are some. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, it } from "vitest";
import { signalWorker, workerOf } from "../support/processes.ts";
import { writeModelsFile, writeScripts } from "../support/running-loqui.ts";
import { pause, post, until } from "./support.ts";

const files = 64;
const log: string[] = [];
let folder: string;
let server: ChildProcess;
let url: string;
let sockets: Socket[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
  writeScripts(folder, { hello: { reply: ["Hello", "!"] } });
  const config = writeModelsFile(folder, ["hello"]);
  const main = resolve(import.meta.dirname, "../../src/cli/main.ts");
  const command = [process.execPath, main, "serve", "--port", "0", "--config", config, "--models", "hello"];
  server = spawn("sh", ["-c", `ulimit -n ${files} && exec "$@"`, "sh", ...command], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (server.stdout === null || server.stderr === null) throw new Error("no output");
  createInterface(server.stderr).on("line", (line) => log.push(line));
  const lines: string[] = [];
  createInterface(server.stdout).on("line", (line) => lines.push(line));
  await until("it listens", () => lines.length > 0);
  url = lines[0]?.replace("loqui listens on ", "") ?? "";
  await until("it is ready", async () => (await fetch(`${url}/readyz`)).ok);
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** Takes every descriptor that the server has left, and those that it frees meanwhile. */
async function exhaust(): Promise<void> {
  const { port, hostname } = new URL(url);
  sockets = Array.from({ length: 2 * files }, () => {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    // A request begins, so that the connection isn't closed for saying nothing.
    socket.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n");
    return socket;
  });
  await pause(500);
}

/** A chat completion on a connection that was there before. */
function ask(agent: Agent): Promise<{ status: number; body: string }> {
  return new Promise((done, fail) => {
    const call = request(`${url}/v1/chat/completions`, {
      method: "POST",
      agent,
      headers: { "content-type": "application/json" },
    });
    call.on("error", fail);
    call.on("response", async (response) => {
      let body = "";
      for await (const piece of response.setEncoding("utf8")) body += piece;
      done({ status: response.statusCode ?? 0, body });
    });
    call.end(JSON.stringify({ model: "hello", messages: [{ role: "user", content: "Hi!" }] }));
  });
}

it("calls are refused as overload, the worker comes back, and so does everything else", async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  expect((await ask(agent)).status).toBe(200);
  await exhaust();
  const refused = await ask(agent);
  expect(refused).toMatchObject({ status: 429 });
  expect(JSON.parse(refused.body)).toMatchObject({
    error: { message: "the server is out of file descriptors", code: "overloaded" },
  });
  await until("it is in the log", () => log.some((line) => line.includes("the server is out of file descriptors")));

  // Its restart lacks descriptors too.
  signalWorker("hello", "SIGKILL", server.pid);
  await until("it can't be started", () => log.some((line) => line.includes("could not be started")));
  for (const socket of sockets) socket.destroy();
  await until("there is a worker again", () => workerOf("hello", server.pid) !== undefined);
  expect((await post(url, { model: "hello" })).status).toBe(200);
  expect((await ask(agent)).status).toBe(200);
  agent.destroy();
}, 90_000);
