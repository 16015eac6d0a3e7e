/**
 * The bare engine, in a process of its own: rows of tokens in, vectors out, in
 * batches as loqui's worker makes them. No queue, no messages, no sockets.
 *
 *   fork("bare-session.ts", [MODEL, THREADS, BATCH_TOKENS]) → "ready", then BareReports for BareOrders
 */
import { openOnnxEngine } from "../../src/engines/onnx/onnx-engine.ts";
import { createBatcher } from "../../src/worker/batcher.ts";

/** What to embed: requests, each of some texts, one after the other. */
export type BareOrder = readonly (readonly string[])[];

export interface BareReport {
  readonly elapsedMs: number;
}

const [path = "", threads = "2", batchTokens = "512"] = process.argv.slice(2);
const engine = await openOnnxEngine({ path, threads: Number(threads), batchSize: Number(batchTokens) });

process.on("message", async (order: BareOrder) => {
  const requests = order.map((texts) => texts.map((text) => engine.tokenize(text, "end")));
  // Which rows share a batch, found before the clock runs.
  const batches: Uint32Array[][] = [];
  for (const rows of requests) {
    const batcher = createBatcher(
      engine.width,
      async (batch: readonly Uint32Array[]) => {
        batches.push([...batch]);
        return new Float32Array(batch.length * engine.width);
      },
      { batchTokens: Number(batchTokens), maxRequests: 1, maxTokens: 1 },
    );
    await batcher.run({ rows, tenant: "" }, new AbortController().signal);
  }
  const started = performance.now();
  for (const batch of batches) await engine.embed(batch);
  process.send?.({ elapsedMs: performance.now() - started } satisfies BareReport);
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
