/**
 * Slow readers: a thousand open streams, all read, and the same with a hundred
 * that are never read, in turn. Prints the memory of the front and the pace of
 * the nine hundred others, which is compared between the two.
 *
 *   npm run bench -- slow-readers [--streams 1000] [--silent 100] [--tokens 400] [--rounds 3] [--sequences 128]
 *
 * A random model of 0.4 million parameters, so that it is the server that is
 * measured. Half of the silent ones are HTTP/2 streams whose window stays shut,
 * so that nothing leaves the server; the others are HTTP/1.1 connections, of
 * which the kernel takes its part. The clients are this process.
 */
import { connect, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { tinyShape } from "../test/support/gguf-random-model.ts";
import { frame } from "../test/support/http2-frames.ts";
import { residentBytes } from "../test/support/processes.ts";
import { modelId, startRandomModel } from "./support/random-server.ts";

const { values } = parseArgs({
  options: {
    streams: { type: "string", default: "1000" },
    silent: { type: "string", default: "100" },
    tokens: { type: "string", default: "400" },
    rounds: { type: "string", default: "3" },
    sequences: { type: "string", default: "128" },
  },
});
const streams = Number(values.streams);
const silentCount = Number(values.silent);
const tokens = Number(values.tokens);

const parameters = { n_ctx: 1024, sequences: Number(values.sequences), max_queue: streams, threads: 1 };
await using server = await startRandomModel(tinyShape, parameters, ["--stall-seconds", "600"]);
const { hostname, port } = new URL(server.url);
const buffer = Buffer.alloc(64 * 1024);
let asked = 0;

interface Reading {
  /** From the first to the last token, a token, in milliseconds. */
  readonly tokenMs: number;
}

function body(): string {
  const content = `${(asked++).toString(36)} is running`;
  const messages = [{ role: "user", content }];
  return JSON.stringify({ model: modelId, messages, max_tokens: tokens, ignore_eos: true, stream: true });
}

function http1(json: string): string {
  const head = [
    "POST /v1/chat/completions HTTP/1.1",
    `host: ${hostname}`,
    "content-type: application/json",
    `content-length: ${json.length}`,
  ];
  return `${head.join("\r\n")}\r\n\r\n${json}`;
}

function read(): Promise<Reading> {
  return new Promise((resolve, reject) => {
    let first: number | undefined;
    let tail = "";
    const callback = (length: number) => {
      first ??= performance.now();
      tail = (tail + buffer.toString("latin1", Math.max(0, length - 64), length)).slice(-64);
      if (tail.endsWith("\r\n0\r\n\r\n")) {
        if (!tail.includes("[DONE]")) reject(new Error(tail));
        resolve({ tokenMs: (performance.now() - first) / tokens });
        socket.destroy();
      }
      return true;
    };
    const socket = connect({ host: hostname, port: Number(port), onread: { buffer, callback } });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`a stream was broken off: ${tail}`)));
    socket.write(http1(body()));
  });
}

/** A stream that is never read. */
function silent(index: number): Socket {
  // The first bytes, if only of HTTP/2's settings, are taken; then no more is read.
  const onread = { buffer: Buffer.alloc(1), callback: () => false };
  const socket = connect({ host: hostname, port: Number(port), onread });
  socket.on("error", () => {});
  const json = body();
  if (index % 2 === 0) socket.write(http1(json));
  else {
    const path = "/v1/chat/completions";
    const headers = { ":method": "POST", ":scheme": "http", ":path": path, ":authority": hostname };
    const all = { ...headers, "content-type": "application/json" };
    socket.write(Buffer.concat([frame.shut(), frame.headers(1, all), frame.data(1, Buffer.from(json))]));
  }
  return socket;
}

/** Resident memory of the server's own process, in MiB. */
function residentMiB(): number {
  return residentBytes(server.process.pid ?? 0) / 2 ** 20;
}

/** Its heap and buffers, in MiB, as /metrics has them. */
async function heapMiB(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const of = (name: string) => Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, "m").exec(text)?.[1]) / 2 ** 20;
  return of("nodejs_heap_size_used_bytes") + of("nodejs_external_memory_bytes");
}

/** The first hundred are silent or not; they come first in both, so that the others have the same places in the queue. */
async function measure(areSilent: boolean): Promise<void> {
  const started = performance.now();
  const sockets = areSilent ? Array.from({ length: silentCount }, (_, index) => silent(index)) : [];
  const alsoRead = areSilent ? [] : Array.from({ length: silentCount }, read);
  const readings = Array.from({ length: streams - silentCount }, read);
  let peak = 0;
  let heap = 0;
  const watch = setInterval(async () => {
    peak = Math.max(peak, residentMiB());
    heap = Math.max(heap, await heapMiB().catch(() => 0));
  }, 500);
  const times = (await Promise.all(readings)).map(({ tokenMs }) => tokenMs).sort((a, b) => a - b);
  await Promise.all(alsoRead);
  clearInterval(watch);
  const elapsed = (performance.now() - started) / 1_000;
  const at = (part: number) => (times[Math.floor(part * (times.length - 1))] ?? Number.NaN).toFixed(2);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  console.log(
    `${areSilent ? silentCount : 0} silent: the ${times.length} others ms a token ${mean.toFixed(2)} in mean, ${at(0.5)} in median, p10 ${at(0.1)}, p90 ${at(0.9)}; ${elapsed.toFixed(1)} s in all; front at most ${peak.toFixed(0)} MiB resident, ${heap.toFixed(0)} MiB heap and buffers`,
  );
  for (const socket of sockets) socket.destroy();
  await new Promise((done) => setTimeout(done, 1_000));
}

await measure(false);
for (let round = 0; round < Number(values.rounds); round++) {
  await measure(false);
  await measure(true);
}
