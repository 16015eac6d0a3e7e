import type { PairEngine } from "../engines/pair-engine.ts";
import type { TextEngine } from "../engines/text-engine.ts";
import type { TokenEngine } from "../engines/token-engine.ts";

/** How far a worker has come: what it answers to a ping. */
export interface Pulse {
  /** Pieces of work that have begun and not ended: calls, and what the engine does for them. */
  readonly open: number;
  /** Pieces of work that have ended since the process began. */
  readonly done: number;
  /** CPU time of all threads but the event loop's since the process began, in milliseconds: what engines compute with. */
  readonly cpuMs: number;
  /** Pages that had to be read from a disk since the process began: weights that are mapped, or swapped out. */
  readonly pagesRead: number;
}

/** Counts the work of a worker. */
export interface WorkCounter {
  /** Counts a piece of work while it runs, however it ends. */
  count<T>(work: () => Promise<T>): Promise<T>;
  pulse(): Pulse;
}

export function createWorkCounter(): WorkCounter {
  let open = 0;
  let done = 0;
  return {
    async count(work) {
      open += 1;
      try {
        return await work();
      } finally {
        open -= 1;
        done += 1;
      }
    },
    pulse() {
      const { user, system } = process.threadCpuUsage();
      const { userCPUTime, systemCPUTime, majorPageFault } = process.resourceUsage();
      const cpuMs = (userCPUTime + systemCPUTime - user - system) / 1000;
      return { open, done, cpuMs, pagesRead: majorPageFault };
    },
  };
}

/** The engine, with what it does on other threads counted: each decode and each draw is a sign of progress. */
export function countTokenEngine(engine: TokenEngine, { count }: WorkCounter): TokenEngine {
  return {
    info: engine.info,
    sequences: engine.sequences,
    contextLength: engine.contextLength,
    batchSize: engine.batchSize,
    refusal: (text) => engine.refusal(text),
    tokenize: (text, parseSpecial, addSpecial) => engine.tokenize(text, parseSpecial, addSpecial),
    tokenizePieces: (text, parseSpecial) => engine.tokenizePieces(text, parseSpecial),
    detokenize: (tokens) => engine.detokenize(tokens),
    createTextDecoder: (special) => engine.createTextDecoder(special),
    tokenBytes: (token) => engine.tokenBytes(token),
    isEndOfGeneration: (token) => engine.isEndOfGeneration(token),
    createSampler: (sampling, history) => engine.createSampler(sampling, history),
    changeSampler: (sampler, change) => engine.changeSampler(sampler, change),
    decode: (rows) => count(() => engine.decode(rows)),
    sample: (logits, sampler) => count(() => engine.sample(logits, sampler)),
    logprobs: (logits, token, top) => count(() => engine.logprobs(logits, token, top)),
    truncate: (sequence, length) => count(() => engine.truncate(sequence, length)),
    copyPrefix: (source, target, length) => count(() => engine.copyPrefix(source, target, length)),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/** The engine, with its batches counted. */
export function countTextEngine(engine: TextEngine, { count }: WorkCounter): TextEngine {
  const { tokenHeads } = engine;
  return {
    info: engine.info,
    lanes: engine.lanes,
    aloneAbove: engine.aloneAbove,
    contextLength: engine.contextLength,
    width: engine.width,
    prompts: engine.prompts,
    defaultPrompt: engine.defaultPrompt,
    tokenize: (text, truncate) => engine.tokenize(text, truncate),
    embed: (rows, shared) => count(() => engine.embed(rows, shared)),
    tokenHeads: tokenHeads && {
      ...tokenHeads,
      embed: (rows, wanted, shared) => count(() => tokenHeads.embed(rows, wanted, shared)),
    },
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/** As {@link countTextEngine}. */
export function countPairEngine(engine: PairEngine, { count }: WorkCounter): PairEngine {
  return {
    info: engine.info,
    lanes: engine.lanes,
    aloneAbove: engine.aloneAbove,
    contextLength: engine.contextLength,
    takesInstruction: engine.takesInstruction,
    tokenizeQuery: (query, instruction) => engine.tokenizeQuery(query, instruction),
    tokenizeDocument: (document, maxTokens) => engine.tokenizeDocument(document, maxTokens),
    pair: (query, document, truncate, limit) => engine.pair(query, document, truncate, limit),
    score: (pairs, shared) => count(() => engine.score(pairs, shared)),
    readScore: (raw) => engine.readScore(raw),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}
