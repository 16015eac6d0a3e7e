/**
 * The bare engine, in a process of its own: texts in, vectors out, in batches as
 * loqui's worker makes them, and as many at a time. No queue, no messages, no sockets.
 *
 *   fork("bare-session.ts", [MODEL, THREADS, BATCH_TOKENS]) → "ready", then BareReports for BareOrders
 */
import { openOnnxEngine } from "../../src/engines/onnx/onnx-engine.ts";
import { createBatcher } from "../../src/worker/batcher.ts";
import { finishVector } from "../../src/worker/embedding-vectors.ts";

/** What to embed: requests, each of some texts, one after the other. */
export type BareOrder = readonly (readonly string[])[];

/** How long it took, in milliseconds. */
export interface BareReport {
  /** Of the session alone. */
  readonly sessionMs: number;
  /** With what else an answer needs: tokens of the texts, vectors of length 1. */
  readonly modelMs: number;
}

const [path = "", threads = "2", batchTokens = "512"] = process.argv.slice(2);
const engine = await openOnnxEngine({ path, threads: Number(threads), batchSize: Number(batchTokens) });

process.on("message", async (order: BareOrder) => {
  const began = performance.now();
  const requests = order.map((texts) => texts.map((text) => engine.tokenize(text, "end")));
  const tokenizeMs = performance.now() - began;
  // Which rows share a batch, found before the clock of the session runs.
  const batches: Uint32Array[][] = [];
  for (const rows of requests) {
    const batcher = createBatcher(
      engine.width,
      async (batch: readonly Uint32Array[]) => {
        batches.push([...batch]);
        return new Float32Array(batch.length * engine.width);
      },
      { batchTokens: Number(batchTokens), aloneAbove: engine.aloneAbove, maxRequests: 1, maxTokens: 1 },
    );
    await batcher.run({ rows, tenant: "" }, new AbortController().signal);
  }
  const started = performance.now();
  const vectors: Float32Array[] = [];
  const { lanes = 1 } = engine;
  const waiting = [...batches.entries()];
  const shared = lanes > 1 && batches.length > 1;
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      vectors[next[0]] = await engine.embed(next[1], shared);
    }
  };
  await Promise.all(Array.from({ length: shared ? lanes : 1 }, lane));
  const embedded = performance.now();
  const { width } = engine;
  for (const batch of vectors) {
    for (let at = 0; at < batch.length; at += width) {
      finishVector(batch.subarray(at, at + width), { dimensions: width, normalize: true });
    }
  }
  const sessionMs = embedded - started;
  const modelMs = tokenizeMs + performance.now() - started;
  process.send?.({ sessionMs, modelMs } satisfies BareReport);
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
