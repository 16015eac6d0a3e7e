import type { Positions } from "./architectures/encoder.ts";
import type { ExportedInput, SessionRequest } from "./session.ts";

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

/** 0 for the first tokens of each packed row, as many as `firsts` says, and 1 for its others: `[tokens]`. */
export function tokenTypes(lengths: Int32Array, firsts: Int32Array, tokens: number): Int32Array {
  const types = new Int32Array(tokens);
  let start = 0;
  for (let row = 0; row < lengths.length; row += 1) {
    const end = start + (lengths[row] ?? 0);
    types.fill(1, start + (firsts[row] ?? 0), end);
    start = end;
  }
  return types;
}

/** Rows of tokens one after the other, with the length of each. */
export function packRows(rows: readonly Uint32Array[]): Pick<SessionRequest, "ids" | "lengths"> {
  const lengths = Int32Array.from(rows, (row) => row.length);
  const ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  for (const row of rows) {
    ids.set(row, at);
    at += row.length;
  }
  return { ids, lengths };
}

/** An input of an exported graph, `[rows, longest]`. Without `types`, packed, all tokens are of type 0. */
export function paddedInput(
  batch: PackedBatch,
  name: ExportedInput["name"],
  padding: number,
  types?: Int32Array,
): Int32Array {
  const input = new Int32Array(batch.padded.length).fill(name === "input_ids" ? padding : 0);
  const packed = {
    input_ids: batch.ids,
    position_ids: batch.positions,
    token_type_ids: types,
    attention_mask: undefined,
  };
  const values = packed[name];
  if (values === undefined) return name === "attention_mask" ? maskOf(batch, input) : input;
  for (const [token, place] of batch.packed.entries()) input[place] = values[token] ?? 0;
  return input;
}

function maskOf({ packed }: PackedBatch, mask: Int32Array): Int32Array {
  for (const place of packed) mask[place] = 1;
  return mask;
}
