import { cutDocument, type PairEngine } from "../pair-engine.ts";
import { classifierLayout, promptLayout } from "./pair-layout.ts";
import { openPooledModel, type PooledOptions } from "./pooled-model.ts";

/**
 * Opens a GGUF model that scores pairs of texts: an encoder with a classifier
 * (bge-reranker, jina-reranker), or Qwen3-Reranker, whose classifier says `yes`
 * and `no`. The tokens are llama.cpp's, without types. Throws `model_unavailable`.
 */
export async function openLlamaPairEngine(options: PooledOptions): Promise<PairEngine> {
  const pooled = await openPooledModel(options, "scores");
  try {
    const { info, contextLength, width } = pooled;
    const layout = pooled.kind.architecture === "qwen3" ? promptLayout(pooled) : classifierLayout(pooled);
    return {
      info,
      contextLength,
      takesInstruction: layout.takesInstruction,
      tokenizeQuery: (query, instruction) => layout.query(query, instruction),
      tokenizeDocument: (document, most) => cutDocument(layout.document(document), most),
      pair(query, document, truncate, limit = contextLength) {
        const tokens = layout.join(query, document, truncate, limit);
        return { tokens, first: tokens.length, length: tokens.length };
      },
      async score(pairs) {
        const scores = await pooled.run(pairs.map(({ tokens }) => tokens));
        if (width === 1) return scores;
        return Float32Array.from(pairs, (_, row) => logOdds(scores[2 * row] ?? 0, scores[2 * row + 1] ?? 0));
      },
      readScore: (raw) => 1 / (1 + Math.exp(-raw)),
      [Symbol.asyncDispose]: () => pooled[Symbol.asyncDispose](),
    };
  } catch (error) {
    await pooled[Symbol.asyncDispose]();
    throw error;
  }
}

/** The least that a 32-bit float tells from 0 with all its digits. */
const leastProbability = 2 ** -126;

/** The logit behind the probabilities of `yes` and `no`, which llama.cpp has made of two. */
function logOdds(yes: number, no: number): number {
  return Math.log(Math.max(yes, leastProbability)) - Math.log(Math.max(no, leastProbability));
}
