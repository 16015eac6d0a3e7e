/**
 * The bare loop over the engine, in a process of its own: no scheduler, no
 * template, no sockets. Prefills the prompts in full batches, then decodes one
 * token a stream and step, and turns each into text.
 *
 *   fork("engine-loop.ts", [MODEL, THREADS]) → "ready", then LoopReports for LoopOrders
 */
import { openLlamaEngine } from "../../src/engines/llama/llama-engine.ts";

/** What to run. */
export interface LoopOrder {
  readonly streams: number;
  readonly tokens: number;
  readonly promptTokens: number;
  /** Number of the first prompt; prompts of different numbers differ from their first tokens on. */
  readonly first: number;
}

/** How long it took. */
export interface LoopReport {
  readonly elapsedMs: number;
  /** By stream. */
  readonly firstTokenMs: number[];
}

const [path = "", threads = "2"] = process.argv.slice(2);
const engine = await openLlamaEngine({
  path,
  sequences: 16,
  contextLength: 1024,
  batchSize: 512,
  threads: Number(threads),
});
const sampling = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  seed: 7,
  repeatPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  penaltyWindow: 64,
  logitBias: new Map<number, number>(),
};

process.on("message", async (order: LoopOrder) => process.send?.(await runLoop(order)));
process.on("disconnect", () => process.exit(0));
process.send?.("ready");

async function runLoop({ streams, tokens, promptTokens, first }: LoopOrder): Promise<LoopReport> {
  const rows = Array.from({ length: streams }, (_, sequence) => {
    const text = `${(first + sequence).toString(36).padStart(6, "0")} ${"the server is running ".repeat(100)}`;
    const prompt = engine.tokenize(text, false).slice(0, promptTokens);
    return {
      sequence,
      prompt,
      position: 0,
      pending: prompt,
      left: tokens,
      text: "",
      decoder: engine.createTextDecoder(),
    };
  });
  for (const row of rows) await engine.truncate(row.sequence, 0);
  const samplers = rows.map((row) => engine.createSampler(sampling, row.prompt));
  const firstTokenMs: number[] = [];
  const started = performance.now();
  let active = rows;
  while (active.length > 0) {
    let budget = engine.batchSize;
    const batch = [];
    for (const row of active) {
      const piece = row.pending.subarray(0, budget);
      if (piece.length === 0) continue;
      budget -= piece.length;
      batch.push({ row, piece, logits: Number(piece.length === row.pending.length) });
    }
    const handles = await engine.decode(
      batch.map(({ row, piece, logits }) => ({
        sequence: row.sequence,
        position: row.position,
        tokens: piece,
        logits,
      })),
    );
    await Promise.all(
      batch.map(async ({ row, piece }, i) => {
        row.position += piece.length;
        row.pending = row.pending.subarray(piece.length);
        const handle = handles[i]?.[0];
        const sampler = samplers[row.sequence];
        if (handle === undefined || sampler === undefined) return;
        const token = await engine.sample(handle, sampler);
        row.text += row.decoder.push(token);
        if (row.left === tokens) firstTokenMs.push(performance.now() - started);
        row.left--;
        row.pending = Uint32Array.of(token);
      }),
    );
    active = active.filter((row) => row.left > 0);
  }
  const elapsedMs = performance.now() - started;
  for (const sampler of samplers) sampler.dispose();
  return { elapsedMs, firstTokenMs };
}
