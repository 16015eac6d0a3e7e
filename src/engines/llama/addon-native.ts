/**
 * The members of node-llama-cpp's native addon that are used, as its C++ source
 * has them (`llama/addon/*.cpp` in the npm package). For addon.ts alone, which
 * says why and checks that they are there.
 */

export interface AddonModel {
  /** False or a rejection when the file can't be loaded; the reason is in the log. */
  init(): Promise<boolean>;
  dispose(): Promise<void>;
  tokenize(text: string, specialTokens: boolean): Uint32Array;
  detokenize(tokens: Uint32Array, specialTokens: boolean): string;
  getTrainContextSize(): number;
  getEmbeddingVectorSize(): number;
  getTotalSize(): number;
  getTotalParameters(): number;
  /** −1 where there is none or it is no control token. */
  tokenBos(): number;
  tokenEos(): number;
  sepToken(): number;
  getTokenString(token: number): string;
  getTokenAttributes(token: number): number;
  isEogToken(token: number): boolean;
  getVocabularyType(): number;
  shouldPrependBosToken(): boolean;
  shouldAppendEosToken(): boolean;
}

export interface AddonContext {
  init(): Promise<boolean>;
  dispose(): Promise<void>;
  /** Throws above the batch size of the context. Frees the batch before. */
  initBatch(tokens: number): void;
  /** Copies the tokens. `logitIndexes` are indexes into `tokens`. */
  addToBatch(sequence: number, position: number, tokens: Uint32Array, logitIndexes: Uint32Array): Uint32Array;
  /** Runs in libuv's pool. Doesn't check for a disposed context. */
  decodeBatch(): Promise<void>;
  /** Of sequence 0 where the context pools, of the last token else. `tokens`, above 0, is for the message of a failure. */
  getEmbedding(tokens: number): Float64Array;
  /** Of the sequences 0 to `sequences` − 1, all of the last batch. Of the local build alone (tools/llama-addon.patch). */
  getSequenceEmbeddings?(sequences: number): Float32Array;
  /**
   * Runs in libuv's pool. −1 when no candidate is left. Rejects where the grammar
   * refuses the token that was drawn all the same, since every other one had a
   * logit of −∞. Doesn't check for a disposed context.
   */
  sampleToken(batchIndex: number, sampler: AddonSampler): Promise<number>;
  /** With further arguments the answer is an array. The logits are what the sampler's chain has left of them. */
  sampleToken(
    batchIndex: number,
    sampler: AddonSampler,
    probabilities: false,
    confidence: false,
    logits: AddonLogitsFilter | undefined,
    totalWeight: boolean,
  ): Promise<AddonSampled>;
  /**
   * {@link sampleToken} from several rows at once, each with a sampler of its own:
   * the tokens, −1 where no candidate is left, and messages of what failed. Of the
   * local build alone (tools/llama-addon.patch).
   */
  sampleTokens?(batchIndexes: Int32Array, samplers: readonly AddonSampler[]): Promise<(number | string)[]>;
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean;
  getSequenceKvCacheMinPosition(sequence: number): number;
  copySequenceStateFromOtherSequence(target: number, source: number): Promise<number>;
  setThreads(threads: number): void;
}

/**
 * Of which tokens the logits are wanted: these, and the `top` first. A `top`
 * above 0 sorts the candidates where the chain hasn't: 15 ms of 152,000. The
 * three flags are for the highest (which comes only where it is wanted anyhow),
 * the lowest and the drawn one.
 */
export type AddonLogitsFilter = [tokens: number[], highest: false, lowest: false, drawn: false, top: number];

/** `logits` has tokens and logits in turn; `totalWeight` is the sum of exp(logit − highest logit), added up in float32. */
export type AddonSampled = [
  token: number,
  probabilities: undefined,
  confidence: undefined,
  logits: number[] | undefined,
  totalWeight: number | undefined,
];

export interface AddonSampler {
  applyConfig(config: SamplerConfig): void;
  dispose(): void;
}

/**
 * What `applyConfig` reads. It asks whether a key is there, so a key that isn't
 * meant must be absent, not undefined. The chain is always bias, penalties,
 * top-k, top-p, min-p, XTC, temperature, draw. Applied again, what is the same
 * keeps its state; for the penalties that means the window as it is by then.
 */
export interface SamplerConfig {
  /** 0 draws the likeliest and leaves top-k, top-p, min-p out. */
  temperature: number;
  topK?: number;
  topP?: number;
  minP?: number;
  /** Only the two together. */
  xtcProbability?: number;
  xtcThreshold?: number;
  seed: number;
  /** The penalties' window at the start, oldest first. What is drawn later enters it natively. */
  repeatPenaltyTokens?: Uint32Array;
  repeatPenalty?: number;
  repeatPenaltyMaxTokens?: number;
  repeatPenaltyFrequencyPenalty?: number;
  repeatPenaltyPresencePenalty?: number;
  grammarEvaluationState?: AddonGrammarState;
  tokenBiasKeys?: Uint32Array;
  tokenBiasValues?: Float32Array;
}

/** A parsed grammar. */
export interface AddonGrammar {
  readonly brand: "grammar";
}

/** How far into a grammar a text is. */
export interface AddonGrammarState {
  readonly brand: "state";
}

export interface Addon {
  AddonModel: new (
    path: string,
    params: {
      addonExports: Addon;
      gpuLayers: number;
      useMmap: boolean;
      overridesList?: [key: string, value: bigint][];
    },
  ) => AddonModel;
  AddonContext: new (
    model: AddonModel,
    params: {
      contextSize: number;
      batchSize: number;
      sequences: number;
      flashAttention: "auto";
      threads: number;
      embeddings?: boolean;
      ranking?: boolean;
    },
  ) => AddonContext;
  AddonSampler: {
    new (model: AddonModel): AddonSampler;
    /** Throws for a token that the grammar refuses; the state is not to be used any more then. Aborts on one that ends a generation. */
    acceptGrammarEvaluationStateToken(state: AddonGrammarState, token: number): void;
    canBeNextTokenForGrammarEvaluationState(state: AddonGrammarState, token: number): boolean;
  };
  AddonGrammar: new (gbnf: string, params: { addonExports: Addon; rootRuleName: string }) => AddonGrammar;
  AddonGrammarEvaluationState: new (model: AddonModel, grammar: AddonGrammar) => AddonGrammarState;
  getMathCores(): number;
  getGpuType(): string | false | undefined;
  setLogger(logger: (level: number, message: string) => void): void;
  setLoggerLogLevel(level: number): void;
  loadBackends(folder?: string): void;
  init(): Promise<void>;
}
