import { LoquiError } from "../errors.ts";

/**
 * What the scheduler needs of a runtime that decodes token sequences in
 * batches. An engine knows tokens, KV cells and logits; it knows nothing of
 * requests, queues, Protobuf or HTTP.
 */
export interface TokenEngine extends AsyncDisposable {
  readonly info: ModelInfo;
  /** Number of sequences in the KV cache. They are numbered from 0. */
  readonly sequences: number;
  /** Positions that one sequence can hold, in tokens. */
  readonly contextLength: number;
  /** Tokens that one decode can take, over all its rows. */
  readonly batchSize: number;

  /**
   * Why a text can't be tokenized, undefined for one that can: what tokenizes it
   * throws `invalid_request` then.
   */
  refusal(text: string): string | undefined;
  /**
   * Token ids of a text. With `parseSpecial`, the texts of control tokens become
   * those tokens; with `addSpecial`, those are added with which the model wants
   * every text to begin and to end, which chat templates write themselves.
   */
  tokenize(text: string, parseSpecial: boolean, addSpecial?: boolean): Uint32Array;
  /**
   * As {@link tokenize}, piece by piece as they are asked for: each takes the
   * event loop for a few milliseconds. One of a text without spaces may be long.
   */
  tokenizePieces(text: string, parseSpecial: boolean): Iterable<Uint32Array>;
  /**
   * The text that `tokenize` (without `addSpecial`) makes these tokens of, where
   * there is one; the names of control tokens stand in it. Bytes that are not
   * UTF-8 become U+FFFD.
   */
  detokenize(tokens: Uint32Array): string;
  /** A decoder that turns one sequence's tokens into text as they come. Control tokens have no text, with `special` their names: all, or those that it picks. */
  createTextDecoder(special?: ShownControls): TokenTextDecoder;
  /** The bytes that a token stands for; of a control token those of its name. Not to be written to. */
  tokenBytes(token: number): Uint8Array;
  /** Whether a token ends the generation (end of sequence, of turn, of message). */
  isEndOfGeneration(token: number): boolean;
  /**
   * A sampler with state of its own: a random stream and a window of past
   * tokens. The window begins with the end of `history`, which is the prompt;
   * what is drawn enters it by itself.
   */
  createSampler(sampling: Sampling, history: Uint32Array): Sampler;

  /**
   * Runs one batch. Row `i` appends its tokens to its sequence at `position`;
   * all sequences are distinct, and the sum of the tokens is at most
   * `batchSize`. Resolves to a list per row: handles of the logits of its last
   * `logits` tokens, in order. A handle is good until the next decode. Not
   * reentrant.
   */
  decode(rows: readonly DecodeRow[]): Promise<LogitsHandle[][]>;
  /**
   * Changes a sampler between two draws; its random stream, its window and its
   * grammar go on. Throws {@link GrammarDeadEnd} for tokens that the grammar
   * doesn't allow.
   */
  changeSampler(sampler: Sampler, change: SamplerChange): void;
  /**
   * Draws one token. Several draws of one decode may run at the same time.
   * Throws {@link GrammarDeadEnd} where the grammar allows none that may be drawn.
   */
  sample(logits: LogitsHandle, sampler: Sampler): Promise<number>;
  /**
   * How likely a token was by the model alone, and the `top` likeliest ones (at
   * most 32): log softmax of the raw logits, before bias, penalties, grammar,
   * temperature and all that narrows the choice. Costs about two draws; may run
   * beside draws and others of its kind. Throws `internal` where logits are NaN.
   */
  logprobs(logits: LogitsHandle, token: number, top: number): Promise<TokenLogprobs>;
  /** Drops a sequence's KV cells from `length` on; 0 empties it. False where the memory can't (it is empty then). */
  truncate(sequence: number, length: number): Promise<boolean>;
  /**
   * Makes `target` (emptied first) hold the first `length` cells of `source`,
   * which may be generating. False where the memory can't, as in `truncate`.
   */
  copyPrefix(source: number, target: number, length: number): Promise<boolean>;
}

/** One sequence's part of a batch. */
export interface DecodeRow {
  readonly sequence: number;
  /** Number of tokens that the sequence holds already. */
  readonly position: number;
  readonly tokens: Uint32Array;
  /** Of how many of the last tokens the logits are wanted. Each takes four bytes per token of the vocabulary, kept by the runtime for ever. */
  readonly logits: number;
}

/** The engine's own name for the logits of one token of a row. */
export type LogitsHandle = number & { readonly logits: unique symbol };

/** A token and the natural logarithm of its probability; −Infinity where it is impossible. */
export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** A token's log-probability among those of the likeliest tokens at its position. */
export interface TokenLogprobs extends TokenLogprob {
  /** Best first. */
  readonly top: readonly TokenLogprob[];
}

