import type { TokenOutput, TokenOutputs } from "./token-outputs.ts";

/**
 * What the batcher needs of a runtime that turns texts into vectors. Like
 * {@link file://./token-engine.ts TokenEngine} it knows nothing of requests,
 * queues, Protobuf or HTTP.
 */
export interface TextEngine extends AsyncDisposable {
  readonly info: TextModelInfo;
  /** Batches that may be computed at the same time; 1 where it isn't set. */
  readonly lanes?: number | undefined;
  /** Rows of more tokens are batches of their own, where it is set. */
  readonly aloneAbove?: number | undefined;
  /** The longest text, in tokens, the special ones included. */
  readonly contextLength: number;
  /** Numbers of one vector. */
  readonly width: number;
  /** Texts that the model was trained to have before the input, by name; e.g. `query`. */
  readonly prompts: ReadonlyMap<string, string>;
  /** The prompt of inputs for which none is named. */
  readonly defaultPrompt: string | undefined;

  /**
   * The tokens of a text, the special ones around it included. What is longer
   * than the context is cut at that end, or not at all with `none`. Takes the
   * event loop, about a millisecond for 2 KB.
   */
  tokenize(text: string, truncate: Truncation): Uint32Array;
  /**
   * The vectors of texts, as tokens, one row after the other; as the model
   * makes them, not yet scaled to length 1. Rows have 1 to `contextLength`
   * tokens of the vocabulary. Can't be stopped. One batch at a time, or as many as
   * there are {@link lanes}, each of them `shared`.
   */
  embed(rows: readonly Uint32Array[], shared?: boolean): Promise<Float32Array>;

  /** What the model makes of each token beside the vector; undefined where it makes nothing. */
  readonly tokenHeads?: TokenHeadsOfEngine | undefined;
}

/** A model's heads over its tokens. */
export interface TokenHeadsOfEngine {
  readonly outputs: ReadonlySet<TokenOutput>;
  /** Numbers of one of the vectors of `multivector`. */
  readonly multivectorWidth: number;
  /** As `embed`, with these outputs of each row. They must be in `outputs`. */
  embed(rows: readonly Uint32Array[], wanted: ReadonlySet<TokenOutput>, shared?: boolean): Promise<EmbeddedRows>;
}

/** The vectors of rows, and of each row what its tokens have given. */
export interface EmbeddedRows {
  readonly vectors: Float32Array;
  readonly outputs: readonly TokenOutputs[];
}

/** At which end a text is cut that is too long. */
export type Truncation = "none" | "start" | "end";

/** What a loaded model says of itself. */
export interface TextModelInfo {
  /** The model's own name of its architecture, e.g. `bert`. */
  readonly architecture: string;
  /** Number of parameters. */
  readonly parameters: number;
  readonly vocabularySize: number;
  /** Bytes of the weights, as stored. */
  readonly sizeBytes: number;
  readonly threads: number;
}
