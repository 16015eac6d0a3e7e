import type { TextEngine, Truncation } from "../engines/text-engine.ts";
import type { TokenOutput } from "../engines/token-outputs.ts";
import { LoquiError } from "../errors.ts";
import type { Batcher } from "./batcher.ts";
import { type TextRow, textRow } from "./embedding-batches.ts";
import { type PromptChoice, promptOf } from "./embedding-prompt.ts";
import { createRows, type Input, type Rows } from "./embedding-rows.ts";
import { type FinishedInput, finishMultivector, finishVector, type VectorForm } from "./embedding-vectors.ts";
import type { WorkerCall } from "./method.ts";
import { checkMultivectors } from "./multivector-limits.ts";

export interface EmbeddingOptions {
  readonly engine: TextEngine;
  readonly batcher: Batcher<TextRow>;
}

/** How a request wants its texts to be read and its vectors to be finished. */
export interface ReadingOptions extends PromptChoice {
  readonly truncation: Truncation;
  readonly dimensions?: number | undefined;
  readonly normalize?: boolean | undefined;
  /** What is wanted of tokens; the model makes it. Default: nothing. */
  readonly wanted?: ReadonlySet<TokenOutput> | undefined;
}

/** What the options of a request come to. */
export interface Prepared {
  readonly rows: Rows;
  readonly form: Omit<VectorForm, "format">;
  readonly wanted: ReadonlySet<TokenOutput>;
}

/** A request's inputs, in their order, and what they took. */
export interface EmbeddedInputs {
  readonly finished: readonly FinishedInput[];
  readonly promptTokens: number;
  readonly queueMs: number;
}

/** What all methods that make vectors of texts have in common. */
export interface TextEmbedder {
  /** Throws for options that the model can't honour, before any text is looked at. */
  prepare(options: ReadingOptions): Prepared;
  /** What a request gets for an input, of the model's vector and what else the row has. In place. */
  finish(vector: Float32Array, row: TextRow, form: Prepared["form"]): FinishedInput;
  /** Vectors of all inputs; one bad input fails all. Throws as `prepare` and {@link Rows.of}. */
  embed(
    inputs: readonly Input[],
    options: ReadingOptions,
    call: Pick<WorkerCall, "tenant" | "signal">,
  ): Promise<EmbeddedInputs>;
}

export function createTextEmbedder({ engine, batcher }: EmbeddingOptions): TextEmbedder {
  const embedder: TextEmbedder = {
    prepare(options) {
      const form = { dimensions: dimensionsOf(options, engine.width), normalize: options.normalize ?? true };
      const rows = createRows(engine, promptOf(options, engine), options.truncation);
      return { rows, form, wanted: options.wanted ?? new Set() };
    },

    finish(vector, { outputs }, form) {
      const { sparse, multivector } = outputs ?? {};
      const width = engine.tokenHeads?.multivectorWidth ?? 0;
      return {
        vector: finishVector(vector, form),
        sparse,
        multivector: multivector === undefined ? undefined : finishMultivector(multivector, width, form.normalize),
      };
    },

    async embed(inputs, options, { tenant, signal }) {
      const prepared = embedder.prepare(options);
      const rows: TextRow[] = [];
      for (const input of inputs) {
        rows.push(textRow(prepared.rows.of(input), prepared.wanted));
        await prepared.rows.turn(signal);
      }
      checkMultivectors(rows, engine);
      const { vectors, queueMs } = await batcher.run({ rows, tenant }, signal);
      const finished = rows.map((row, at) => embedder.finish(vectorAt(vectors, at), row, prepared.form));
      return { finished, promptTokens: countOf(rows), queueMs };
    },
  };
  return embedder;
}

/** The vector of a row of a batch. */
export function vectorAt(vectors: readonly Float32Array[], at: number): Float32Array {
  const vector = vectors[at];
  if (vector === undefined) throw new Error("a row has no vector");
  return vector;
}

/** The tokens of rows. */
export function countOf(rows: readonly TextRow[]): number {
  return rows.reduce((sum, row) => sum + row.length, 0);
}

function dimensionsOf({ dimensions }: ReadingOptions, width: number): number {
  if (dimensions === undefined || dimensions <= width) return dimensions ?? width;
  const message = `dimensions: ${dimensions} is above the ${width} that the model has`;
  throw new LoquiError("invalid_request", message, { param: "dimensions" });
}
