import type { Encoder } from "./architectures/encoder.ts";
import { type Checkpoint, unusable } from "./checkpoint.ts";
import { createGraphBuilder, type GraphOptions } from "./graph-builder.ts";
import type { PoolingMode } from "./pooling.ts";
import { findTensors, folderOf } from "./safetensors.ts";
import { type BuiltGraph, builtGraph, pool, tokenInputs } from "./sentence-graph.ts";
import type { ExportedOutput } from "./session.ts";

/** A graph from the tokens of pairs to their logits, `[rows, labels]`. */
export interface PairGraph extends BuiltGraph {
  readonly pooling: readonly PoolingMode[];
}

/**
 * Builds the graph of a sequence classifier. With `typed` it takes the types of
 * tokens. Throws `model_unavailable` where weights don't fit.
 */
export async function buildPairGraph(
  checkpoint: Checkpoint,
  part: string,
  encoder: Encoder & { readonly modelType: string },
  labels: number,
  typed: boolean,
  options: GraphOptions,
): Promise<PairGraph> {
  const { classifier } = encoder;
  if (classifier === undefined)
    throw unusable(`config.json: a reranker of model_type ${encoder.modelType} is not supported`);
  const tensors = await findTensors(checkpoint, part);
  const graph = createGraphBuilder(options);
  const weights = graph.weights(tensors, "");
  const tokens = tokenInputs(graph);
  const types = typed ? graph.input("types", "int32", ["tokens"]) : undefined;
  const hidden = encoder.build(graph, weights, { ...tokens, types });
  const pooled = pool(graph, classifier.pooling, hidden, tokens.padded);
  graph.output("vectors", classifier.build(graph, weights.exact, pooled, labels), ["rows", labels]);
  return { ...(await builtGraph(graph, folderOf(tensors), [tensors])), pooling: [classifier.pooling] };
}

/** Builds the graph after an exported classifier, whose logits are taken as they are. `folder` is any that exists. */
export async function buildGraphAfterLogits(
  { name, width }: ExportedOutput,
  labels: number,
  folder: string,
): Promise<PairGraph> {
  if (width !== labels) throw unusable(`the output ${name} has ${width} labels, config.json has ${labels}`);
  const graph = createGraphBuilder();
  tokenInputs(graph);
  const logits = graph.input("hidden", "float", ["rows", labels]);
  graph.output("vectors", logits, ["rows", labels]);
  return { ...(await builtGraph(graph, folder, [])), pooling: [] };
}
