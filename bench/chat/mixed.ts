import { figure, median, ratio } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import { line } from "./report.ts";
import type { Side } from "./sides.ts";
import { newContent, stream } from "./stream.ts";

/** Requests of each client in a round. */
const requestsEach = 4;

/**
 * Clients that each send one request after the other, of lengths all their own:
 * generations end and begin at any time, as they do on a server that people use.
 * Generated tokens per second over all, and the median time to the first token.
 */
export async function benchMixed(
  sides: readonly Side[],
  { clients, rounds }: { readonly clients: number; readonly rounds: number },
): Promise<void> {
  const orders = Array.from({ length: clients * requestsEach }, (_, at) => ({
    // From 16 to 256 and from 8 to 128 tokens, evenly spread over their logarithms by the golden ratio and the root of 2.
    promptTokens: Math.round(16 * 16 ** ((at * 0.618_034) % 1)),
    tokens: Math.round(8 * 16 ** ((at * 0.414_214) % 1)),
  }));
  const generated = orders.reduce((sum, { tokens }) => sum + tokens, 0);
  const measure = async ({ url }: Side) => {
    const firstMs: number[] = [];
    const left = orders.values();
    const started = performance.now();
    const client = async () => {
      for (const { promptTokens, tokens } of left) {
        const { firstTokenMs } = await stream(url, { content: newContent(promptTokens), tokens });
        firstMs.push(firstTokenMs);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    return { tokensPerSecond: (generated * 1000) / (performance.now() - started), firstMs: median(firstMs) };
  };
  await measureInTurn(sides, 1, measure);
  console.log(
    `${clients} clients, ${orders.length} requests of other lengths each, ${generated} tokens, ${rounds} rounds`,
  );
  const results = await measureInTurn(sides, rounds, measure);
  const peer = results.at(-1) ?? [];
  for (const [index, side] of sides.entries()) {
    const own = results[index] ?? [];
    const told = (key: "tokensPerSecond" | "firstMs", digits?: number) => {
      const [values, others] = [own, peer].map((samples) => samples.map((sample) => sample[key])) as [
        number[],
        number[],
      ];
      return { figure: figure(values, digits), times: `${ratio(values, others).toFixed(3)}×` };
    };
    const [speed, first] = [told("tokensPerSecond"), told("firstMs", 0)];
    line(side, `${speed.figure} tok/s, ${speed.times}; first token ${first.figure} ms, ${first.times}`);
  }
}