/** Made by `createSampler`, given back with `dispose`. */
export interface Sampler {
  dispose(): void;
}

/** What is to be different from now on; what is absent stays. */
export interface SamplerChange {
  /** Tokens that come next without being drawn: penalties and grammar see them as if they were. */
  readonly tokens?: Uint32Array | undefined;
  readonly logitBias?: ReadonlyMap<number, number> | undefined;
}

/** The control tokens that are shown: all, none, or those with these names. */
export type ShownControls = boolean | ((name: string) => boolean);

/** The text can't go on as its grammar demands: the vocabulary, or what of it is not banned, has no token for it. */
export class GrammarDeadEnd extends LoquiError {
  constructor() {
    super("invalid_request", "no token that may be drawn continues the answer in the form that was asked for");
  }
}

/** Turns tokens into text without ever breaking a UTF-8 sequence. */
export interface TokenTextDecoder {
  /** The text that is complete with this token; empty while a character is open. */
  push(token: number): string;
  /** What is still held back; an open character becomes U+FFFD. */
  flush(): string;
}

/** How the next token is drawn. Engine's units, all bounds checked before. */
export interface Sampling {
  /** 0 is greedy. */
  readonly temperature: number;
  /** Keep the k likeliest tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the smallest set whose probability reaches p; 1 keeps all. */
  readonly topP: number;
  /** Keep tokens at least this fraction as likely as the likeliest; 0 keeps all. */
  readonly minP: number;
  /** Only texts of this grammar (GBNF, rule `root`) are drawn, then the end. Its control tokens are not in it. */
  readonly grammar?: string | undefined;
  /** Any whole number. Equal seeds draw equal tokens from equal logits. */
  readonly seed: number;
  /** Divides positive and multiplies negative logits of past tokens (llama.cpp's repeat penalty); 1 is off. */
  readonly repeatPenalty: number;
  /** Subtracted per past occurrence of the token. */
  readonly frequencyPenalty: number;
  /** Subtracted once from tokens that occurred. */
  readonly presencePenalty: number;
  /** How many past tokens, prompt included, the penalties look at; 0 is none. */
  readonly penaltyWindow: number;
  /** Added to logits, by token id. −Infinity bans a token. */
  readonly logitBias: ReadonlyMap<number, number>;
  readonly xtc?: XtcSampling | undefined;
  readonly dry?: DrySampling | undefined;
}

/** "Exclude top choices" (oobabooga/text-generation-webui#6335): sometimes the likeliest tokens are left out. */
export interface XtcSampling {
  /** How often, 0 to 1. */
  readonly probability: number;
  /** Of the tokens at least this probable only the least probable stays. */
  readonly threshold: number;
}

/** "Don't repeat yourself": a token that goes on with a repetition of n tokens loses `multiplier × base ^ (n − allowedLength)`. */
export interface DrySampling {
  readonly multiplier: number;
  readonly base: number;
  /** Going on with a repetition of fewer tokens is free. */
  readonly allowedLength: number;
  /** How many past tokens, prompt included, are looked at; at least 1. */
  readonly window: number;
  /** Texts that no repetition reaches across. */
  readonly breakers: readonly string[];
}

/** Tokens that stand before the text before a gap, before the text after it, and before what fills it. */
export interface FillInTokens {
  readonly prefix: number;
  readonly suffix: number;
  readonly middle: number;
}

/** What a loaded model says of itself. */
export interface ModelInfo {
  /** The model's own architecture name, e.g. `llama`. */
  readonly architecture: string;
  /** Number of parameters; 0 where unknown. */
  readonly parameters: number;
  /** Context length that the model was trained with, in tokens. */
  readonly trainContextLength: number;
  readonly vocabularySize: number;
  /** Width of the hidden state. */
  readonly embeddingSize: number;
  /** Bytes of the weights. */
  readonly sizeBytes: number;
  /** No token stands for more bytes of text than this. */
  readonly longestTokenBytes: number;
  /** The Jinja chat template of the model's own metadata. */
  readonly chatTemplate: string | undefined;
  /** Texts of special tokens, for the template; empty where there is none. */
  readonly bosToken: string;
  readonly eosToken: string;
  /** Whether a prompt that is not a template's output begins with the beginning-of-sequence token. */
  readonly addBos: boolean;
  /** Undefined where the model was not trained to fill in the middle. */
  readonly fillIn: FillInTokens | undefined;
  /** From the metadata: SPDX name or the model's own words. */
  readonly license: string | undefined;
  readonly description: string | undefined;
  /** Threads that decode with, as measured at load. */
  readonly threads: number;
}
