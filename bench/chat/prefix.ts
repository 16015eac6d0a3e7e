import { figure, ratio } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import { line } from "./report.ts";
import type { Side } from "./sides.ts";
import { newContent, type Stream, stream } from "./stream.ts";

interface Sample {
  readonly firstMs: number;
  /** The second request's first token, after the first has ended. */
  readonly afterMs: number;
  /** The same for another prefix, while the first generates. */
  readonly besideMs: number;
}

/** What a prefix that was evaluated already saves the next request. */
export async function benchPrefix(
  sides: readonly Side[],
  { prefixTokens, rounds }: { readonly prefixTokens: number; readonly rounds: number },
): Promise<void> {
  console.log(`two requests with a common prefix of ${prefixTokens} tokens, ${rounds} rounds`);
  const results = await measureInTurn(sides, rounds, ({ url }) => measure(url, prefixTokens));
  for (const [index, side] of sides.entries()) {
    const own = results[index] ?? [];
    const [first, after, beside] = (["firstMs", "afterMs", "besideMs"] as const).map((name) =>
      own.map((sample) => sample[name]),
    ) as [number[], number[], number[]];
    const part = (times: readonly number[]) => `${figure(times, 0)} ms, ${(ratio(times, first) * 100).toFixed(1)} %`;
    line(
      side,
      `first token of the first ${figure(first, 0)} ms; of the second, when the first has ended ${part(after)}; while it generates ${part(beside)}`,
    );
  }
}

async function measure(url: string, prefixTokens: number): Promise<Sample> {
  const one = newContent(prefixTokens);
  const first = await stream(url, { content: `${one} What is this?`, tokens: 4 });
  const after = await stream(url, { content: `${one} Who says so?`, tokens: 4 });

  const other = newContent(prefixTokens);
  let second: Promise<Stream> | undefined;
  let done = false;
  await stream(url, {
    content: `${other} What is this?`,
    // It ends when the second has its first token.
    tokens: 1_900,
    onChunks(chunks) {
      if (chunks >= 8) {
        second ??= stream(url, { content: `${other} Who says so?`, tokens: 4 }).finally(() => {
          done = true;
        });
      }
      return !done;
    },
  });
  if (second === undefined) throw new Error("the first ended before the second was sent");
  return { firstMs: first.firstTokenMs, afterMs: after.firstTokenMs, besideMs: (await second).firstTokenMs };
}
