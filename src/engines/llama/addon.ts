/**
 * The fence around node-llama-cpp's internals.
 *
 * Its public API decodes and samples one sequence at a time from its own
 * scheduler; continuous batching, prefix copies and per-row sampling need the
 * native addon beneath. So the addon is loaded here directly, without
 * node-llama-cpp's JavaScript: its import, its test-load of the binary in a
 * child process and its metadata parser cost 0.6 to 1.9 s, this costs 0.03.
 *
 * Nothing outside this file sees the addon, whose types stand in
 * addon-native.ts. It was written against {@link supportedVersion}; another
 * version, or a missing member, is an error at load. What is said here of the
 * addon's behaviour is from its C++ source (`llama/addon/*.cpp` in the npm
 * package).
 */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { LoquiError } from "../../errors.ts";
import { type DecodeRow, GrammarDeadEnd, type Sampling } from "../token-engine.ts";
import { type AddonFile, findAddons } from "./addon-file.ts";
import type {
  Addon,
  AddonContext,
  AddonGrammar,
  AddonGrammarState,
  AddonLogitsFilter,
  AddonModel,
  AddonSampler,
  SamplerConfig,
} from "./addon-native.ts";

/** Severity of a message of llama.cpp. */
export type LogLevel = "fatal" | "error" | "warn" | "info" | "debug";

/** The loaded library. One per process; it is never unloaded. */
export interface Llama {
  /** Cores that do arithmetic well: not hyperthreads, not efficiency cores. */
  readonly mathCores: number;
  /**
   * Whether threads stay from one decode to the next (OpenMP), as the local
   * build's do. The prebuilt binary starts them anew.
   */
  readonly keepsThreads: boolean;
  /**
   * Whether a pooled context gives the vectors of all rows of a batch, as the
   * local build does. The prebuilt binary gives those of sequence 0 alone.
   */
  readonly poolsBatches: boolean;
  /**
   * Opens a GGUF file, with some integers of its metadata replaced. Throws
   * `model_unavailable`. A file that {@link checkGguf} refuses may abort the process.
   */
  openModel(path: string, gpuLayers: number, replaced?: ReadonlyMap<string, number>): Promise<LlamaModel>;
}

/** The weights and the vocabulary. Every token id given must be in the vocabulary: the addon doesn't check. */
export interface LlamaModel {
  readonly trainContextLength: number;
  /** Width of a vector that comes out, which some models project to another than that of the hidden state. */
  readonly embeddingSize: number;
  readonly parameters: number;
  readonly sizeBytes: number;
  readonly vocabularyType: VocabularyType;
  /** Whether every text begins with `bosToken`, and ends with `eosToken`. */
  readonly addBos: boolean;
  readonly addEos: boolean;
  /** Undefined where the model has none. */
  readonly bosToken: number | undefined;
  readonly eosToken: number | undefined;
  readonly separatorToken: number | undefined;
  /** Adds neither of the tokens that a text begins and ends with. */
  tokenize(text: string, special: boolean): Uint32Array;
  /** Text of some tokens, lossy where it isn't whole characters, without the first one's leading space. */
  detokenize(tokens: Uint32Array, special: boolean): string;
  /** A token's text as it stands in the vocabulary: byte-level characters, `▁` for space, `<0x0A>`. */
  tokenText(token: number): string;
  /** Bits of {@link tokenAttribute}. */
  tokenAttributes(token: number): number;
  isEndOfGeneration(token: number): boolean;
  openContext(shape: ContextShape): Promise<LlamaContext>;
  /** A context that pools what comes out of each sequence: as the metadata say to a vector, or by the model's classifier to scores. */
  openPooledContext(shape: ContextShape, pooled: "vectors" | "scores"): Promise<PooledContext>;
  createSampler(sampling: Sampling, history: Uint32Array): LlamaSampler;
  /** Something to read logits with. Holds 12 bytes per token of the vocabulary. */
  createProbe(): LlamaProbe;
  /** Frees the weights. The contexts must be gone. */
  dispose(): Promise<void>;
}

