/**
 * What the log-probabilities of a token cost beside its draw, at vocabularies of
 * 49,152 and 151,936 tokens.
 *
 *   npm run bench -- logprobs [MODEL.gguf …]
 *
 * Prints medians in milliseconds. `head` is of a token among the likeliest, as
 * nearly all that are drawn are, `tail` of another; `positions` is 32 positions
 * of a prompt at once, for one that is echoed.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLlamaEngine } from "../src/engines/llama/llama-engine.ts";
import type { Sampling } from "../src/engines/token-engine.ts";
import { greedy } from "../test/support/sampling.ts";

const given = process.argv.slice(2);
if (given.length === 0) {
  // Writes them where they are not there yet.
  await import("./models.ts");
  given.push(...["random-135m-q8_0", "random-500m-q8_0"].map((name) => join(tmpdir(), "loqui-bench", `${name}.gguf`)));
}
for (const path of given) await measure(path);

async function measure(path: string): Promise<void> {
  await using engine = await openLlamaEngine({ path, sequences: 1, contextLength: 256, threads: 1 });
  const tokens = Uint32Array.from({ length: 32 }, (_, index) => 256 + index);
  const [handles = []] = await engine.decode([{ sequence: 0, position: 0, tokens, logits: tokens.length }]);
  const last = handles.at(-1);
  if (last === undefined) throw new Error("no logits");
  using topK = samplerOf({ ...greedy, temperature: 1, topK: 40, minP: 0.05 });
  using likeliest = samplerOf(greedy);
  const { top } = await engine.logprobs(last, 0, 1);
  const { token = 0 } = top[0] ?? {};
  console.log(path, {
    vocabulary: engine.info.vocabularySize,
    "draw, top_k 40": await median(200, () => engine.sample(last, topK.sampler)),
    "draw, greedy": await median(200, () => engine.sample(last, likeliest.sampler)),
    "head, top 0": await median(200, () => engine.logprobs(last, token, 0)),
    "head, top 20": await median(200, () => engine.logprobs(last, token, 20)),
    "tail, top 20": await median(200, () => engine.logprobs(last, 0, 20)),
    positions: await median(20, () => Promise.all(handles.map((handle) => engine.logprobs(handle, 0, 5)))),
  });

  function samplerOf(sampling: Sampling) {
    const sampler = engine.createSampler(sampling, tokens);
    return { sampler, [Symbol.dispose]: () => sampler.dispose() };
  }
}

async function median(count: number, run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return Number((times[Math.floor(count / 2)] ?? 0).toFixed(3));
}
