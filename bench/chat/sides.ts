/** The servers that are compared: loqui and llama-server, with the same flags. */
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { childrenOf } from "../../test/support/processes.ts";
import { spawnLoqui } from "../../test/support/spawned-loqui.ts";
import { benchFolder } from "../models/random-models.ts";
import { freePort, stopProcess } from "../support/peer-process.ts";

/** What both servers are started with. */
export interface ServerShape {
  /** Path of the model. */
  readonly model: string;
  /** Requests at the same time. */
  readonly slots: number;
  /** Tokens of one request at most. */
  readonly contextLength: number;
  readonly threads: number;
}

/** A running server. */
export interface Side {
  readonly name: string;
  readonly url: string;
  /** Its processes and the client's. */
  readonly processes: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

/** Which addon loqui's worker runs on: what `npm run build:llama` made, or what npm installed. */
export type LoquiBuild = "openmp" | "prebuilt";
/** Which of `npm run build:llama -- --server` is measured against. */
export type PeerBuild = "openmp" | "plain";

const root = resolve(import.meta.dirname, "../..");

/** Prompt tokens per decode, in both servers. */
const batchSize = 512;

/** Starts both, loqui first. Throws, with what to do, where one has not been built. */
export async function startSides(shape: ServerShape, build: LoquiBuild, peer: PeerBuild): Promise<Side[]> {
  const program = join(root, "llama/server", peer, "llama-server");
  if (!existsSync(program)) throw new Error(`${program} is missing: npm run build:llama -- --server`);
  if (build === "openmp" && !existsSync(join(root, "llama/bin/llama-addon.node"))) {
    throw new Error("llama/bin/llama-addon.node is missing: npm run build:llama");
  }
  const own = await startLoqui(shape, build);
  try {
    return [own, await startLlamaServer(program, shape, peer)];
  } catch (error) {
    await own.stop();
    throw error;
  }
}

async function startLoqui({ model, slots, contextLength, threads }: ServerShape, build: LoquiBuild): Promise<Side> {
  const config = join(benchFolder, "chat.yaml");
  const parameters = { n_ctx: contextLength, sequences: slots, threads, batch_size: batchSize };
  const entry = { id: "bench", type: "chat", engine: "llama.cpp", source: { path: model }, preload: true, parameters };
  writeFileSync(config, JSON.stringify({ models: [entry] }));
  const checkout = build === "openmp" ? root : withoutLocalBuild();
  const server = await spawnLoqui(["--config", config, "--models", "bench"], { checkout });
  process.once("exit", () => server.process.kill());
  const front = server.process.pid ?? 0;
  await untilAnswers(`${server.url}/readyz`);
  const [worker = 0] = childrenOf(front);
  return {
    name: `loqui (${build})`,
    url: server.url,
    processes: { front, worker, client: process.pid },
    stop: server.stop,
  };
}

/** A copy of the sources that has no `llama` folder, so that the engine takes the binary from npm. */
function withoutLocalBuild(): string {
  const folder = join(benchFolder, "plain-install");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const part of ["gen", "proto", "src", "package.json"]) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  return folder;
}

async function startLlamaServer(
  program: string,
  { model, slots, contextLength, threads }: ServerShape,
  peer: PeerBuild,
): Promise<Side> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const flags = {
    model,
    host: "127.0.0.1",
    port,
    // Of all slots together: each has its part, as in loqui.
    "ctx-size": slots * contextLength,
    parallel: slots,
    threads,
    "threads-batch": threads,
    "batch-size": batchSize,
    "ubatch-size": batchSize,
    "flash-attn": "auto",
    // Prompts that left their slot would be kept in RAM; loqui has no such cache.
    "cache-ram": 0,
    fit: "off",
    "log-verbosity": 1,
  };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(program, [...args, "--no-kv-unified", "--no-ui", "--no-slots"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  process.once("exit", () => child.kill());
  const stop = () => stopProcess(child);
  try {
    await untilAnswers(`${url}/health`, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name: `llama-server (${peer})`,
    url,
    processes: { server: child.pid ?? 0, client: process.pid },
    stop,
  };
}

async function untilAnswers(url: string, child?: ChildProcess): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const ok = await fetch(url).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    if (child?.exitCode != null) throw new Error(`llama-server ended with ${child.exitCode} while it started`);
    if (performance.now() > deadline) throw new Error(`${url} did not answer within a minute`);
    await new Promise((wake) => setTimeout(wake, 100));
  }
}
