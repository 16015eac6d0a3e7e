/** How the tokens of a text become one vector; the names of sentence-transformers. */
export const poolingModes = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"] as const;
export type PoolingMode = (typeof poolingModes)[number];

/** A mode that is a weighted sum of a text's tokens. */
export type WeightedMode = Exclude<PoolingMode, "max">;

export function isPoolingMode(value: unknown): value is PoolingMode {
  return (poolingModes as readonly unknown[]).includes(value);
}

/**
 * The weights of packed tokens in the vectors of their rows, `[rows, tokens]`:
 * the product with the hidden states pools them all.
 * Source: sentence-transformers, modules/pooling.py.
 */
export function poolingWeights(mode: WeightedMode, lengths: ArrayLike<number>, tokens: number): Float32Array {
  const weights = new Float32Array(lengths.length * tokens);
  let start = 0;
  for (let row = 0; row < lengths.length; row += 1) {
    const length = lengths[row] ?? 0;
    for (let at = 0; at < length; at += 1) weights[row * tokens + start + at] = weightOf(mode, at, length);
    start += length;
  }
  return weights;
}

function weightOf(mode: WeightedMode, at: number, length: number): number {
  switch (mode) {
    case "cls":
      return at === 0 ? 1 : 0;
    case "lasttoken":
      return at === length - 1 ? 1 : 0;
    case "mean":
      return 1 / length;
    case "mean_sqrt_len_tokens":
      return 1 / Math.sqrt(length);
    case "weightedmean":
      return (at + 1) / ((length * (length + 1)) / 2);
    default:
      return mode satisfies never;
  }
}
