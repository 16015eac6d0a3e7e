/**
 * Overload: ten times as many requests as the model can answer, for a minute.
 *
 *   npm run bench -- overload [--seconds 60] [--factor 10] [--tokens 32] [--threads 2] [--model 135m|tiny]
 *
 * Capacity is measured before and after, by clients that always have requests
 * waiting. Under overload requests come at even intervals, whatever becomes of
 * the earlier ones. Prints the goodput (answers a second) as a part of the
 * capacity, and how long the refused had to wait for their 429. The clients are
 * this process, on the same machine.
 */
import { Agent, request } from "node:http";
import { parseArgs } from "node:util";
import { shape135M, tinyShape } from "../test/support/gguf-random-model.ts";
import { childrenOf, cpuTimeMs } from "../test/support/processes.ts";
import { modelId, startRandomModel } from "./support/random-server.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    factor: { type: "string", default: "10" },
    tokens: { type: "string", default: "32" },
    threads: { type: "string", default: "2" },
    model: { type: "string", default: "135m" },
  },
});
const seconds = Number(values.seconds);
const sequences = 4;
const maxQueue = 16;

await using server = await startRandomModel(values.model === "tiny" ? tinyShape : shape135M, {
  n_ctx: 512,
  sequences,
  max_queue: maxQueue,
  threads: Number(values.threads),
});
const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
let asked = 0;

interface Outcome {
  readonly status: number;
  readonly ms: number;
  readonly endedAt: number;
}

/** One request, with a prompt that no cache holds. */
function ask(): Promise<Outcome> {
  const content = `${(asked++).toString(36).padStart(6, "0")} ${"the server is running ".repeat(4)}`;
  const body = JSON.stringify({
    model: modelId,
    messages: [{ role: "user", content }],
    max_tokens: Number(values.tokens),
    ignore_eos: true,
  });
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const call = request(`${server.url}/v1/chat/completions`, {
      method: "POST",
      agent,
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    });
    call.on("error", reject);
    call.on("response", (response) => {
      response.resume();
      response.on("end", () => {
        const endedAt = performance.now();
        resolve({ status: response.statusCode ?? 0, ms: endedAt - started, endedAt });
      });
    });
    call.end(body);
  });
}

/** Answers a second with `sequences + 8` requests in flight all the time. */
async function capacity(): Promise<number> {
  const until = performance.now() + Math.max(seconds / 4, 5) * 1_000;
  const started = performance.now();
  let answered = 0;
  const client = async () => {
    while (performance.now() < until) {
      const { status, endedAt } = await ask();
      if (status !== 200) throw new Error(`status ${status} below the capacity`);
      if (endedAt < until) answered += 1;
    }
  };
  await Promise.all(Array.from({ length: sequences + 8 }, client));
  return (answered * 1_000) / (until - started);
}

async function overload(rate: number): Promise<Outcome[]> {
  const started = performance.now();
  const pending: Promise<Outcome>[] = [];
  for (let sent = 0; ; ) {
    const due = Math.floor(((performance.now() - started) / 1_000) * rate);
    for (; sent < due; sent++) pending.push(ask());
    if (performance.now() - started >= seconds * 1_000) break;
    await new Promise((done) => setTimeout(done, 2));
  }
  const endedBy = started + seconds * 1_000;
  // Those that still wait when the minute is over are not of it.
  return (await Promise.all(pending)).filter(({ endedAt }) => endedAt <= endedBy);
}

await Promise.all(Array.from({ length: sequences }, ask));
const front = server.process.pid ?? 0;
const worker = childrenOf(front).at(-1) ?? 0;
const before = await capacity();
const cpuBefore = { front: cpuTimeMs(front), worker: cpuTimeMs(worker), client: cpuTimeMs(process.pid) };
const rate = before * Number(values.factor);
const outcomes = await overload(rate);
const cpu = Object.entries(cpuBefore).map(([name, ms]) => {
  const pid = name === "front" ? front : name === "worker" ? worker : process.pid;
  return `${name} ${((cpuTimeMs(pid) - ms) / seconds / 10).toFixed(0)} %`;
});
const after = await capacity();

const answered = outcomes.filter(({ status }) => status === 200);
const refused = outcomes.filter(({ status }) => status === 429).map(({ ms }) => ms);
const others = outcomes.length - answered.length - refused.length;
const goodput = answered.length / seconds;
console.log(`capacity ${before.toFixed(2)} before, ${after.toFixed(2)} answers a second after`);
console.log(`offered ${rate.toFixed(1)} a second for ${seconds} s; CPU: ${cpu.join(", ")}`);
console.log(
  `goodput ${goodput.toFixed(2)} answers a second, ${((200 * goodput) / (before + after)).toFixed(1)} % of the capacity`,
);
console.log(
  `refused ${refused.length} in median ${quantile(refused, 0.5)} ms, p90 ${quantile(refused, 0.9)} ms, p99 ${quantile(refused, 0.99)} ms, at most ${quantile(refused, 1)} ms; other outcomes ${others}`,
);
agent.destroy();

function quantile(samples: readonly number[], part: number): string {
  const sorted = samples.toSorted((a, b) => a - b);
  return (sorted[Math.min(Math.floor(part * sorted.length), sorted.length - 1)] ?? Number.NaN).toFixed(1);
}
