import { figure, median } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import { line } from "./report.ts";
import type { Side } from "./sides.ts";
import { newContent, stream } from "./stream.ts";

interface Sample {
  /** The longest time without text while the other prompt was evaluated, and the median one before. */
  readonly longestMs: number;
  readonly usualMs: number;
  /** The other prompt's. */
  readonly firstTokenMs: number;
}

/** How long a stream stands still while another request with a long prompt comes in. */
export async function benchGap(
  sides: readonly Side[],
  { promptTokens, rounds }: { readonly promptTokens: number; readonly rounds: number },
): Promise<void> {
  console.log(`a stream while a prompt of ${promptTokens} tokens comes in, ${rounds} rounds`);
  const results = await measureInTurn(sides, rounds, ({ url }) => measure(url, promptTokens));
  for (const [index, side] of sides.entries()) {
    const own = results[index] ?? [];
    line(
      side,
      `longest gap ${figure(
        own.map((sample) => sample.longestMs),
        0,
      )} ms, usually ${figure(own.map((sample) => sample.usualMs))} ms; the prompt's first token ${figure(
        own.map((sample) => sample.firstTokenMs),
        0,
      )} ms`,
    );
  }
}

async function measure(url: string, promptTokens: number): Promise<Sample> {
  let long: Promise<{ readonly askedAt: number; readonly firstTokenMs: number }> | undefined;
  let done = false;
  const running = await stream(url, {
    content: newContent(32),
    // It ends when the other has its first token.
    tokens: 4_000,
    onChunks(chunks) {
      if (chunks >= 16 && long === undefined) {
        const askedAt = performance.now();
        long = stream(url, { content: newContent(promptTokens), tokens: 4 }).then(({ firstTokenMs }) => {
          done = true;
          return { askedAt, firstTokenMs };
        });
      }
      return !done;
    },
  });
  if (long === undefined) throw new Error("the stream ended before the long prompt was sent");
  const { askedAt, firstTokenMs } = await long;
  const gaps = running.arrivals.slice(1).map((time, i) => ({ time, ms: time - (running.arrivals[i] ?? time) }));
  return {
    longestMs: Math.max(...gaps.filter(({ time }) => time > askedAt).map(({ ms }) => ms)),
    usualMs: median(gaps.filter(({ time }) => time <= askedAt).map(({ ms }) => ms)),
    firstTokenMs,
  };
}
