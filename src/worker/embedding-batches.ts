import type { TextEngine } from "../engines/text-engine.ts";
import type { TokenOutput, TokenOutputs } from "../engines/token-outputs.ts";
import { type Batcher, type BatchLimits, createBatcher } from "./batcher.ts";

/** A text's tokens in a batch, and what is wanted of them beside its vector. */
export interface TextRow {
  readonly length: number;
  readonly tokens: Uint32Array;
  readonly wanted: ReadonlySet<TokenOutput>;
  /** What was wanted; set when the row's batch has run. */
  outputs: TokenOutputs | undefined;
}

/** A row to be computed. */
export function textRow(tokens: Uint32Array, wanted: ReadonlySet<TokenOutput>): TextRow {
  return { length: tokens.length, tokens, wanted, outputs: undefined };
}

/** Batches texts: those that want outputs of their tokens run with those that don't. */
export function createTextBatcher(engine: TextEngine, limits: BatchLimits): Batcher<TextRow> {
  return createBatcher<TextRow>(
    engine.width,
    async (rows, shared) => {
      const tokens = rows.map((row) => row.tokens);
      const wanted = new Set(rows.flatMap((row) => [...row.wanted]));
      if (wanted.size === 0 || engine.tokenHeads === undefined) return engine.embed(tokens, shared);
      const { vectors, outputs } = await engine.tokenHeads.embed(tokens, wanted, shared);
      // A view keeps the outputs of all rows in memory, also of those that don't want theirs.
      const copied = rows.some((row) => !row.wanted.has("multivector"));
      for (const [at, row] of rows.entries()) row.outputs = keep(outputs[at], row.wanted, copied);
      return vectors;
    },
    limits,
  );
}

/** Of a row's outputs those that it wants. */
function keep(outputs: TokenOutputs = {}, wanted: ReadonlySet<TokenOutput>, copied: boolean): TokenOutputs {
  const { sparse, multivector } = outputs;
  return {
    ...(sparse !== undefined && wanted.has("sparse") && { sparse }),
    ...(multivector !== undefined &&
      wanted.has("multivector") && { multivector: copied ? multivector.slice() : multivector }),
  };
}
