/** SIGTERM of a whole server with real workers: what ends in time is whole, the rest ends with an error in band. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { grpcError, grpcJsClient } from "../server/grpc-js-client.ts";
import { workerOf } from "../support/processes.ts";
import { writeModelsFile, writeScripts } from "../support/running-loqui.ts";
import { type SpawnedLoqui, spawnLoqui } from "../support/spawned-loqui.ts";
import { endless, endlessParameters, events, grpcClient, modelOf, post, question, until } from "./support.ts";

const short = { reply: ["on ", "and ", "off "], loop: true, contextLength: 4_096 };
let folder: string;
let server: SpawnedLoqui;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
});
afterEach(() => {
  server?.process.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

async function start(drainSeconds: number, more: readonly string[] = []): Promise<string> {
  writeScripts(folder, { short, endless });
  const config = writeModelsFile(folder, ["short", "endless"], {
    short: { n_ctx: 512, sequences: 16 },
    // Enough sequences that none of those that never end waits for another.
    endless: { ...endlessParameters, n_ctx: 16_384, sequences: 104 },
  });
  server = await spawnLoqui(["--config", config, "--drain-seconds", String(drainSeconds), ...more]);
  return server.url;
}

function exit(): Promise<number | null> {
  const { process: child } = server;
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once("exit", resolve));
}

async function ready(): Promise<void> {
  await until("it is ready", async () => (await fetch(`${server.url}/readyz`)).ok);
}

/** How a request ended: whole, with an error that it was told, or lost. */
type Ending = "whole" | "told" | "lost";

async function overRest(model: string, more: object): Promise<Ending> {
  try {
    const response = await post(server.url, { model, ...more });
    if (!("stream" in more)) {
      const answer = await response.text();
      if (response.status === 503) return answer.includes('"code":"shutting_down"') ? "told" : "lost";
      return answer.includes('"finish_reason":"length"') ? "whole" : "lost";
    }
    const all = await events(response);
    if (all.at(-1) === "[DONE]") return all.at(-2)?.includes('"finish_reason":"length"') ? "whole" : "lost";
    return JSON.parse(all.at(-1) ?? "{}").error?.code === "shutting_down" ? "told" : "lost";
  } catch {
    return "lost";
  }
}

async function overGrpc(client: ReturnType<typeof grpcClient>, model: string, more: object): Promise<Ending> {
  try {
    const chunks = await Array.fromAsync(client.streamChatCompletion({ ...question(model), ...more }));
    return chunks.at(-1)?.choices[0]?.finishReason === undefined ? "lost" : "whole";
  } catch (error) {
    const { code, rawMessage } = error as { code: Code; rawMessage: string };
    return code === Code.Unavailable && rawMessage === "the server is shutting down" ? "told" : "lost";
  }
}

function count(endings: readonly Ending[]): Record<Ending, number> {
  const counts = { whole: 0, told: 0, lost: 0 };
  for (const ending of endings) counts[ending] += 1;
  return counts;
}

