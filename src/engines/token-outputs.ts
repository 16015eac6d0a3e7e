/** What some models make of each token beside the text's vector. */
export type TokenOutput = "sparse" | "multivector";

/** The token outputs of one text; present where they were asked for. */
export interface TokenOutputs {
  /** The weights of its tokens in a lexical match, those above 0. */
  readonly sparse?: SparseWeights;
  /** A vector of each token but the first, as the model makes them, one after the other. */
  readonly multivector?: Float32Array;
}

/** Tokens, in ascending order, and the weight of each. */
export interface SparseWeights {
  readonly indices: Uint32Array;
  readonly values: Float32Array;
}

/**
 * The weights of a text's tokens: of one that occurs several times the largest,
 * of those in `without` none. Source: FlagEmbedding, `_process_token_weights`.
 */
export function sparseWeights(tokens: Uint32Array, weights: Float32Array, without: ReadonlySet<number>): SparseWeights {
  const largest = new Map<number, number>();
  for (const [at, token] of tokens.entries()) {
    const weight = weights[at] ?? 0;
    if (weight > (largest.get(token) ?? 0) && !without.has(token)) largest.set(token, weight);
  }
  const indices = Uint32Array.from(largest.keys()).sort();
  return { indices, values: Float32Array.from(indices, (token) => largest.get(token) ?? 0) };
}
