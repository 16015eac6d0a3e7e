import type { TextModelInfo, Truncation } from "./text-engine.ts";

/**
 * What the batcher needs of a runtime that scores how well two texts fit: a
 * query and a document. Like {@link file://./token-engine.ts TokenEngine} it
 * knows nothing of requests, queues, Protobuf or HTTP.
 *
 * A text is tokenized once, however many pairs it is part of.
 */
export interface PairEngine extends AsyncDisposable {
  readonly info: TextModelInfo;
  /** Batches that may be computed at the same time; 1 where it isn't set. */
  readonly lanes?: number | undefined;
  /** Rows of more tokens are batches of their own, where it is set. */
  readonly aloneAbove?: number | undefined;
  /** The longest pair, in tokens, the special ones included. */
  readonly contextLength: number;
  /** Whether the model reads the task in the caller's words. */
  readonly takesInstruction: boolean;

  /**
   * The tokens of a query, the first text of a pair, with what of the model's
   * template belongs to it. Takes the event loop, about a millisecond for 2 KB.
   * `instruction` is for models that take one.
   */
  tokenizeQuery(query: string, instruction?: string): Uint32Array;
  /**
   * The tokens of a document, the second text, with what of the model's template
   * belongs to it. Of the document's own tokens only the first `maxTokens` where
   * that is given: `cut` tells whether there were more.
   */
  tokenizeDocument(document: string, maxTokens?: number): DocumentTokens;
  /**
   * Both as the model wants them, special tokens included. What is longer than
   * `limit` (at most and by default `contextLength`) is cut at that end, the
   * longer text first, as transformers' `longest_first` does; with `none` it is
   * left longer.
   */
  pair(query: Uint32Array, document: Uint32Array, truncate: Truncation, limit?: number): PairTokens;

  /**
   * The raw scores (logits) of pairs, one each: the higher the better they fit.
   * Pairs have 1 to `contextLength` tokens. Can't be stopped. One batch at a time,
   * or as many as there are {@link lanes}, each of them `shared`.
   */
  score(pairs: readonly PairTokens[], shared?: boolean): Promise<Float32Array>;
  /** A raw score as the model's card wants it read; mostly a probability, by the logistic function. Rises with the score. */
  readScore(raw: number): number;
}

export interface DocumentTokens {
  readonly tokens: Uint32Array;
  readonly cut: boolean;
}

/** The first `most` tokens of a document. */
export function cutDocument(tokens: Uint32Array, most = Number.POSITIVE_INFINITY): DocumentTokens {
  return tokens.length > most ? { tokens: tokens.slice(0, most), cut: true } : { tokens, cut: false };
}

/** The tokens of a pair. */
export interface PairTokens {
  readonly tokens: Uint32Array;
  /** How many of them are the first text's, special ones included; the others are of the second token type. */
  readonly first: number;
  /** Number of tokens. */
  readonly length: number;
}
