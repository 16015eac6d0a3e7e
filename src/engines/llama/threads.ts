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
 * Finds which of some rising thread counts decodes one token fastest, and
 * leaves the context set to it and empty. Decodes at least once, so that the
 * weights are in memory before the first request.
 *
 * More is not better: without OpenMP threads are started anew for every
 * decode, and on a machine that is busy with something else they wait for each
 * other, which makes a small model a thousand times slower. So the first count
 * that is no faster than the one before ends the search.
 */
export async function chooseThreads(context: LlamaContext, counts: readonly number[]): Promise<number> {
  let position = 0;
  const decode = async () => {
    const started = performance.now();
    await context.decode([{ sequence: 0, position: position++, tokens: Uint32Array.of(0), logits: 1 }]);
    return performance.now() - started;
  };
  try {
    let best = { threads: counts[0] ?? 1, ms: Number.POSITIVE_INFINITY };
    context.setThreads(best.threads);
    await decode();
    const deadline = performance.now() + budgetMs;
    for (const threads of counts.length > 1 ? counts : []) {
      context.setThreads(threads);
      const ms = await fastest(decode, best.ms, deadline);
      // A little faster is noise; the threads are better left to others.
      if (ms > best.ms * 0.95) break;
      best = { threads, ms };
      if (ms < shortMs) break;
    }
    context.setThreads(best.threads);
    return best.threads;
  } finally {
    context.removeCells(0, -1);
  }
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
