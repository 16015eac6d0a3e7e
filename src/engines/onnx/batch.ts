import type { Positions } from "./architectures/encoder.ts";

/** The tokens of a batch as {@link file://./architectures/encoder.ts TokenInputs} has them. */
export interface PackedBatch {
  readonly ids: Int32Array;
  readonly positions: Int32Array;
  readonly padded: Int32Array;
  readonly packed: Int32Array;
  readonly lengths: Int32Array;
  /** Tokens of the longest row. */
  readonly longest: number;
}

/** Lays out rows of tokens, packed in `ids` one after the other. Each has at least one. */
export function packBatch(ids: Int32Array, lengths: Int32Array, { first, skipped }: Positions): PackedBatch {
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  const positions = new Int32Array(ids.length);
  const padded = new Int32Array(lengths.length * longest);
  const packed = new Int32Array(ids.length);
  let start = 0;
  for (let row = 0; row < lengths.length; row += 1) {
    const length = lengths[row] ?? 0;
    let position = first;
    for (let at = 0; at < length; at += 1) {
      const token = start + at;
      if (skipped !== undefined && ids[token] === skipped) positions[token] = skipped;
      else {
        positions[token] = position;
        position += 1;
      }
      padded[row * longest + at] = token;
      packed[token] = row * longest + at;
    }
    padded.fill(start, row * longest + length, (row + 1) * longest);
    start += length;
  }
  return { ids, positions, padded, packed, lengths, longest };
}
