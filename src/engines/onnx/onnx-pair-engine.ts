import { cutDocument, type PairEngine } from "../pair-engine.ts";
import { encoderOf } from "./architectures.ts";
import { packRows } from "./batch.ts";
import { openCausalReranker, readCausalReranker } from "./causal-reranker.ts";
import { type Checkpoint, inFolder, openCheckpoint, unusable } from "./checkpoint.ts";
import { readCrossEncoder } from "./cross-encoder.ts";
import { findExport, readExport } from "./exported-encoder.ts";
import { loadGraph } from "./loaded-graph.ts";
import { contextOf, graphOptions, type OnnxEngineOptions, refuseQuantized } from "./onnx-engine.ts";
import { buildGraphAfterLogits, buildPairGraph } from "./pair-graph.ts";
import { readTokenizer } from "./tokenizer-files.ts";

/**
 * Loads a reranker that reads both texts of a pair at once: a sequence classifier,
 * or a language model that is asked. As {@link openOnnxEngine} it needs no export,
 * and runs one of a classifier where there is one only, or it is chosen.
 * Throws `model_unavailable`.
 */
export async function openOnnxPairEngine(options: OnnxEngineOptions): Promise<PairEngine> {
  const checkpoint = openCheckpoint(options.path);
  const causal = options.file === undefined ? await readCausalReranker(checkpoint) : undefined;
  return causal === undefined ? openCrossEncoder(checkpoint, options) : openCausalReranker(checkpoint, causal, options);
}

async function openCrossEncoder(checkpoint: Checkpoint, options: OnnxEngineOptions): Promise<PairEngine> {
  const { folder, labels, activation, maxTokens, lowerCase } = await readCrossEncoder(checkpoint);
  const config = await checkpoint.json(inFolder(folder, "config.json"));
  const file = options.file ?? (await findExport(checkpoint, folder));
  refuseQuantized(file, options);
  const exported = file === undefined ? undefined : await readExport(checkpoint, file, config, "logits");
  const encoder = exported ?? encoderOf(config);
  const { tokenizer, maxTokens: ownMaxTokens } = await readTokenizer(checkpoint, folder, lowerCase, encoder);
  const contextLength = contextOf(options, Math.min(maxTokens ?? ownMaxTokens, encoder.maxPositions));
  const typed = tokenizer.pairTypes;
  if (typed === undefined) throw unusable("tokenizer.json has no template for pairs");
  const graph =
    exported === undefined
      ? await buildPairGraph(checkpoint, folder, encoderOf(config), labels, typed, graphOptions(options))
      : await buildGraphAfterLogits(exported.graph.output, labels, options.path);
  const { session, info, aloneAbove } = await loadGraph(graph, encoder, exported, options.threads);
  return {
    info,
    lanes: session.lanes,
    aloneAbove,
    contextLength,
    takesInstruction: false,
    tokenizeQuery: (query) => tokenizer.encodePart(query),
    tokenizeDocument: (document, most) => cutDocument(tokenizer.encodePart(document), most),
    pair(query, document, truncate, limit = contextLength) {
      const { tokens, first } = tokenizer.pair(query, document, limit, truncate);
      return { tokens, first, length: tokens.length };
    },
    async score(pairs, shared) {
      const firsts = typed ? Int32Array.from(pairs, ({ first }) => first) : undefined;
      const logits = await session.run({ ...packRows(pairs.map(({ tokens }) => tokens)), firsts }, shared);
      return labels === 1
        ? logits
        : Float32Array.from(pairs, (_, row) => (logits[2 * row + 1] ?? 0) - (logits[2 * row] ?? 0));
    },
    readScore: activation,
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}
