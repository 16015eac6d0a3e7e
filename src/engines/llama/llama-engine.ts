import { availableParallelism } from "node:os";
import { LoquiError } from "../../errors.ts";
import { type GgufHeader, isArray, numbersOf, readGgufHeader, textOf } from "../../gguf/gguf-header.ts";
import { isGenerative } from "../../gguf/gguf-task.ts";
import { joinTokens } from "../join-tokens.ts";
import type {
  DecodeRow,
  LogitsHandle,
  ModelInfo,
  Sampler,
  SamplerChange,
  Sampling,
  ShownControls,
  TokenEngine,
  TokenLogprobs,
  TokenTextDecoder,
} from "../token-engine.ts";
import { type LlamaContext, type LlamaModel, type LlamaSampler, type LogLevel, loadLlama } from "./addon.ts";
import { createDry, type Dry } from "./dry.ts";
import { findFillInTokens } from "./fill-in.ts";
import { fillersFor } from "./fillers.ts";
import { checkGguf } from "./gguf-check.ts";
import { createProbePool, mostTopLogprobs, type ProbePool, readLogprobs } from "./logprobs.ts";
import { refusalOf } from "./long-runs.ts";
import { orderRows } from "./row-order.ts";
import { chooseThreads, type ThreadChoice, threadCounts } from "./threads.ts";
import { bytesBehind, createTextDecoder, createTokenBytes, type TokenBytes } from "./token-text.ts";
import { createTokenizer, type Tokenizer, textsAcrossWords } from "./tokenize.ts";

/** How a GGUF model is to be run. */
export interface LlamaOptions {
  /** The .gguf file; of a split model the first. */
  readonly path: string;
  /** Sequences in the KV cache. */
  readonly sequences: number;
  /** Positions per sequence: the KV cache has `contextLength × sequences`. Default: as trained, 4096 at most. */
  readonly contextLength?: number | undefined;
  /** Tokens per decode. Default 512. */
  readonly batchSize?: number | undefined;
  /** Threads that compute. Default: as many as a few timed decodes are fastest with. */
  readonly threads?: number | undefined;
  /** Layers to keep on a GPU. Default 0; the CPU binaries ignore it. */
  readonly gpuLayers?: number | undefined;
  /** Gets what llama.cpp logs, from warnings up. Of all models in the process, by the last that was given. */
  readonly onLog?: ((level: LogLevel, message: string) => void) | undefined;
}

/**
 * Opens a GGUF model on llama.cpp. The file is checked first, since llama.cpp
 * ends the process on some broken ones. Throws `model_unavailable`.
 */
export async function openLlamaEngine(options: LlamaOptions): Promise<LlamaEngine> {
  checkShape(options);
  const header = readGgufHeader(options.path);
  checkGguf(header);
  checkGenerates(header);
  const llama = await loadLlama(options.onLog);
  const model = await llama.openModel(options.path, options.gpuLayers ?? 0);
  let context: LlamaContext | undefined;
  try {
    const sequences = options.sequences;
    const contextLength = options.contextLength ?? Math.min(model.trainContextLength || 4096, 4096);
    const cells = Math.ceil(contextLength / 256) * 256 * sequences;
    const batchSize = Math.min(options.batchSize ?? 512, cells);
    context = await model.openContext({ cells, sequences, batchSize, threads: options.threads ?? 1 });
    const most = Math.min(llama.mathCores, availableParallelism());
    // Threads that stay cost nothing: where a number is asked for, it is taken.
    const counts =
      options.threads === undefined || !llama.keepsThreads
        ? threadCounts(options.threads ?? most, model.sizeBytes)
        : [options.threads];
    const threads = await chooseThreads(context, counts, batchSize, llama.keepsThreads);
    const forgets = sequences > 2 && (await canForget(context));
    const [window] = numbersOf(header.metadata.get(`${architectureOf(header)}.attention.sliding_window`));
    const info = modelInfo(model, header, threads.batch);
    const tokens = header.metadata.get("tokenizer.ggml.tokens");
    return new LlamaEngine(model, context, info, {
      sequences,
      contextLength,
      batchSize,
      window,
      forgets,
      refusal: refusalOf(header),
      threads,
      added: addedTokens(model, header),
      acrossWords: isArray(tokens) && tokens.texts !== undefined ? textsAcrossWords(tokens.texts) : undefined,
    });
  } catch (error) {
    await context?.dispose();
    await model.dispose();
    throw error;
  }
}

/**
 * Positions that a filler may hold more than those it is computed with. A fourth
 * row beside three of 100 took less than their two passes up to 1,300 (135 million
 * parameters, two cores; 494 million: also at 1,900).
 */
