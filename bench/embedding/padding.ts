import { createBatcher } from "../../src/worker/batcher.ts";
import type { BenchText } from "./texts.ts";

/** Multiply-adds of MiniLM's shape: per token, and in attention per pair of tokens. */
const [perToken, perPair] = [6 * 12 * 384 * 384, 6 * 2 * 384];

/**
 * What part of the batches is padding, where so many requests of one text each
 * wait all the time: of the tokens in attention, the only part that is padded,
 * and of all multiply-adds of MiniLM's shape. Computes nothing.
 */
export async function reportPadding(
  texts: readonly BenchText[],
  concurrency: number,
  batchTokens: number,
): Promise<void> {
  const real = { tokens: 0, pairs: 0 };
  const padded = { tokens: 0, pairs: 0 };
  let batches = 0;
  const batcher = createBatcher<BenchText & { readonly length: number }>(
    1,
    async (rows) => {
      const longest = Math.max(...rows.map(({ length }) => length));
      batches += 1;
      for (const { length } of rows) {
        real.tokens += length;
        real.pairs += length * length;
        padded.tokens += longest;
        padded.pairs += longest * longest;
      }
      await new Promise(setImmediate);
      return new Float32Array(rows.length);
    },
    { batchTokens, maxRequests: concurrency, maxTokens: 1_000_000 },
  );
  const next = texts.values();
  const { signal } = new AbortController();
  async function ask(): Promise<void> {
    for (const text of next) await batcher.run({ rows: [{ ...text, length: text.tokens }], tenant: "" }, signal);
  }
  await Promise.all(Array.from({ length: concurrency }, ask));
  const work = real.tokens * perToken;
  const percent = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)} %`;
  console.log(
    `${concurrency} at a time: ${(texts.length / batches).toFixed(1)} texts a batch; padding is ` +
      `${percent(padded.tokens - real.tokens, padded.tokens)} of attention's tokens, ` +
      `${percent((padded.pairs - real.pairs) * perPair, work + padded.pairs * perPair)} of all multiply-adds`,
  );
}