/** KV cache and compute buffers of a context. */
export interface ContextShape {
  /** Cells over all sequences. llama.cpp gives each sequence an equal part, rounded up to 256. */
  readonly cells: number;
  readonly sequences: number;
  readonly batchSize: number;
  readonly threads: number;
}

/** A KV cache and what computes on it. Nothing here may overlap with `decode` or `copySequence`. */
export interface LlamaContext {
  /** Runs one batch; resolves to the index of each row's last token, by which its logits are sampled. Those before it have the indexes before. */
  decode(rows: readonly DecodeRow[]): Promise<number[]>;
  /** Draws a token from the logits at an index of the last batch; several may run at once, each with its own sampler. */
  sample(index: number, sampler: LlamaSampler): Promise<number>;
  /** The `count` (at most {@link mostTopLogits}) highest of the raw logits at an index, best first; fewer where the vocabulary has fewer. */
  topLogits(index: number, probe: LlamaProbe, count: number): Promise<TokenLogit[]>;
  /** What the logits at an index weigh beside some tokens, and the logit of one token that is not among those. */
  tailWeight(index: number, probe: LlamaProbe, tail: LogitsTail): Promise<TailWeight>;
  /** Drops the cells of a sequence from a position on. False where the memory can't: recurrent states. */
  removeCells(sequence: number, from: number): boolean;
  /** Lowest position that a sequence still has; −1 when it is empty. Above 0 where a window has slid over the others. */
  minPosition(sequence: number): number;
  /** Makes `target` a copy of `source`, all cells. The data are copied at the next decode. */
  copySequence(source: number, target: number): Promise<void>;
  setThreads(threads: number): void;
  dispose(): Promise<void>;
}

/** What computes one vector, or some scores, of each row of tokens. Nothing here may overlap with `pool`. */
export interface PooledContext {
  /**
   * Runs rows as one batch, each in a sequence of its own from position 0, and
   * resolves to what came out of them, one after the other. More than one row
   * only where {@link Llama.poolsBatches}. Takes their tokens together within
   * the batch size, and of each no more than its sequence has cells.
   */
  pool(rows: readonly Uint32Array[]): Promise<Float32Array>;
  dispose(): Promise<void>;
}

/** A chain of samplers with a random stream and a penalty window. Not to be changed or disposed while it draws. */
export interface LlamaSampler {
  /** Replaces the logit bias; what the chain remembers stays. */
  setLogitBias(bias: ReadonlyMap<number, number>): void;
  /** Takes tokens as if it had drawn them. Throws {@link GrammarDeadEnd} for one that its grammar refuses. */
  accept(tokens: Uint32Array): void;
  dispose(): void;
}

/** Reads the logits of one row at a time: nothing else is done with it meanwhile. */
export interface LlamaProbe {
  dispose(): void;
}

export interface TokenLogit {
  readonly token: number;
  readonly logit: number;
}

/** All of a vocabulary but some tokens. */
export interface LogitsTail {
  readonly without: readonly number[];
  /** Whose logit is wanted too. */
  readonly token?: number | undefined;
}

export interface TailWeight {
  /** Sum of exp(logit − the tail's highest logit) in float32: off by at most `vocabulary size × 2⁻²⁴` of itself. */
  readonly weight: number;
  readonly logit: number | undefined;
}

/** More than this many are sorted by another algorithm, which spends memory on it (`llama_token_data_array_partial_sort_inplace`). */
export const mostTopLogits = 128;

/** `llama_vocab_type` in llama.h. */
export const vocabularyType = {
  none: 0,
  sentencePiece: 1,
  bpe: 2,
  wordPiece: 3,
  unigram: 4,
  rwkv: 5,
  plamo2: 6,
} as const;
export type VocabularyType = (typeof vocabularyType)[keyof typeof vocabularyType];

/** `llama_token_attr` in llama.h. */
export const tokenAttribute = {
  unknown: 1,
  normal: 4,
  control: 8,
  userDefined: 16,
  byte: 32,
  /** White space after it is left out. */
  stripsRight: 256,
} as const;

/** The version of node-llama-cpp whose addon this file was written against. */
export const supportedVersion = "3.22.1";

