import { cpuMeter } from "../support/cpu-meter.ts";
import { figure, median, ratio } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import type { Side } from "./sides.ts";
import type { BenchText } from "./texts.ts";

interface Sample {
  readonly textsPerSecond: number;
  /** The 95th percentile of the requests' times. */
  readonly p95Ms: number;
  /** CPU time of the server per text, all its processes together, in milliseconds. */
  readonly cpuMs: number;
}

/** Requests of one text each, so many at a time; each side has the same ones in the same order. */
export async function benchRequests(
  sides: readonly Side[],
  shape: { readonly texts: readonly BenchText[]; readonly concurrency: number; readonly rounds: number },
): Promise<void> {
  const { texts, concurrency, rounds } = shape;
  const tokens = texts.reduce((sum, text) => sum + text.tokens, 0) / texts.length;
  // What is compiled or allocated at the first call of a shape.
  for (const side of sides) await measure(side, texts.slice(0, 2 * concurrency), concurrency);
  const results = await measureInTurn(sides, rounds, (side) => measure(side, texts, concurrency));
  console.log(`${concurrency} at a time, ${texts.length} texts of ${tokens.toFixed(0)} tokens, ${rounds} rounds`);
  const first = results[0] ?? [];
  for (const [index, side] of sides.entries()) {
    const own = results[index] ?? [];
    const of = (key: keyof Sample) => own.map((sample) => sample[key]);
    const against = (key: keyof Sample) =>
      `${ratio(
        of(key),
        first.map((sample) => sample[key]),
      ).toFixed(2)}×`;
    console.log(
      `  ${side.name.padEnd(22)} ${figure(of("textsPerSecond"))} texts/s ${against("textsPerSecond")}; ` +
        `p95 ${figure(of("p95Ms"), 0)} ms ${against("p95Ms")}; CPU ms a text ${figure(of("cpuMs"))} ${against("cpuMs")}`,
    );
  }
}

async function measure(side: Side, texts: readonly BenchText[], concurrency: number): Promise<Sample> {
  const cpu = cpuMeter(side.processes);
  const times: number[] = [];
  const next = texts.values();
  const started = performance.now();
  async function ask(): Promise<void> {
    for (const { text } of next) {
      const asked = performance.now();
      await side.ask([text]);
      times.push(performance.now() - asked);
    }
  }
  await Promise.all(Array.from({ length: concurrency }, ask));
  const elapsedMs = performance.now() - started;
  times.sort((a, b) => a - b);
  return {
    textsPerSecond: (texts.length * 1000) / elapsedMs,
    p95Ms: times[Math.ceil(times.length * 0.95) - 1] ?? median(times),
    cpuMs: Object.values(cpu(texts.length)).reduce((sum, ms) => sum + ms, 0),
  };
}
