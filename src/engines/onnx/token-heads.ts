import { type Checkpoint, unusable } from "./checkpoint.ts";
import type { GraphBuilder, Value } from "./graph-builder.ts";
import { readHeader, type StoredTensors } from "./safetensors.ts";
import { readTorchArchive } from "./torch-archive.ts";

/** The layers that bge-m3 has beside its encoder: what is made of each token (Chen et al. 2024, arXiv:2402.03216). */
export interface TokenHeads {
  /** Makes a token's weight. */
  readonly sparse: StoredTensors | undefined;
  /** Makes a vector of each token. */
  readonly multivector: StoredTensors | undefined;
  /** Numbers of those. */
  readonly multivectorWidth: number | undefined;
}

/**
 * Finds `sparse_linear` and `colbert_linear` in a checkpoint, as `.safetensors`
 * or as the `.pt` that FlagEmbedding publishes. Throws `model_unavailable` where
 * they are there and hold something else.
 */
export async function findTokenHeads(checkpoint: Checkpoint): Promise<TokenHeads> {
  const sparse = await findHead(checkpoint, "sparse_linear");
  const multivector = await findHead(checkpoint, "colbert_linear");
  const width = multivector?.get("weight")?.shape[0];
  if (multivector !== undefined && width === undefined) throw unusable("colbert_linear has no weight");
  return { sparse, multivector, multivectorWidth: width };
}

async function findHead(checkpoint: Checkpoint, name: string): Promise<StoredTensors | undefined> {
  for (const [extension, read] of [["safetensors", readHeader] as const, ["pt", readTorchArchive] as const]) {
    const path = await checkpoint.pathOf(`${name}.${extension}`);
    if (path !== undefined) return read(path, `${name}.${extension}`);
  }
  return undefined;
}

/** Adds the heads to a graph, as outputs of their own: `sparse`, `[tokens, 1]`, and `multivector`, `[tokens, width]`. */
export function addTokenHeads(
  graph: GraphBuilder,
  { sparse, multivector, multivectorWidth }: TokenHeads,
  hidden: Value,
  hiddenSize: number,
): void {
  if (sparse !== undefined) {
    const weights = graph.weights(sparse, "sparse_linear/");
    const scores = graph.linear(hidden, weights.weight("weight", [1, hiddenSize]), weights.weight("bias", [1]));
    graph.output("sparse", graph.activation(scores, "relu"), ["tokens", 1]);
  }
  if (multivector !== undefined && multivectorWidth !== undefined) {
    const weights = graph.weights(multivector, "colbert_linear/");
    const weight = weights.weight("weight", [multivectorWidth, hiddenSize]);
    const vectors = graph.linear(hidden, weight, weights.weight("bias", [multivectorWidth]));
    graph.output("multivector", vectors, ["tokens", multivectorWidth]);
  }
}