const fillerReach = 512;

/** Readings of logits at a time: libuv's pool has four threads where nothing else is set. */
const probes = 4;

interface EngineShape {
  readonly sequences: number;
  readonly contextLength: number;
  readonly batchSize: number;
  /** Positions that sliding-window layers see, where the model says so. */
  readonly window: number | undefined;
  /** See {@link canForget}. */
  readonly forgets: boolean;
  readonly refusal: (text: string) => string | undefined;
  readonly threads: ThreadChoice;
  readonly added: AddedTokens;
  readonly acrossWords: readonly string[] | undefined;
}

/** The tokens with which the model wants every text to begin and to end. */
interface AddedTokens {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** A sampler and the draws that it is busy with. */
interface SamplerState {
  readonly native: LlamaSampler;
  logitBias: ReadonlyMap<number, number>;
  readonly dry: Dry | undefined;
  draws: number;
  disposed: boolean;
}

/**
 * A GGUF model on llama.cpp. Every call is checked before it reaches native
 * code, which would end the process: ids, positions, lengths, stale handles.
 * Breaking the contract of {@link TokenEngine} throws a plain `Error`.
 */
class LlamaEngine implements TokenEngine {
  readonly info: ModelInfo;
  readonly sequences: number;
  readonly contextLength: number;
  readonly batchSize: number;
  readonly refusal: (text: string) => string | undefined;
  readonly #model: LlamaModel;
  readonly #context: LlamaContext;
  readonly #window: number | undefined;
  readonly #forgets: boolean;
  readonly #threads: ThreadChoice;
  readonly #bytes: TokenBytes;
  readonly #tokenize: Tokenizer;
  readonly #added: AddedTokens;
  /** Cells that each sequence holds. */
  readonly #held: number[];
  readonly #samplers = new Map<Sampler, SamplerState>();
  readonly #probes: ProbePool;
  /** Draws and readings of logits that run now. */
  readonly #draws = new Set<Promise<unknown>>();
  /** The decode or copy that runs now. */
  #busy: Promise<unknown> | undefined;
  /** Handles are `decode number × batch size + index`, which tells the stale ones. */
  #decodes = 0;
  #disposal: Promise<void> | undefined;

  constructor(model: LlamaModel, context: LlamaContext, info: ModelInfo, shape: EngineShape) {
    this.info = info;
    this.sequences = shape.sequences;
    this.contextLength = shape.contextLength;
    this.batchSize = shape.batchSize;
    this.#model = model;
    this.#context = context;
    this.#window = shape.window;
    this.#forgets = shape.forgets;
    this.#threads = shape.threads;
    this.#bytes = createTokenBytes(model);
    this.#probes = createProbePool(() => model.createProbe(), probes);
    this.refusal = shape.refusal;
    this.#tokenize = createTokenizer(model, { vocabularySize: info.vocabularySize, ...shape });
    this.#added = shape.added;
    this.#held = new Array(shape.sequences).fill(0);
  }