/** Every member that is used, for the check at load. */
const members = {
  AddonModel: [
    "init",
    "dispose",
    "tokenize",
    "detokenize",
    "getTrainContextSize",
    "getEmbeddingVectorSize",
    "getTotalSize",
    "getTotalParameters",
    "tokenBos",
    "tokenEos",
    "sepToken",
    "getTokenString",
    "getTokenAttributes",
    "isEogToken",
    "getVocabularyType",
    "shouldPrependBosToken",
    "shouldAppendEosToken",
  ] satisfies readonly (keyof AddonModel)[],
  AddonContext: [
    "init",
    "dispose",
    "initBatch",
    "addToBatch",
    "decodeBatch",
    "getEmbedding",
    "sampleToken",
    "removeTokenCellsFromSequence",
    "getSequenceKvCacheMinPosition",
    "copySequenceStateFromOtherSequence",
    "setThreads",
  ] satisfies readonly (keyof AddonContext)[],
  AddonSampler: ["applyConfig", "dispose"] satisfies readonly (keyof AddonSampler)[],
};
const functions = ["getMathCores", "getGpuType", "setLogger", "setLoggerLogLevel", "loadBackends", "init"] as const;

/** The addon's numbers of llama.cpp's levels; `info` and what lies between it and debug are one here. */
const levels: readonly LogLevel[] = ["fatal", "fatal", "error", "warn", "info", "info", "debug"];

const samplers = new WeakMap<LlamaSampler, NativeSampler>();
const probes = new WeakMap<LlamaProbe, AddonSampler>();

let loading: Promise<Llama> | undefined;
let log: (level: LogLevel, message: string) => void = () => {};
/** llama.cpp says why it failed only in its log: what it complained of since the last call, newest last. */
let complaints: { level: number; message: string }[] = [];

/**
 * Loads the library: the local build where there is one, the prebuilt binary
 * else. Once per process; `onLog` replaces the one before. Throws
 * `model_unavailable` where there is no binary for this platform, or where the
 * binary is not the one that this file knows.
 */
export async function loadLlama(onLog?: (level: LogLevel, message: string) => void): Promise<Llama> {
  if (onLog !== undefined) log = onLog;
  loading ??= load();
  return loading;
}

async function load(): Promise<Llama> {
  const [best, ...others] = findAddons();
  const { addon, path, local } = requireFirst(best, others);
  addon.setLogger((level, message) => {
    complaints = [...complaints, { level, message: message.trim() }].slice(-16);
    log(levels[level] ?? "debug", message.trimEnd());
  });
  addon.setLoggerLogLevel(3);
  addon.loadBackends();
  // A prebuilt binary has its CPU code in libraries beside it, one per generation of processors. A local build has it inside.
  if (addon.getGpuType() === undefined) addon.loadBackends(dirname(path));
  await addon.init();

  return {
    mathCores: Math.max(1, Math.floor(addon.getMathCores())),
    keepsThreads: local,
    poolsBatches: "getSequenceEmbeddings" in addon.AddonContext.prototype,
    async openModel(file, gpuLayers, replaced = new Map()) {
      const overridesList = [...replaced].map(([key, value]): [string, bigint] => [key, BigInt(value)]);
      const model = new addon.AddonModel(file, { addonExports: addon, gpuLayers, useMmap: true, overridesList });
      await initialise(model, "the model file can't be loaded");
      return wrapModel(addon, model);
    },
  };
}

/** Loads the first of some binaries that can be loaded here. */
function requireFirst(file: AddonFile, others: readonly AddonFile[]): { addon: Addon; path: string; local: boolean } {
  try {
    return { addon: requireAddon(file), path: file.path, local: file.local };
  } catch (error) {
    const [next, ...rest] = others;
    if (next === undefined) throw error;
    log("warn", `the local build of llama.cpp is not used: ${String((error as Error).cause ?? error)}`);
    return requireFirst(next, rest);
  }
}

