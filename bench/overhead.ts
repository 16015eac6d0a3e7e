/**
 * What the server costs: tokens per second and time to first token through REST
 * (SSE) and gRPC, against a bare loop over the same engine, on a random model
 * of 135 million parameters (Q8_0) at 1, 4 and 16 streams.
 *
 *   npm run bench -- overhead [--rounds 5] [--tokens 128] [--streams 1,4,16] [--threads 2]
 *
 * Each round runs the loop, REST and gRPC in turn, in another order each time;
 * the loop has a process of its own with the worker's environment. Prompts
 * differ in their first words, so that no prefix is cached. Reported are the
 * medians over the rounds, of the figures and of each round's ratio.
 */
import { fork } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { addonEnvironment } from "../src/engines/llama/addon-file.ts";
import { shape135M, writeRandomModel } from "../test/support/gguf-random-model.ts";
import { type SpawnedLoqui, spawnLoqui } from "../test/support/spawned-loqui.ts";
import { grpcClient, promptTokens, restClient, type StreamTimes } from "./overhead/clients.ts";
import type { LoopOrder, LoopReport } from "./overhead/engine-loop.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    tokens: { type: "string", default: "128" },
    streams: { type: "string", default: "1,4,16" },
    threads: { type: "string", default: "2" },
  },
});
const rounds = Number(values.rounds);
const tokens = Number(values.tokens);
const streamCounts = values.streams.split(",").map(Number);
const { threads } = values;

const folder = join(tmpdir(), "loqui-bench");
mkdirSync(folder, { recursive: true });
const model = join(folder, "random-135m-q8_0.gguf");
if (!existsSync(model)) writeRandomModel(model, shape135M);

interface Sample {
  readonly tokensPerSecond: number;
  readonly firstTokenMs: number;
}

const loop = fork(join(import.meta.dirname, "overhead/engine-loop.ts"), [model, threads], {
  env: { ...process.env, ...addonEnvironment() },
});
await new Promise((ready) => loop.once("message", ready));
const server = await startServer();
const content = (run: number) => `${run.toString(36).padStart(6, "0")} ${"the server is running ".repeat(4)}`;
let run = 0;
const length = await promptTokens(server.url, content(run++));
console.log(`prompt ${length} tokens, ${tokens} generated, ${rounds} rounds, ${threads} threads`);

const sides = {
  loop: (streams: number) => measureLoop(streams),
  rest: (streams: number) => measureClient(streams, restClient(server.url)),
  grpc: (streams: number) => measureClient(streams, grpcClient(server.url)),
};
type Side = keyof typeof sides;
const names = Object.keys(sides) as Side[];

for (const streams of streamCounts) {
  for (const side of names) await sides[side](streams);
  const samples: Record<Side, Sample[]> = { loop: [], rest: [], grpc: [] };
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const side = names[(round + turn) % names.length] as Side;
      samples[side].push(await sides[side](streams));
    }
  }
  const speed = (side: Side) => median(samples[side].map((sample) => sample.tokensPerSecond));
  const first = (side: Side) => median(samples[side].map((sample) => sample.firstTokenMs));
  const ratio = (side: Side) =>
    median(samples[side].map((sample, i) => sample.tokensPerSecond / (samples.loop[i]?.tokensPerSecond ?? Number.NaN)));
  const later = (side: Side) =>
    median(samples[side].map((sample, i) => sample.firstTokenMs - (samples.loop[i]?.firstTokenMs ?? Number.NaN)));
  console.log(
    `${String(streams).padStart(2)} streams  loop ${speed("loop").toFixed(1)} tok/s, first ${first("loop").toFixed(1)} ms`,
  );
  for (const side of ["rest", "grpc"] as const) {
    console.log(
      `            ${side} ${speed(side).toFixed(1)} tok/s (${ratio(side).toFixed(3)}×), first ${first(side).toFixed(1)} ms (${later(side) >= 0 ? "+" : ""}${later(side).toFixed(1)} ms)`,
    );
  }
}
loop.disconnect();
await server.stop();
process.exit(0);

async function measureLoop(streams: number): Promise<Sample> {
  const order: LoopOrder = { streams, tokens, promptTokens: length, first: run };
  run += streams;
  const report = new Promise<LoopReport>((done) => loop.once("message", (message) => done(message as LoopReport)));
  loop.send(order);
  const { elapsedMs, firstTokenMs } = await report;
  return { tokensPerSecond: (streams * tokens * 1000) / elapsedMs, firstTokenMs: median(firstTokenMs) };
}

async function measureClient(
  streams: number,
  ask: (content: string, tokens: number) => Promise<StreamTimes>,
): Promise<Sample> {
  const started = performance.now();
  const times = await Promise.all(Array.from({ length: streams }, () => ask(content(run++), tokens)));
  const elapsedMs = performance.now() - started;
  const generated = times.reduce((sum, time) => sum + time.tokens, 0);
  if (generated !== streams * tokens) throw new Error(`${generated} tokens instead of ${streams * tokens}`);
  return {
    tokensPerSecond: (generated * 1000) / elapsedMs,
    firstTokenMs: median(times.map((time) => time.firstTokenMs)),
  };
}

function startServer(): Promise<SpawnedLoqui> {
  const config = join(folder, "models.yaml");
  const entry = { id: "m135", type: "chat", engine: "llama.cpp", source: { path: model }, preload: true };
  const parameters = { n_ctx: 1024, sequences: 16, threads: Number(threads) };
  writeFileSync(config, JSON.stringify({ models: [{ ...entry, parameters }] }));
  return spawnLoqui(["--config", config, "--models", "m135"]);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