  tokenize(text: string, parseSpecial: boolean, addSpecial = false): Uint32Array {
    this.#checkOpen();
    const tokens = joinTokens([...this.#tokenize(text, parseSpecial)]);
    return addSpecial ? Uint32Array.from([...this.#added.before, ...tokens, ...this.#added.after]) : tokens;
  }

  *tokenizePieces(text: string, parseSpecial: boolean): Iterable<Uint32Array> {
    for (const piece of this.#tokenize(text, parseSpecial)) {
      yield piece;
      // Much may happen between two.
      this.#checkOpen();
    }
  }

  detokenize(tokens: Uint32Array): string {
    this.#checkOpen();
    this.#checkTokens(tokens);
    return bytesBehind(this.#bytes, tokens).toString();
  }

  createTextDecoder(special: ShownControls = false): TokenTextDecoder {
    const decoder = createTextDecoder(this.#bytes, special);
    return {
      push: (token) => {
        this.#checkOpen();
        this.#checkTokens([token]);
        return decoder.push(token);
      },
      flush: decoder.flush,
    };
  }

  tokenBytes(token: number): Uint8Array {
    this.#checkOpen();
    this.#checkTokens([token]);
    return this.#bytes.of(token, true);
  }

  isEndOfGeneration(token: number): boolean {
    this.#checkOpen();
    this.#checkTokens([token]);
    return this.#model.isEndOfGeneration(token);
  }

  createSampler(sampling: Sampling, history: Uint32Array): Sampler {
    this.#checkOpen();
    this.#checkTokens(sampling.logitBias.keys());
    // The window is allocated at once.
    const penaltyWindow = Math.min(sampling.penaltyWindow, this.contextLength);
    const native = this.#model.createSampler({ ...sampling, penaltyWindow }, history);
    const dry =
      sampling.dry === undefined ? undefined : createDry(sampling.dry, history, (token) => this.#bytes.of(token, true));
    const state: SamplerState = { native, logitBias: sampling.logitBias, dry, draws: 0, disposed: false };
    const sampler: Sampler = { dispose: () => this.#disposeSampler(sampler, state) };
    this.#samplers.set(sampler, state);
    return sampler;
  }

  changeSampler(sampler: Sampler, { tokens, logitBias }: SamplerChange): void {
    this.#checkOpen();
    this.#checkTokens(tokens ?? []);
    this.#checkTokens(logitBias?.keys() ?? []);
    const state = this.#idleSampler(sampler);
    if (logitBias !== undefined) {
      state.logitBias = logitBias;
      state.native.setLogitBias(logitBias);
    }
    if (tokens === undefined) return;
    state.native.accept(tokens);
    for (const token of tokens) state.dry?.push(token);
  }

  async decode(rows: readonly DecodeRow[]): Promise<LogitsHandle[][]> {
    this.#checkOpen();
    if (this.#busy !== undefined) throw new Error("decode is not reentrant");
    this.#checkRows(rows);
    this.#decodes += 1;
    const one = rows.length === 1 && rows[0]?.tokens.length === 1;
    const fillers = this.#fillersOf(rows);
    const ordered = orderRows([...rows, ...fillers]);
    const indexes = await this.#alone(async () => {
      this.#context.setThreads(one ? this.#threads.token : this.#threads.batch);
      try {
        return await this.#context.decode(ordered.map(({ row }) => row));
      } finally {
        for (const { sequence, position } of fillers) this.#context.removeCells(sequence, position);
      }
    });
    for (const row of rows) this.#held[row.sequence] = row.position + row.tokens.length;
    const handles: LogitsHandle[][] = rows.map(() => []);
    for (const [i, { row, place }] of ordered.entries()) {
      if (place >= rows.length) continue;
      const first = this.#decodes * this.batchSize + (indexes[i] ?? 0) - row.logits + 1;
      handles[place] = Array.from({ length: row.logits }, (_, index) => (first + index) as LogitsHandle);
    }
    return handles;
  }

  async sample(logits: LogitsHandle, sampler: Sampler): Promise<number> {
    this.#checkOpen();
    this.#checkLogits(logits);
    const state = this.#idleSampler(sampler);
    const { dry } = state;
    if (dry !== undefined) state.native.setLogitBias(lowered(state.logitBias, dry.penalties()));
    const draw = this.#context.sample(logits % this.batchSize, state.native);
    this.#draws.add(draw);
    state.draws += 1;
    try {
      const token = await draw;
      dry?.push(token);
      return token;
    } finally {
      this.#draws.delete(draw);
      state.draws -= 1;
      if (state.disposed) this.#disposeSampler(sampler, state);
    }
  }

  async logprobs(logits: LogitsHandle, token: number, top: number): Promise<TokenLogprobs> {
    this.#checkOpen();
    this.#checkLogits(logits);
    this.#checkTokens([token]);
    if (top > mostTopLogprobs) throw new Error(`${top} log-probabilities are more than ${mostTopLogprobs}`);
    const index = logits % this.batchSize;
    const reading = this.#probes.run((probe) => readLogprobs(this.#context, probe, index, token, top));
    this.#draws.add(reading);
    try {
      return await reading;
    } finally {
      this.#draws.delete(reading);
    }
  }

  async truncate(sequence: number, length: number): Promise<boolean> {
    await this.#idle();
    this.#checkOpen();
    const held = this.#heldBy(sequence);
    if (length > held) throw new Error(`sequence ${sequence} holds ${held} tokens, not ${length}`);
    if (length === held && length > 0) return true;
    return this.#cut(sequence, length);
  }

  async copyPrefix(source: number, target: number, length: number): Promise<boolean> {
    await this.#idle();
    this.#checkOpen();
    const held = this.#heldBy(source);
    this.#heldBy(target);
    if (source === target) throw new Error(`sequence ${source} can't be copied to itself`);
    if (length > held) throw new Error(`sequence ${source} holds ${held} tokens, not ${length}`);
    // A failure leaves cells that nobody knows of; the next truncation to nothing clears them.
    this.#held[target] = 0;
    await this.#alone(() => this.#context.copySequence(source, target));
    this.#held[target] = held;
    return length === held || this.#cut(target, length);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    await this.#idle();
    await Promise.allSettled(this.#draws);
    for (const [sampler, state] of this.#samplers) this.#disposeSampler(sampler, state);
    this.#probes.dispose();
    await this.#context.dispose();
    await this.#model.dispose();
  }

  /** Runs what nothing else may run beside: it waits for the draws, and keeps others out. */
  async #alone<T>(run: () => Promise<T>): Promise<T> {
    const work = Promise.allSettled(this.#draws).then(run);
    this.#busy = work;
    try {
      return await work;
    } finally {
      this.#busy = undefined;
    }
  }

  /**
   * Rows of sequences that have none, to be forgotten again: see {@link fillersFor}.
   * None that holds far more than those that have: attention goes over as many
   * positions for all ({@link fillerReach}).
   */
  #fillersOf(rows: readonly DecodeRow[]): DecodeRow[] {
    if (!this.#forgets) return [];
    const generating = rows.filter(({ tokens }) => tokens.length === 1);
    const longest = Math.max(0, ...generating.map(({ position }) => position));
    const fillers = fillersFor(
      generating.map(({ sequence }) => sequence).sort((a, b) => a - b),
      new Set(rows.filter((row) => !generating.includes(row)).map(({ sequence }) => sequence)),
      (sequence) => this.#heldBy(sequence) <= longest + fillerReach,
    );
    const tokens = rows.reduce((sum, row) => sum + row.tokens.length, fillers.length);
    if (tokens > this.batchSize) return [];
    return fillers.map((sequence) => {
      return { sequence, position: this.#heldBy(sequence), tokens: new Uint32Array(1), logits: 0 };
    });
  }

  async #idle(): Promise<void> {
    while (this.#busy !== undefined) await Promise.allSettled([this.#busy]);
  }

  /** Drops cells from `length` on. Where what is left is not enough to go on from, drops all and says so. */
  #cut(sequence: number, length: number): boolean {
    const kept = this.#context.removeCells(sequence, length) && (length === 0 || this.#reaches(sequence, length));
    if (!kept) this.#context.removeCells(sequence, -1);
    this.#held[sequence] = kept ? length : 0;
    return kept;
  }

  /** Whether a sequence still has all cells that position `length` attends to. A window may have slid past them. */
  #reaches(sequence: number, length: number): boolean {
    const from = this.#context.minPosition(sequence);
    if (from <= 0) return from === 0;
    return this.#window !== undefined && from <= length - this.#window;
  }

  #idleSampler(sampler: Sampler): SamplerState {
    const state = this.#samplers.get(sampler);
    if (state === undefined || state.disposed) throw new Error("the sampler is disposed");
    if (state.draws > 0) throw new Error("a sampler draws one token at a time");
    return state;
  }

  #disposeSampler(sampler: Sampler, state: SamplerState): void {
    state.disposed = true;
    if (state.draws > 0 || !this.#samplers.delete(sampler)) return;
    state.native.dispose();
  }

  #checkOpen(): void {
    if (this.#disposal !== undefined) throw new Error("the engine is disposed");
  }

  #checkLogits(logits: LogitsHandle): void {
    if (this.#busy === undefined && Math.floor(logits / this.batchSize) === this.#decodes) return;
    throw new Error("the logits are of an earlier decode");
  }

  #heldBy(sequence: number): number {
    const held = this.#held[sequence];
    if (held === undefined) throw new Error(`there is no sequence ${sequence}, only 0 to ${this.sequences - 1}`);
    return held;
  }

  #checkRows(rows: readonly DecodeRow[]): void {
    let tokens = 0;
    const seen = new Set<number>();
    for (const row of rows) {
      const held = this.#heldBy(row.sequence);
      if (seen.has(row.sequence)) throw new Error(`sequence ${row.sequence} is in the batch twice`);
      seen.add(row.sequence);
      if (row.position !== held) {
        throw new Error(
          `sequence ${row.sequence} holds ${held} tokens, but its row begins at position ${row.position}`,
        );
      }
      const end = held + row.tokens.length;
      if (end > this.contextLength) {
        throw new LoquiError("context_too_long", `${end} tokens are above the context length ${this.contextLength}`, {
          promptTokens: end,
          contextLength: this.contextLength,
        });
      }
      if (row.tokens.length === 0) throw new Error(`the row of sequence ${row.sequence} is empty`);
      if (row.logits > row.tokens.length) {
        throw new Error(`the row of sequence ${row.sequence} has no ${row.logits} tokens to give the logits of`);
      }
      this.#checkTokens(row.tokens);
      tokens += row.tokens.length;
    }
    if (tokens < 1 || tokens > this.batchSize) {
      throw new Error(`a batch has 1 to ${this.batchSize} tokens, not ${tokens}`);
    }
  }

  #isToken(token: number): boolean {
    return Number.isInteger(token) && token >= 0 && token < this.info.vocabularySize;
  }

  #checkTokens(tokens: Iterable<number>): void {
    for (const token of tokens) {
      if (this.#isToken(token)) continue;
      throw new Error(`token ${token} is not in the vocabulary of ${this.info.vocabularySize}`);
    }
  }
}

export type { LlamaEngine };

function lowered(bias: ReadonlyMap<number, number>, penalties: ReadonlyMap<number, number>): Map<number, number> {
  const sum = new Map(bias);
  for (const [token, penalty] of penalties) sum.set(token, (bias.get(token) ?? 0) - penalty);
  return sum;
}

/**
 * Whether a sequence can give up its last cell, as all but recurrent states can.
 * Leaves the context empty.
 */
async function canForget(context: LlamaContext): Promise<boolean> {
  for (const position of [0, 1]) {
    await context.decode([{ sequence: 0, position, tokens: new Uint32Array(1), logits: 0 }]);
  }
  const forgets = context.removeCells(0, 1);
  context.removeCells(0, -1);
  return forgets;
}

/** At least what a token stands for: spellings are never shorter than the bytes they spell. */
function longestBytes(texts: Iterable<string> = []): number {
  let longest = 1;
  for (const text of texts) if (text.length > longest / 3) longest = Math.max(longest, Buffer.byteLength(text));
  return longest;
}

/** LLAMA_MAX_SEQ and GGML_MAX_N_THREADS of llama.cpp; the others so that nothing overflows there. */
const highest = { sequences: 256, contextLength: 2 ** 31 - 1, batchSize: 65_536, threads: 512 } as const;

function checkShape(options: LlamaOptions): void {
  for (const [name, most] of Object.entries(highest)) {
    const value = options[name as keyof typeof highest];
    if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) continue;
    throw new LoquiError("model_unavailable", `${name} ${value} is not from 1 to ${most}`);
  }
  const { contextLength = 1, sequences } = options;
  if ((contextLength + 256) * sequences < 2 ** 32) return;
  throw new LoquiError("model_unavailable", `contextLength ${contextLength} is too much for ${sequences} sequences`);
}

function architectureOf(header: GgufHeader): string {
  return textOf(header, "general.architecture") ?? "";
}

function checkGenerates(header: GgufHeader): void {
  const architecture = architectureOf(header);
  if (isGenerative(header, architecture)) return;
  throw new LoquiError("model_unavailable", `the model is an encoder (${architecture}) and generates no text`);
}

/** A special token. llama.cpp's addon names only control tokens; templates want any. */
function specialToken(model: LlamaModel, header: GgufHeader, name: "bos" | "eos"): number | undefined {
  const tokens = header.metadata.get("tokenizer.ggml.tokens");
  const [named = -1] = numbersOf(header.metadata.get(`tokenizer.ggml.${name}_token_id`));
  const native = name === "bos" ? model.bosToken : model.eosToken;
  return named >= 0 && named < (isArray(tokens) ? tokens.length : 0) ? named : native;
}

function addedTokens(model: LlamaModel, header: GgufHeader): AddedTokens {
  const wanted = (name: "bos" | "eos", added: boolean) => {
    const token = added ? specialToken(model, header, name) : undefined;
    return token === undefined ? [] : [token];
  };
  return { before: wanted("bos", model.addBos), after: wanted("eos", model.addEos) };
}

function modelInfo(model: LlamaModel, header: GgufHeader, threads: number): ModelInfo {
  const tokens = header.metadata.get("tokenizer.ggml.tokens");
  const vocabularySize = isArray(tokens) ? tokens.length : 0;
  const special = (name: "bos" | "eos") => {
    const token = specialToken(model, header, name);
    return token === undefined ? "" : model.tokenText(token);
  };
  return {
    architecture: architectureOf(header),
    parameters: model.parameters,
    trainContextLength: model.trainContextLength,
    vocabularySize,
    embeddingSize: model.embeddingSize,
    sizeBytes: model.sizeBytes,
    longestTokenBytes: isArray(tokens) ? longestBytes(tokens.texts) : 0,
    chatTemplate: textOf(header, "tokenizer.chat_template"),
    bosToken: special("bos"),
    eosToken: special("eos"),
    addBos: model.addBos,
    fillIn: findFillInTokens(model, header),
    license: textOf(header, "general.license") ?? textOf(header, "general.license.name"),
    description: textOf(header, "general.description"),
    threads,
  };
}