function requireAddon({ path, version }: AddonFile): Addon {
  if (version !== supportedVersion) {
    throw new LoquiError(
      "model_unavailable",
      `node-llama-cpp is ${version}, but only ${supportedVersion} is supported`,
    );
  }
  let addon: Record<string, unknown>;
  try {
    addon = createRequire(import.meta.url)(path);
  } catch (error) {
    // The usual one: "version `GLIBC_2.34' not found".
    throw new LoquiError("model_unavailable", "the llama.cpp binary can't be loaded on this system", { cause: error });
  }
  const missing: string[] = functions.filter((name) => typeof addon[name] !== "function");
  for (const [name, methods] of Object.entries(members)) {
    const prototype: Record<string, unknown> =
      (addon[name] as { prototype?: Record<string, unknown> })?.prototype ?? {};
    missing.push(...methods.filter((method) => typeof prototype[method] !== "function").map((m) => `${name}.${m}`));
  }
  if (missing.length > 0) {
    throw new LoquiError("model_unavailable", `the llama.cpp binary lacks ${missing.join(", ")}`);
  }
  return addon as unknown as Addon;
}

/** Runs an `init` that says no more than that it failed, and adds what the log says. */
async function initialise(object: AddonModel | AddonContext, failure: string): Promise<void> {
  complaints = [];
  let cause: unknown;
  try {
    if (await object.init()) return;
  } catch (error) {
    cause = error;
  }
  // The log comes over another queue of the event loop.
  await new Promise(setImmediate);
  const messages = complaints.map(({ message }) => message);
  // The first error is the reason, the others say that it failed.
  const reason =
    complaints.find(({ level }) => level <= 2)?.message ?? (cause instanceof Error ? cause.message : undefined);
  const message = reason === undefined ? failure : `${failure}: ${withoutPaths(reason)}`;
  throw new LoquiError("model_unavailable", message, { cause: new Error(messages.join("\n"), { cause }) });
}

