/**
 * What the server costs: tokens per second and time to first token through REST
 * (SSE) and gRPC, against a bare loop over the same engine, on a random model
 * of 135 million parameters (Q8_0) at 1, 4 and 16 streams.
 *
 *   npm run bench -- overhead [--rounds 6] [--tokens 128] [--streams 1,4,16] [--threads 2] [--against CHECKOUT]
 *
 * Each round runs the loop, REST and gRPC in turn, in another order each time;
 * the loop has a process of its own with the worker's environment. Prompts
 * differ in their first words, so that no prefix is cached. Reported are the
 * medians over the rounds, of the figures and of each round's ratio, and the
 * speed of each side's best round: a busy machine slows any round down, and
 * speeds none up. With
 * `--against`, another checkout's server (installed, and built by `npm run
 * build:llama` if this one is) is measured in the same rounds.
 */
import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { addonEnvironment } from "../src/engines/llama/addon-file.ts";
import { childrenOf } from "../test/support/processes.ts";
import { type SpawnedLoqui, spawnLoqui } from "../test/support/spawned-loqui.ts";
import { benchFolder, randomModel } from "./models/random-models.ts";
import { grpcClient, promptTokens, restClient, type StreamTimes } from "./overhead/clients.ts";
import type { LoopOrder, LoopReport } from "./overhead/engine-loop.ts";
import { cpuMeter } from "./support/cpu-meter.ts";
import { median } from "./support/statistics.ts";
import { turns } from "./support/turns.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "6" },
    tokens: { type: "string", default: "128" },
    streams: { type: "string", default: "1,4,16" },
    threads: { type: "string", default: "2" },
    against: { type: "string" },
  },
});
const rounds = Number(values.rounds);
const tokens = Number(values.tokens);
const streamCounts = values.streams.split(",").map(Number);
const { threads } = values;

const model = randomModel("135m-q8_0");

interface Sample {
  readonly tokensPerSecond: number;
  readonly firstTokenMs: number;
  /** CPU time per token, by process, in milliseconds. */
  readonly cpuMs: Readonly<Record<string, number>>;
}

const loop = fork(join(import.meta.dirname, "overhead/engine-loop.ts"), [model, threads], {
  env: { ...process.env, ...addonEnvironment() },
});
await new Promise((ready) => loop.once("message", ready));
const servers = new Map<string, SpawnedLoqui>([["", await startServer(resolve(import.meta.dirname, ".."))]]);
if (values.against !== undefined) servers.set(" of the other", await startServer(resolve(values.against)));
const content = (run: number) => `${run.toString(36).padStart(6, "0")} ${"the server is running ".repeat(4)}`;
let run = 0;
let length = 0;
for (const { url } of servers.values()) length = await promptTokens(url, content(run++));
console.log(`prompt ${length} tokens, ${tokens} generated, ${rounds} rounds, ${threads} threads`);

const sides = new Map<string, (streams: number) => Promise<Sample>>([["loop", measureLoop]]);
for (const [name, server] of servers) {
  // Only now: a process that looks for the addon comes before the worker.
  const [worker] = childrenOf(server.process.pid ?? 0);
  const processes = { client: process.pid, front: server.process.pid, worker };
  for (const [protocol, client] of [
    ["REST", restClient],
    ["gRPC", grpcClient],
  ] as const) {
    const ask = client(server.url);
    sides.set(protocol + name, (streams) => measureClient(streams, ask, processes));
  }
}

for (const streams of streamCounts) {
  for (const measure of sides.values()) await measure(streams);
  const samples = new Map<string, Sample[]>([...sides.keys()].map((side) => [side, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [side, measure] of turns([...sides], round)) samples.get(side)?.push(await measure(streams));
  }
  const loops = samples.get("loop") ?? [];
  console.log(`${streams} streams`);
  for (const [side, own] of samples) {
    const speed = median(own.map((sample) => sample.tokensPerSecond));
    const best = (of: readonly Sample[]) => Math.max(...of.map((sample) => sample.tokensPerSecond));
    const first = median(own.map((sample) => sample.firstTokenMs));
    const ratio = median(own.map((sample, i) => sample.tokensPerSecond / (loops[i]?.tokensPerSecond ?? Number.NaN)));
    const later = median(own.map((sample, i) => sample.firstTokenMs - (loops[i]?.firstTokenMs ?? Number.NaN)));
    const cpu = Object.keys(own[0]?.cpuMs ?? {}).map(
      (name) => `${name} ${median(own.map(({ cpuMs }) => cpuMs[name] ?? Number.NaN)).toFixed(2)}`,
    );
    console.log(
      `  ${side.padEnd(18)} ${speed.toFixed(1)} tok/s (${ratio.toFixed(3)}×), best ${best(own).toFixed(1)} (${(best(own) / best(loops)).toFixed(3)}×), first token ${first.toFixed(1)} ms (${later >= 0 ? "+" : ""}${later.toFixed(1)}), CPU ms a token: ${cpu.join(", ")}`,
    );
  }
}
loop.disconnect();
for (const server of servers.values()) await server.stop();
process.exit(0);

async function measureLoop(streams: number): Promise<Sample> {
  const order: LoopOrder = { streams, tokens, promptTokens: length, first: run };
  run += streams;
  const report = new Promise<LoopReport>((done) => loop.once("message", (message) => done(message as LoopReport)));
  const cpu = cpuMeter({ loop: loop.pid });
  loop.send(order);
  const { elapsedMs, firstTokenMs } = await report;
  return {
    tokensPerSecond: (streams * tokens * 1000) / elapsedMs,
    firstTokenMs: median(firstTokenMs),
    cpuMs: cpu(streams * tokens),
  };
}

async function measureClient(
  streams: number,
  ask: (content: string, tokens: number) => Promise<StreamTimes>,
  processes: Readonly<Record<string, number | undefined>>,
): Promise<Sample> {
  const cpu = cpuMeter(processes);
  const started = performance.now();
  const times = await Promise.all(Array.from({ length: streams }, () => ask(content(run++), tokens)));
  const elapsedMs = performance.now() - started;
  const generated = times.reduce((sum, time) => sum + time.tokens, 0);
  if (generated !== streams * tokens) throw new Error(`${generated} tokens instead of ${streams * tokens}`);
  return {
    tokensPerSecond: (generated * 1000) / elapsedMs,
    firstTokenMs: median(times.map((time) => time.firstTokenMs)),
    cpuMs: cpu(generated),
  };
}

function startServer(checkout: string): Promise<SpawnedLoqui> {
  const config = join(benchFolder, "models.yaml");
  const entry = { id: "m135", type: "chat", engine: "llama.cpp", source: { path: model }, preload: true };
  const parameters = { n_ctx: 1024, sequences: 16, threads: Number(threads) };
  writeFileSync(config, JSON.stringify({ models: [{ ...entry, parameters }] }));
  return spawnLoqui(["--config", config, "--models", "m135"], { checkout });
}
