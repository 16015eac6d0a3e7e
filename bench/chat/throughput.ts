import { cpuMeter } from "../support/cpu-meter.ts";
import { figure, median, ratio } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import { line } from "./report.ts";
import type { Side } from "./sides.ts";
import { newContent, stream } from "./stream.ts";

interface Sample {
  readonly tokensPerSecond: number;
  readonly firstTokenMs: number;
  /** CPU time per token, by process, in milliseconds. */
  readonly cpuMs: Readonly<Record<string, number>>;
}

/** Streams of each server before any is timed: JavaScript is compiled as it is used, and a server runs for days. */
const warmUpStreams = 16;

/**
 * So many streams that begin together: generated tokens per second over all,
 * prompts included, and the median time to the first token.
 */
export async function benchThroughput(
  sides: readonly Side[],
  shape: { readonly streams: number; readonly promptTokens: number; readonly tokens: number; readonly rounds: number },
): Promise<void> {
  const { streams, tokens, rounds } = shape;
  const measure = async ({ url, processes }: Side): Promise<Sample & { readonly promptTokens: number }> => {
    const cpu = cpuMeter(processes);
    const started = performance.now();
    const answers = await Promise.all(
      Array.from({ length: streams }, () => stream(url, { content: newContent(shape.promptTokens), tokens })),
    );
    const elapsedMs = performance.now() - started;
    return {
      tokensPerSecond: (streams * tokens * 1000) / elapsedMs,
      firstTokenMs: median(answers.map((answer) => answer.firstTokenMs)),
      cpuMs: cpu(streams * tokens),
      promptTokens: answers[0]?.usage?.promptTokens ?? 0,
    };
  };
  const warm = await measureInTurn(sides, Math.ceil(warmUpStreams / streams), measure);
  const lengths = new Set(warm.map(([sample]) => sample?.promptTokens));
  if (lengths.size !== 1) throw new Error(`the same prompt has ${[...lengths].join(" and ")} tokens`);
  console.log(`${streams} streams, prompts of ${[...lengths].join()} tokens, ${tokens} generated, ${rounds} rounds`);
  const results = await measureInTurn(sides, rounds, measure);
  const peer = results.at(-1) ?? [];
  for (const [index, side] of sides.entries()) {
    const own = results[index] ?? [];
    const speed = (samples: readonly Sample[]) => samples.map((sample) => sample.tokensPerSecond);
    const first = (samples: readonly Sample[]) => samples.map((sample) => sample.firstTokenMs);
    const cpu = Object.keys(own[0]?.cpuMs ?? {}).map(
      (name) => `${name} ${median(own.map(({ cpuMs }) => cpuMs[name] ?? Number.NaN)).toFixed(2)}`,
    );
    line(
      side,
      `${figure(speed(own))} tok/s, ${ratio(speed(own), speed(peer)).toFixed(3)}×; first token ${figure(first(own), 0)} ms, ${ratio(first(own), first(peer)).toFixed(3)}×; CPU ms a token: ${cpu.join(", ")}`,
    );
  }
}