describe("SIGTERM", () => {
  it("with 200 requests in flight: none is lost", async () => {
    const url = await start(4);
    await ready();
    const client = grpcClient(url);
    const send = (model: string, tokens: number | undefined, seed: number): Promise<Ending>[] => {
      const limit = tokens === undefined ? {} : { max_tokens: tokens };
      return [
        overRest(model, { ...limit, seed, stream: true }),
        overRest(model, { ...limit, seed }),
        overGrpc(client, model, { ...(tokens !== undefined && { maxTokens: tokens }), seed: BigInt(seed) }),
        overGrpc(grpcClient(url), model, { ...(tokens !== undefined && { maxTokens: tokens }), seed: BigInt(seed) }),
      ];
    };
    const never = Array.from({ length: 25 }, (_, seed) => send("endless", undefined, seed)).flat();
    const soon = Array.from({ length: 25 }, (_, seed) => send("short", 60, seed)).flat();
    let ended = 0;
    for (const ending of soon) void ending.then(() => (ended += 1));
    await until("they are in flight", async () => {
      const [a, b] = await Promise.all([modelOf(url, "short"), modelOf(url, "endless")]);
      return a.in_flight + ended >= 100 && b.in_flight >= 100;
    });
    const endedBefore = ended;
    server.process.kill("SIGTERM");
    const [whole, told] = [count(await Promise.all(soon)), count(await Promise.all(never))];
    console.log(
      `in flight at SIGTERM: ${200 - endedBefore}; that end in time: ${JSON.stringify(whole)}; others: ${JSON.stringify(told)}`,
    );
    expect(endedBefore).toBeLessThan(100);
    // How many of them are fast enough is the machine's affair; 4 s are plenty for one that is not overloaded.
    expect(whole).toMatchObject({ whole: 100 - whole.told, lost: 0 });
    expect(whole.whole).toBeGreaterThan(0);
    expect(told).toEqual({ whole: 0, told: 100, lost: 0 });
    expect(await exit()).toBe(0);
  }, 60_000);

  it("while a model loads: the callers that wait are told, no worker is left", async () => {
    const url = await start(1);
    const parent = server.process.pid ?? 0;
    await until("it loads", () => workerOf("short", parent) !== undefined);
    const pid = workerOf("short", parent) ?? 0;
    process.kill(pid, "SIGSTOP");
    const waiting = [overRest("short", { seed: 1 }), overGrpc(grpcClient(url), "short", {})];
    await until("they wait", async () => (await modelOf(url, "short")).in_flight === 2);
    expect((await modelOf(url, "short")).state).toBe("loading");
    server.process.kill("SIGTERM");
    expect(await Promise.all(waiting)).toEqual(["told", "told"]);
    expect(await exit()).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });

  it("twice: those in flight are told at once", async () => {
    const url = await start(600);
    await ready();
    const rest = overRest("endless", { stream: true });
    const { hostname: host, port } = new URL(url);
    using client = grpcJsClient({ host, port: Number(port) });
    const grpc = grpcError(client.unary(ChatService.method.createChatCompletion, question("endless")));
    await until("they run", async () => (await modelOf(url, "endless")).in_flight === 2);
    server.process.kill("SIGTERM");
    await until("it drains", async () => !(await fetch(`${url}/readyz`).catch(() => ({ ok: false }))).ok);
    server.process.kill("SIGTERM");
    expect(await grpc).toMatchObject({ code: Code.Unavailable, details: "the server is shutting down" });
    expect(await rest).toBe("told");
    expect(await exit()).toBe(0);
  });
});

describe("SIGKILL of the server", () => {
  it("leaves no worker, no socket, and a port that can be had again", async () => {
    const url = await start(1);
    await ready();
    const parent = server.process.pid ?? 0;
    const pids = ["short", "endless"].map((model) => workerOf(model, parent));
    const running = overRest("endless", { stream: true });
    await until("it runs", async () => (await modelOf(url, "endless")).in_flight === 1);
    server.process.kill("SIGKILL");
    expect(await running).toBe("lost");
    await until("the workers are gone", () => pids.every((pid) => !alive(pid ?? 0)));
    server = await spawnLoqui(["--config", join(folder, "models.yaml"), "--port", new URL(url).port]);
    expect(server.url).toBe(url);
    await ready();
    expect(await overRest("short", { max_tokens: 3 })).toBe("whole");
  });

  it("together with its workers: the next start removes their folders", async () => {
    const sockets = mkdtempSync(join(tmpdir(), "loqui-test-"));
    const before = process.env.TMPDIR;
    process.env.TMPDIR = sockets;
    try {
      await start(1);
      await ready();
      const parent = server.process.pid ?? 0;
      const pids = ["short", "endless"].map((model) => workerOf(model, parent) ?? 0);
      // A worker that stands still can't tidy up.
      for (const pid of pids) process.kill(pid, "SIGSTOP");
      server.process.kill("SIGKILL");
      for (const pid of pids) process.kill(pid, "SIGKILL");
      await until("they are gone", () => pids.every((pid) => !alive(pid)));
      const left = readdirSync(sockets).filter((name) => name.startsWith("loqui-workers-"));
      expect(left).toHaveLength(2);
      server = await spawnLoqui(["--config", join(folder, "models.yaml")]);
      await until("the old folders are gone", () => !readdirSync(sockets).some((name) => left.includes(name)));
      await ready();
      await server.stop();
      expect(readdirSync(sockets).filter((name) => name.startsWith("loqui-workers-"))).toEqual([]);
    } finally {
      if (before === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = before;
      rmSync(sockets, { recursive: true, force: true });
    }
  });
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