/** Messages go to clients, and hold no path of the server. */
function withoutPaths(message: string): string {
  return message.replaceAll(/(?:[A-Za-z]:)?[\\/](?:[^\\/\s'"]+[\\/])+/g, "");
}

function wrapModel(addon: Addon, model: AddonModel): LlamaModel {
  const optional = (token: number) => (token < 0 ? undefined : token);
  const grammars = createGrammars(addon, model);
  const nativeSamplers = createNativeSamplers(addon, model);
  return {
    trainContextLength: model.getTrainContextSize(),
    embeddingSize: model.getEmbeddingVectorSize(),
    parameters: model.getTotalParameters(),
    sizeBytes: model.getTotalSize(),
    vocabularyType: model.getVocabularyType() as VocabularyType,
    addBos: model.shouldPrependBosToken(),
    addEos: model.shouldAppendEosToken(),
    bosToken: optional(model.tokenBos()),
    eosToken: optional(model.tokenEos()),
    separatorToken: optional(model.sepToken()),
    tokenize: (text, special) => model.tokenize(text, special),
    detokenize: (tokens, special) => model.detokenize(tokens, special),
    tokenText: (token) => model.getTokenString(token),
    tokenAttributes: (token) => model.getTokenAttributes(token),
    isEndOfGeneration: (token) => model.isEogToken(token),
    openContext: async (shape) => wrapContext(await openContext(addon, model, shape, {})),
    openPooledContext: async (shape, pooled) =>
      wrapPooled(await openContext(addon, model, shape, { embeddings: true, ranking: pooled === "scores" })),
    createSampler: (sampling, history) => createSampler(addon, model, { grammars, nativeSamplers }, sampling, history),
    createProbe() {
      const sampler = new addon.AddonSampler(model);
      const probe: LlamaProbe = { dispose: () => sampler.dispose() };
      probes.set(probe, sampler);
      return probe;
    },
    dispose() {
      nativeSamplers.dispose();
      return model.dispose();
    },
  };
}

async function openContext(
  addon: Addon,
  model: AddonModel,
  { cells, sequences, batchSize, threads }: ContextShape,
  output: { embeddings?: boolean; ranking?: boolean },
): Promise<AddonContext> {
  const shape = { contextSize: cells, batchSize, sequences, flashAttention: "auto", threads, ...output } as const;
  const context = new addon.AddonContext(model, shape);
  await initialise(context, `no context of ${cells} tokens could be made`);
  return context;
}

/** A sampler as {@link LlamaContext.sample} needs it. */
interface NativeSampler {
  readonly native: AddonSampler;
  /** Takes the token that was drawn. Throws {@link GrammarDeadEnd} where it was drawn only because none may be. */
  onDraw(token: number): void;
}

function createSampler(
  addon: Addon,
  model: AddonModel,
  { grammars, nativeSamplers }: { readonly grammars: Grammars; readonly nativeSamplers: NativeSamplers },
  sampling: Sampling,
  history: Uint32Array,
): LlamaSampler {
  const { canBeNextTokenForGrammarEvaluationState, acceptGrammarEvaluationStateToken } = addon.AddonSampler;
  const config = samplerConfig(sampling, history);
  const grammar = sampling.grammar === undefined ? undefined : grammars.open(sampling.grammar);
  if (grammar !== undefined) config.grammarEvaluationState = grammar;
  const native = nativeSamplers.take();
  native.applyConfig(config);
  const penaltyWindow = Array.from(config.repeatPenaltyTokens ?? []);
  let logitBias = sampling.logitBias;

  const remember = (token: number) => {
    if (penaltyWindow.push(token) > sampling.penaltyWindow) penaltyWindow.shift();
  };
  const apply = () => {
    setBias(config, logitBias);
    if (config.repeatPenaltyTokens !== undefined) config.repeatPenaltyTokens = Uint32Array.from(penaltyWindow);
    native.applyConfig(config);
  };
  /** A grammar accepts such a token without looking: llama.cpp's texts end at U+0000. */
  const isTextless = (token: number) => {
    const text = model.detokenize(Uint32Array.of(token), true);
    return text === "" ? !model.getTokenString(token).startsWith("▁") : text.startsWith("\0");
  };

  const sampler: LlamaSampler = {
    setLogitBias(bias) {
      logitBias = bias;
      apply();
    },
    accept(tokens) {
      for (const token of tokens) {
        remember(token);
        if (grammar === undefined) continue;
        if (!canBeNextTokenForGrammarEvaluationState(grammar, token)) throw new GrammarDeadEnd();
        if (!model.isEogToken(token)) acceptGrammarEvaluationStateToken(grammar, token);
      }
      apply();
    },
    dispose: () => nativeSamplers.giveBack(native, config.seed),
  };
  samplers.set(sampler, {
    native,
    onDraw(token) {
      remember(token);
      if (grammar === undefined) return;
      const isRefused = model.isEogToken(token)
        ? !canBeNextTokenForGrammarEvaluationState(grammar, token)
        : isTextless(token);
      if (isRefused || logitBias.get(token) === Number.NEGATIVE_INFINITY) throw new GrammarDeadEnd();
    },
  });
  return sampler;
}

/** The native samplers of a model. */
interface NativeSamplers {
  /** One without a configuration. */
  take(): AddonSampler;
  /** Takes one back that nothing draws with any more; `seed` is that of its configuration. */
  giveBack(native: AddonSampler, seed: number): void;
  dispose(): void;
}

/**
 * Keeps those that were given back, as many as ever were out together. One holds
 * 12 bytes per token of the vocabulary, and disposed of it keeps them until
 * JavaScript's next great collection: of a vocabulary of 152,000 each request left
 * 1.8 MB behind, and took 5 ms to get as much anew.
 */
function createNativeSamplers(addon: Addon, model: AddonModel): NativeSamplers {
  const idle: AddonSampler[] = [];
  return {
    take: () => idle.pop() ?? new addon.AddonSampler(model),
    giveBack(native, seed) {
      // Ends all that it had but the seed: the same one again would go on where its draws have ended.
      native.applyConfig({ temperature: 0, seed: (seed ^ 1) >>> 0 });
      idle.push(native);
    },
    dispose() {
      for (const native of idle.splice(0)) native.dispose();
    },
  };
}

/** Opens grammars of a model. */
interface Grammars {
  /** A state at the beginning of a grammar; it keeps the grammar. */
  open(gbnf: string): AddonGrammarState;
}

/** Grammars that were opened last and are kept: a choice each, and the requests that come again. */
const keptGrammars = 16;

/**
 * A grammar is parsed to check it and once more for each state; those opened
 * last are known to be right. (To copy a state is faster still, but llama.cpp
 * takes the product of its stacks and the grammar's elements for it, which a
 * grammar of a request's own may make large.)
 */
function createGrammars(addon: Addon, model: AddonModel): Grammars {
  const kept = new Map<string, AddonGrammar>();
  return {
    open(gbnf) {
      const grammar = kept.get(gbnf) ?? new addon.AddonGrammar(gbnf, { addonExports: addon, rootRuleName: "root" });
      kept.delete(gbnf);
      kept.set(gbnf, grammar);
      const [oldest] = kept.keys();
      if (kept.size > keptGrammars && oldest !== undefined) kept.delete(oldest);
      return new addon.AddonGrammarEvaluationState(model, grammar);
    },
  };
}

function wrapContext(context: AddonContext): LlamaContext {
  const drawToken = createDrawing(context);
  return {
    async decode(rows) {
      context.initBatch(rows.reduce((sum, row) => sum + row.tokens.length, 0));
      let tokens = 0;
      const indexes = rows.map((row) => {
        const first = row.tokens.length - row.logits;
        const logits = Uint32Array.from({ length: row.logits }, (_, index) => first + index);
        context.addToBatch(row.sequence, row.position, row.tokens, logits);
        tokens += row.tokens.length;
        return tokens - 1;
      });
      await context.decodeBatch();
      return indexes;
    },
    async sample(index, sampler) {
      const { native, onDraw } = addonSampler(sampler);
      let token: number;
      try {
        token = await drawToken(index, native);
      } catch (error) {
        if (/empty grammar stack/.test(String(error))) throw new GrammarDeadEnd();
        throw error;
      }
      if (token < 0) throw new LoquiError("internal", "no token is left to draw");
      onDraw(token);
      return token;
    },
    async topLogits(index, probe, count) {
      const sampler = probeSampler(probe);
      // Top-k sorts what it keeps; the temperature of 1 changes nothing; which of them is drawn is of no interest.
      sampler.applyConfig({ temperature: 1, topK: count, seed: 0 });
      const [, , , logits = []] = await context.sampleToken(index, sampler, false, false, filterOf([], count), false);
      return pairs(logits);
    },
    async tailWeight(index, probe, { without, token }) {
      const sampler = probeSampler(probe);
      // Greedy neither sorts nor changes logits.
      sampler.applyConfig({
        temperature: 0,
        seed: 0,
        tokenBiasKeys: Uint32Array.from(without),
        tokenBiasValues: new Float32Array(without.length).fill(Number.NEGATIVE_INFINITY),
      });
      const filter = token === undefined ? undefined : filterOf([token], 0);
      const [, , , logits = [], weight] = await context.sampleToken(index, sampler, false, false, filter, true);
      return { weight: weight ?? Number.NaN, logit: pairs(logits)[0]?.logit };
    },
    removeCells: (sequence, from) => context.removeTokenCellsFromSequence(sequence, from, -1),
    minPosition: (sequence) => context.getSequenceKvCacheMinPosition(sequence),
    async copySequence(source, target) {
      await context.copySequenceStateFromOtherSequence(target, source);
    },
    setThreads: (threads) => context.setThreads(threads),
    dispose: () => context.dispose(),
  };
}

/** A draw that waits for the others of its turn. */
interface WaitingDraw {
  readonly index: number;
  readonly sampler: AddonSampler;
  readonly settle: PromiseWithResolvers<number>;
}

/**
 * Draws a token, as {@link AddonContext.sampleToken} does. The local build makes
 * what is asked for in one turn of the event loop at once, on the threads of the
 * decode: 16 draws from 49,000 tokens take 1.4 ms instead of 2.
 */
function createDrawing(context: AddonContext): (index: number, sampler: AddonSampler) => Promise<number> {
  const sampleTokens = context.sampleTokens?.bind(context);
  if (sampleTokens === undefined) return (index, sampler) => context.sampleToken(index, sampler);
  let waiting: WaitingDraw[] = [];

  const drawAll = async () => {
    const draws = waiting;
    waiting = [];
    try {
      const results = await sampleTokens(
        Int32Array.from(draws, ({ index }) => index),
        draws.map(({ sampler }) => sampler),
      );
      for (const [place, { settle }] of draws.entries()) {
        const result = results[place];
        if (typeof result === "number") settle.resolve(result);
        else settle.reject(new Error(result));
      }
    } catch (error) {
      for (const { settle } of draws) settle.reject(error);
    }
  };

  return (index, sampler) => {
    const settle = Promise.withResolvers<number>();
    if (waiting.push({ index, sampler, settle }) === 1) queueMicrotask(drawAll);
    return settle.promise;
  };
}

function wrapPooled(context: AddonContext): PooledContext {
  return {
    async pool(rows) {
      context.initBatch(rows.reduce((sum, row) => sum + row.length, 0));
      // What is pooled are the outputs of all tokens; llama.cpp warns of each batch that has others.
      for (const [sequence, row] of rows.entries())
        context.addToBatch(
          sequence,
          0,
          row,
          row.map((_, index) => index),
        );
      try {
        await context.decodeBatch();
        return Float32Array.from(context.getSequenceEmbeddings?.(rows.length) ?? context.getEmbedding(1));
      } finally {
        // The next rows begin at position 0 again. Encoders have no cells, and that is fine too.
        for (const sequence of rows.keys()) context.removeTokenCellsFromSequence(sequence, -1, -1);
      }
    },
    dispose: () => context.dispose(),
  };
}

function filterOf(tokens: number[], top: number): AddonLogitsFilter {
  return [tokens, false, false, false, top];
}

function pairs(numbers: readonly number[]): TokenLogit[] {
  const result: TokenLogit[] = [];
  for (let i = 0; i + 1 < numbers.length; i += 2) result.push({ token: numbers[i] ?? 0, logit: numbers[i + 1] ?? 0 });
  return result;
}

function probeSampler(probe: LlamaProbe): AddonSampler {
  const found = probes.get(probe);
  if (found === undefined) throw new TypeError("the probe is not of this library");
  return found;
}

function addonSampler(sampler: LlamaSampler): NativeSampler {
  const found = samplers.get(sampler);
  if (found === undefined) throw new TypeError("the sampler is not of this library");
  return found;
}

function samplerConfig(sampling: Sampling, history: Uint32Array): SamplerConfig {
  // Logits divided by less than this overflow to infinity and their softmax to NaN; the draw would be greedy anyhow.
  const temperature = sampling.temperature < 1e-6 ? 0 : sampling.temperature;
  const config: SamplerConfig = { temperature, seed: foldSeed(sampling.seed) };
  if (sampling.topK > 0) config.topK = sampling.topK;
  if (sampling.topP < 1) config.topP = sampling.topP;
  if (sampling.minP > 0) config.minP = sampling.minP;
  if (sampling.penaltyWindow > 0) {
    config.repeatPenaltyTokens = history.slice(-sampling.penaltyWindow);
    config.repeatPenaltyMaxTokens = sampling.penaltyWindow;
    config.repeatPenalty = sampling.repeatPenalty;
    config.repeatPenaltyFrequencyPenalty = sampling.frequencyPenalty;
    config.repeatPenaltyPresencePenalty = sampling.presencePenalty;
  }
  if (sampling.xtc !== undefined) {
    config.xtcProbability = sampling.xtc.probability;
    config.xtcThreshold = sampling.xtc.threshold;
  }
  setBias(config, sampling.logitBias);
  return config;
}

function setBias(config: SamplerConfig, bias: ReadonlyMap<number, number>): void {
  config.tokenBiasKeys = Uint32Array.from(bias.keys());
  config.tokenBiasValues = Float32Array.from(bias.values());
}

/** llama.cpp's seeds have 32 bits, and the highest means "a random one". */
function foldSeed(seed: number): number {
  const folded = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
  return folded === 0xffff_ffff ? 0xffff_fffe : folded;
}
