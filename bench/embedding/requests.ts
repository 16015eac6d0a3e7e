import { wholeCpuTimeMs } from "../../test/support/processes.ts";
import { cpuMeter } from "../support/cpu-meter.ts";
import { figure, median, ratio } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import type { Side } from "./sides.ts";

interface Sample {
  readonly perSecond: number;
  /** The 95th percentile of the requests' times. */
  readonly p95Ms: number;
  /** CPU time of the server per text or whatever is counted, all its processes together, in milliseconds. */
  readonly cpuMs: number;
}

/** Requests, so many at a time; each side has the same ones in the same order. */
export async function benchRequests(
  sides: readonly Side[],
  shape: {
    readonly requests: readonly (readonly string[])[];
    /** What each of them counts for, e.g. 1 for one text. */
    readonly each: number;
    /** What is counted, e.g. `texts`. */
    readonly unit: string;
    readonly concurrency: number;
    readonly rounds: number;
  },
): Promise<void> {
  const { requests, each, unit, concurrency, rounds } = shape;
  for (const side of sides) await warmUp(side, requests, each, concurrency);
  const results = await measureInTurn(sides, rounds, (side) => measure(side, requests, each, concurrency));
  console.log(`${concurrency} at a time, ${requests.length} requests, ${rounds} rounds`);
  const first = results[0] ?? [];
  for (const [index, side] of sides.entries()) {
    const own = results[index] ?? [];
    const told = (key: keyof Sample, digits?: number) => {
      const [values, others] = [own, first].map((samples) => samples.map((sample) => sample[key])) as [
        number[],
        number[],
      ];
      return `${figure(values, digits)} ${ratio(values, others).toFixed(2)}×`;
    };
    console.log(
      `  ${side.name.padEnd(22)} ${unit}/s ${told("perSecond")}; p95 ms ${told("p95Ms", 0)}; CPU ms each ${told("cpuMs")}`,
    );
  }
}

/** A server that has run for a while: JavaScript is compiled as it is used, memory allocated at the first call of a shape. */
const warmUpRequests = 500;
const warmUpMs = 10_000;

async function warmUp(
  side: Side,
  requests: readonly (readonly string[])[],
  each: number,
  concurrency: number,
): Promise<void> {
  await measure(side, requests.slice(0, concurrency), each, concurrency);
  const length = (texts: readonly string[]) => texts.reduce((sum, text) => sum + text.length, 0);
  const [shortest] = requests.toSorted((a, b) => length(a) - length(b));
  if (shortest === undefined) return;
  const until = performance.now() + warmUpMs;
  for (let sent = 0; sent < warmUpRequests && performance.now() < until; sent += 1) await side.ask(shortest);
}

async function measure(
  side: Side,
  requests: readonly (readonly string[])[],
  each: number,
  concurrency: number,
): Promise<Sample> {
  // A peer's threads come and go.
  const cpu = cpuMeter(side.processes, wholeCpuTimeMs);
  const times: number[] = [];
  const next = requests.values();
  const started = performance.now();
  async function ask(): Promise<void> {
    for (const texts of next) {
      const asked = performance.now();
      await side.ask(texts);
      times.push(performance.now() - asked);
    }
  }
  await Promise.all(Array.from({ length: concurrency }, ask));
  const elapsedMs = performance.now() - started;
  times.sort((a, b) => a - b);
  const count = requests.length * each;
  return {
    perSecond: (count * 1000) / elapsedMs,
    p95Ms: times[Math.ceil(times.length * 0.95) - 1] ?? median(times),
    cpuMs: Object.values(cpu(count)).reduce((sum, ms) => sum + ms, 0),
  };
}
