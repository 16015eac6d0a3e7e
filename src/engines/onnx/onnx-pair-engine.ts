import { availableParallelism } from "node:os";
import type { PairEngine } from "../pair-engine.ts";
import { encoderOf } from "./architectures.ts";
import { packRows } from "./batch.ts";
import { openCausalReranker, readCausalReranker } from "./causal-reranker.ts";
import { type Checkpoint, inFolder, openCheckpoint, unusable } from "./checkpoint.ts";
import { readCrossEncoder } from "./cross-encoder.ts";
import { contextOf, type OnnxEngineOptions } from "./onnx-engine.ts";
import { buildPairGraph } from "./pair-graph.ts";
import { openSession } from "./session.ts";
import { readTokenizer } from "./tokenizer-files.ts";

/**
 * Loads a reranker that reads both texts of a pair at once: a sequence classifier,
 * or a language model that is asked. As {@link openOnnxEngine} it needs no export.
 * Throws `model_unavailable`.
 */
export async function openOnnxPairEngine(options: OnnxEngineOptions): Promise<PairEngine> {
  const checkpoint = openCheckpoint(options.path);
  const causal = await readCausalReranker(checkpoint);
  return causal === undefined ? openCrossEncoder(checkpoint, options) : openCausalReranker(checkpoint, causal, options);
}

async function openCrossEncoder(checkpoint: Checkpoint, options: OnnxEngineOptions): Promise<PairEngine> {
  const { folder, labels, activation, maxTokens, lowerCase } = await readCrossEncoder(checkpoint);
  const encoder = encoderOf(await checkpoint.json(inFolder(folder, "config.json")));
  const { tokenizer, maxTokens: ownMaxTokens } = await readTokenizer(checkpoint, folder, lowerCase, encoder);
  const contextLength = contextOf(options, Math.min(maxTokens ?? ownMaxTokens, encoder.maxPositions));
  const { threads = availableParallelism() } = options;
  const typed = tokenizer.pairTypes;
  if (typed === undefined) throw unusable("tokenizer.json has no template for pairs");
  const graph = await buildPairGraph(checkpoint, folder, encoder, labels, typed);
  const session = await openSession({
    model: graph.model,
    folder: graph.folder,
    threads,
    positions: encoder.positions,
    pooling: graph.pooling,
  });
  return {
    info: {
      architecture: encoder.modelType,
      parameters: graph.parameters,
      vocabularySize: encoder.vocabularySize,
      sizeBytes: graph.weightBytes,
      threads,
    },
    contextLength,
    takesInstruction: false,
    tokenizeQuery: (query) => tokenizer.encodePart(query),
    tokenizeDocument(document, most = Number.POSITIVE_INFINITY) {
      const tokens = tokenizer.encodePart(document);
      return tokens.length > most ? { tokens: tokens.slice(0, most), cut: true } : { tokens, cut: false };
    },
    pair(query, document, truncate, limit = contextLength) {
      const { tokens, first } = tokenizer.pair(query, document, limit, truncate);
      return { tokens, first, length: tokens.length };
    },
    async score(pairs) {
      const firsts = typed ? Int32Array.from(pairs, ({ first }) => first) : undefined;
      const logits = await session.run({ ...packRows(pairs.map(({ tokens }) => tokens)), firsts });
      return labels === 1
        ? logits
        : Float32Array.from(pairs, (_, row) => (logits[2 * row + 1] ?? 0) - (logits[2 * row] ?? 0));
    },
    readScore: activation,
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}
