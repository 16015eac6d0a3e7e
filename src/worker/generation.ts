import type { Sampling, TokenLogprobs } from "../engines/token-engine.ts";

/** One continuation of one prompt. */
export interface Generation {
  readonly prompt: Uint32Array;
  readonly sampling: Sampling;
  /** Tokens to generate at most; the context may end sooner. 0 evaluates the prompt only. */
  readonly maxTokens: number;
  /** Whose it is: tenants take turns. */
  readonly tenant: string;
  /** Lower goes first, among those of its tenant. Default 0. */
  readonly priority?: number | undefined;
  /** Prefixes in the KV cache are shared within a scope only: the tenant and the request's salt. */
  readonly cacheScope: string;
  /** Goes on after tokens that end a generation. */
  readonly ignoreEos: boolean;
  /** How many of the likeliest tokens to list beside each log-probability. Log-probabilities are not computed where it is absent. */
  readonly topLogprobs?: number | undefined;
  /**
   * Called once per token, in order, but not for the one that ends the
   * generation; forced ones too, which have no log-probabilities: nobody has
   * evaluated what is before them yet.
   */
  onToken(token: number, logprobs: TokenLogprobs | undefined, soFar: () => GenerationTotals): Steering;
  /** Called when the evaluation of its prompt begins, and after each piece of it; `processed` counts what is cached too. */
  onPrompt?(processed: number, soFar: GenerationTotals): void;
  /**
   * Called once per token of the prompt but the first, in order, before
   * `onToken`; only beside `topLogprobs`. The prompt is evaluated in small pieces
   * then, and all of it: what the cache holds has no logits.
   */
  onPromptLogprobs?(logprobs: TokenLogprobs): void;
  /** Called when it has ended, unless it failed. */
  onEnd?(result: GenerationResult): void;
}

/** What happens after a token, as `onToken` answers. */
export type Steering =
  /** The next token is drawn. */
  | "continue"
  /** The generation ends before another decode. */
  | "stop"
  /** These tokens come next instead of drawn ones. They count, and penalties and grammar see them. */
  | { readonly force: Uint32Array }
  /** From the next token on these biases hold. */
  | { readonly logitBias: ReadonlyMap<number, number> };

/** How a generation ended and what it took. */
export interface GenerationResult extends GenerationTotals {
  /** The model ended it, it was long enough, or `onToken` stopped it. */
  readonly reason: "eos" | "length" | "stopped";
}

/** What a generation took, to its end or so far. Times are in milliseconds. */
export interface GenerationTotals {
  readonly promptTokens: number;
  /** Tokens of the prompt that it didn't evaluate: their KV cells were there, or another generation's were copied. */
  readonly cachedTokens: number;
  /** Tokens generated, the ending one included. */
  readonly completionTokens: number;
  /** From `run` to the first piece of the prompt. */
  readonly queueMs: number;
  /** From the first piece of the prompt to the first token. */
  readonly promptMs: number;
  /** From `run` to the first token. */
  readonly firstTokenMs: number;
  /** From the first token to the end. */
  readonly generationMs: number;
}
