import type { TextEngine } from "../engines/text-engine.ts";
import { LoquiError } from "../errors.ts";
import type { TextRow } from "./embedding-batches.ts";

/** Bytes of all vectors of tokens in one answer; as numbers in JSON they are three times as many. */
const maxMultivectorBytes = 32 * 1024 * 1024;

/** Bytes of the vectors of tokens that a row asks for: one of each token but the first. */
export function multivectorBytes({ length, wanted }: TextRow, { tokenHeads }: TextEngine): number {
  return wanted.has("multivector") ? 4 * (length - 1) * (tokenHeads?.multivectorWidth ?? 0) : 0;
}

/** Throws `invalid_request` where the rows of one answer ask for too many. */
export function checkMultivectors(rows: readonly TextRow[], engine: TextEngine): void {
  const bytes = rows.reduce((sum, row) => sum + multivectorBytes(row, engine), 0);
  if (bytes <= maxMultivectorBytes) return;
  const count = rows.reduce((sum, { length }) => sum + length - 1, 0);
  const param = "return_multivector";
  const message = `${param}: ${count} vectors of tokens have ${bytes} bytes, the maximum is ${maxMultivectorBytes}`;
  throw new LoquiError("invalid_request", message, { param });
}
