import type { LlamaContext } from "./addon.ts";

/** What measuring may take beyond the first decode, which reads the weights from disk. */
const budgetMs = 400;

/** A decode of this time is not made faster by another thread: starting and joining it takes as long. */
const shortMs = 0.5;

/** Bytes of weights that a thread should have to read at least, or more threads are sure to be faster. */
const bytesPerThread = 2 ** 29;

/** Thread counts worth trying for a model: the powers of 2 up to the most, and the most; a large model's begin higher. */
export function threadCounts(most: number, sizeBytes: number): number[] {
  const counts: number[] = [];
  for (let threads = 1; threads < most; threads *= 2) {
    if (sizeBytes / threads <= bytesPerThread) counts.push(threads);
  }
  return [...counts, most];
}

/**
 * What part of the time more threads may take at most to be taken. A little
 * faster is noise where they stay, and they are better left to others. Threads
 * that are started anew for every decode lose more than that while a server
 * works beside them: 135 million parameters took 8.2 ms a token on one of two
 * cores, 6.7 on both, and behind the server 14 and 19. A batch computes for longer
 * each time: on two cores that are one's halves it takes 0.65 to 0.8 of the time,
 * and four streams have 1.5 times the tokens.
 */
const worthwhile = { token: { kept: 0.95, startedAnew: 0.75 }, batch: { kept: 0.95, startedAnew: 0.9 } };

/** Tokens of the batch that is measured: a prompt's threads have more to do for each start than those of one token. */
const batchTokens = 16;

/** Threads for decodes. */
export interface ThreadChoice {
  /** For one token: there is little to compute and all weights to read. */
  readonly token: number;
  /** For more than one: no fewer. */
  readonly batch: number;
}

/**
 * Finds which of some rising thread counts decodes one token fastest, and which
 * several, and leaves the context empty. Decodes at least once, so that the
 * weights are in memory before the first request. `batchSize` is the context's,
 * beyond which llama.cpp ends the process. `keepsThreads`: they stay from one
 * decode to the next.
 *
 * More is not better: without OpenMP threads are started anew for every
 * decode, and on a machine that is busy with something else they wait for each
 * other, which makes a small model a thousand times slower. So the first count
 * that is no faster than the one before ends the search.
 */
export async function chooseThreads(
  context: LlamaContext,
  counts: readonly number[],
  batchSize: number,
  keepsThreads: boolean,
): Promise<ThreadChoice> {
  const starts = keepsThreads ? "kept" : "startedAnew";
  const token = await fastestCount(context, counts, 1, worthwhile.token[starts]);
  const more = counts.filter((count) => count >= token);
  return {
    token,
    batch: await fastestCount(context, more, Math.min(batchTokens, batchSize), worthwhile.batch[starts]),
  };
}

/**
 * The count with which so many tokens are decoded fastest. Where there is but one
 * count nothing is measured; a single token is decoded all the same, once.
 */
async function fastestCount(
  context: LlamaContext,
  counts: readonly number[],
  length: number,
  share: number,
): Promise<number> {
  const tokens = new Uint32Array(length);
  const decode = async () => {
    const started = performance.now();
    try {
      await context.decode([{ sequence: 0, position: 0, tokens, logits: 1 }]);
    } finally {
      context.removeCells(0, -1);
    }
    return performance.now() - started;
  };
  let best = { threads: counts[0] ?? 1, ms: Number.POSITIVE_INFINITY };
  if (counts.length < 2 && length > 1) return best.threads;
  context.setThreads(best.threads);
  await decode();
  const deadline = performance.now() + budgetMs;
  for (const threads of counts.length > 1 ? counts : []) {
    context.setThreads(threads);
    const ms = await fastest(decode, best.ms, deadline);
    if (ms > best.ms * share) break;
    best = { threads, ms };
    if (ms < shortMs) break;
  }
  return best.threads;
}

/** The fastest of some decodes: two at least where there is time, ten at most. */
async function fastest(decode: () => Promise<number>, toBeat: number, deadline: number): Promise<number> {
  const start = performance.now();
  // The first with another number of threads starts them.
  let ms = await decode();
  for (let i = 1; i < 10 && performance.now() < deadline; i++) {
    if ((i >= 2 && ms > toBeat * 2) || (i >= 4 && performance.now() > start + 20)) break;
    ms = Math.min(ms, await decode());
  }
  return ms;
}
