/**
 * An encoder with float32 weights and the same with int8, on ONNX Runtime in this
 * process: tokens a second by the length of texts, in turn, and how far the
 * vectors are apart. Seconds are those of processors, not of clocks, so that what
 * else the machine does counts little.
 *
 *   npm run bench -- quantization [--layers 6] [--hidden 384] [--heads 12] [--threads 2] [--rounds 9]
 *   npm run bench -- quantization --architecture gemma3 [--layers 24]
 *
 * BERT with random weights; the defaults are MiniLM's shape. Or Gemma 3 with those, in EmbeddingGemma's.
 */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openOnnxEngine } from "../src/engines/onnx/onnx-engine.ts";
import { cosine } from "../test/support/cosine.ts";
import { onnxFixtures } from "../test/support/onnx-models.ts";
import { writeRandomBert } from "./models/random-bert.ts";
import { writeRandomGemma } from "./models/random-gemma.ts";
import { median } from "./support/statistics.ts";
import { turns } from "./support/turns.ts";

const { values } = parseArgs({
  options: {
    architecture: { type: "string", default: "bert" },
    layers: { type: "string" },
    hidden: { type: "string", default: "384" },
    heads: { type: "string", default: "12" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "9" },
  },
});
const vocabularySize = 30_522;
/** Tokens of each batch, more or less. */
const batchTokens = 2_048;

const folder = mkdtempSync(join(tmpdir(), "loqui-bench-"));
try {
  const path = join(folder, "model");
  if (values.architecture === "gemma3") {
    writeRandomGemma(path, Number(values.layers ?? 24), vocabularySize);
  } else {
    writeRandomBert(path, {
      layers: Number(values.layers ?? 6),
      hiddenSize: Number(values.hidden),
      heads: Number(values.heads),
      vocabularySize,
    });
  }
  cpSync(join(onnxFixtures, values.architecture, "tokenizer.json"), join(path, "tokenizer.json"));
  const threads = Number(values.threads);
  await using float32 = await openOnnxEngine({ path, threads, contextLength: 512 });
  const began = performance.now();
  await using int8 = await openOnnxEngine({
    ...{ path, threads, contextLength: 512, quantization: { cacheFolder: join(folder, "cache") } },
  });
  console.log(`first load with int8: ${Math.round(performance.now() - began)} ms`);
  const engines = [float32, int8];
  for (const length of [16, 64, 256, 512]) {
    const rows = Array.from({ length: Math.max(1, batchTokens / length) }, (_, row) =>
      Uint32Array.from({ length }, (_, at) => (7919 * (row * length + at + 1)) % vocabularySize),
    );
    const [first = new Float32Array(), second = new Float32Array()] = await Promise.all(
      engines.map((engine) => engine.embed(rows)),
    );
    const times = engines.map((): number[] => []);
    for (let round = 0; round < Number(values.rounds); round += 1) {
      for (const side of turns([0, 1], round)) {
        const start = process.cpuUsage();
        await engines[side]?.embed(rows);
        const { user, system } = process.cpuUsage(start);
        times[side]?.push((user + system) / 1000);
      }
    }
    const [slow = 0, fast = 0] = times.map(median);
    const cosines = rows.map((_, row) => cosine(first, second, row * int8.width, int8.width));
    const tokens = (ms: number) => Math.round((1000 * rows.length * length) / ms);
    console.log(
      `${length} tokens: float32 ${tokens(slow)}, int8 ${tokens(fast)} tokens a second of a processor, ratio ${(slow / fast).toFixed(2)}, ` +
        `cosine from ${Math.min(...cosines).toFixed(5)}`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
}
