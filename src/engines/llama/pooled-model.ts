import { availableParallelism } from "node:os";
import { type GgufHeader, readGgufHeader } from "../../gguf/gguf-header.ts";
import { poolingType } from "../../gguf/gguf-task.ts";
import { joinTokens } from "../join-tokens.ts";
import type { TextModelInfo } from "../text-engine.ts";
import { type Llama, type LlamaModel, type LogLevel, loadLlama, type PooledContext } from "./addon.ts";
import { checkGguf } from "./gguf-check.ts";
import { refusalOf } from "./long-runs.ts";
import { checkPooled, type PooledKind, poolingOf, scoresOf, unfit } from "./pooled-check.ts";
import { createTokenizer } from "./tokenize.ts";

/** How a GGUF model that makes vectors or scores is to be run. */
export interface PooledOptions {
  /** The .gguf file; of a split model the first. */
  readonly path: string;
  /** Rows of one batch, where the model has a KV cache: it has `contextLength × sequences` cells. */
  readonly sequences: number;
  /** The longest row, in tokens. Default: as trained, at most 8192 and so many that their outputs fit {@link outputBytes}. */
  readonly contextLength?: number | undefined;
  /** Tokens of a batch of several rows. Default 512. */
  readonly batchSize?: number | undefined;
  /** Threads that compute. Default: as many as there are cores that do arithmetic well. */
  readonly threads?: number | undefined;
  /** Gets what llama.cpp logs, from warnings up. Of all models in the process, by the last that was given. */
  readonly onLog?: ((level: LogLevel, message: string) => void) | undefined;
}

/** A model that makes some numbers of each row of tokens. */
export interface PooledModel extends AsyncDisposable {
  readonly header: GgufHeader;
  readonly kind: PooledKind;
  readonly info: TextModelInfo;
  readonly model: LlamaModel;
  readonly contextLength: number;
  /** Numbers of one row. */
  readonly width: number;
  /** Tokens of a text, without those that stand around it. */
  /** Token ids of a text. With `special`, the texts of control tokens become those tokens. */
  tokenize(text: string, special: boolean): Uint32Array;
  /** The numbers of rows, one after the other. Rows have 1 to `contextLength` tokens of the vocabulary. Not reentrant. */
  run(rows: readonly Uint32Array[]): Promise<Float32Array>;
}

/** What is to come out: vectors, pooled as said or as the file says, or scores of its classifier. */
export type PooledOutput = { readonly vectors: string | undefined } | "scores";

/**
 * Memory for the outputs of one batch of one context. llama.cpp keeps a logit of every token of
 * the vocabulary for each token of a batch, also where nobody reads them
 * (`llama_context::output_reserve`).
 */
const outputBytes = 2 ** 30;

/** Tokens of a row where nothing says more: memory for masks grows with their square. */
const mostByDefault = 8192;

/** LLAMA_MAX_SEQ of llama.cpp, and rows enough for a batch of short texts. */
const mostSequences = { decoder: 256, encoder: 128 } as const;
/**
 * Opens a GGUF model that makes vectors or scores. The local build computes
 * many rows at once on all threads; the prebuilt binary shows the result of one
 * row only, so that several contexts of one thread each compute one at a time
 * side by side. In a batch of 32, a row of 16 tokens took 6 ms of a core, alone
 * 10, with the prebuilt binary 16; a row of 64 tokens 24, 24 and 44 (MiniLM's
 * shape, float32, CPU time on an EPYC that was busy with other things too).
 * Throws `model_unavailable`.
 */
export async function openPooledModel(options: PooledOptions, output: PooledOutput): Promise<PooledModel> {
  checkOptions(options);
  const header = readGgufHeader(options.path);
  checkGguf(header);
  const kind = checkPooled(header);
  const pooling = output === "scores" ? undefined : poolingOf(header, kind, output.vectors);
  const scores = output === "scores" ? scoresOf(header, kind.architecture) : 0;
  const llama = await loadLlama(options.onLog);
  const replaced =
    pooling === undefined ? [] : ([[`${kind.architecture}.pooling_type`, poolingType[pooling]]] as const);
  const model = await llama.openModel(options.path, 0, new Map(replaced));
  const contexts: PooledContext[] = [];
  try {
    const lanes = lanesOf(llama, options.threads);
    const contextLength = contextLengthOf(options, model, kind.vocabularySize);
    // Decoders compute rows of unequal length in parts, of which only the last is pooled: it must hold all.
    const whole = kind.encoder || (kind.causal && (pooling === "lasttoken" || output === "scores"));
    const most = kind.encoder ? mostSequences.encoder : options.sequences;
    const batchTokens = Math.max(options.batchSize ?? 512, contextLength);
    // Each sequence may have an output, and there is room for one for each token of a batch (`output_reserve`).
    const sequences = llama.poolsBatches && whole ? Math.min(most, batchTokens) : 1;
    const cells = Math.ceil(contextLength / 256) * 256 * sequences;
    const batchSize = Math.min(batchTokens, cells);
    for (let lane = 0; lane < lanes.contexts; lane += 1) {
      const shape = { cells, sequences, batchSize, threads: lanes.threads };
      contexts.push(await model.openPooledContext(shape, output === "scores" ? "scores" : "vectors"));
    }
    const width = scores > 0 ? scores : model.embeddingSize;
    const { vocabularySize } = kind;
    const tokenize = createTokenizer(model, { vocabularySize, refusal: refusalOf(header) });
    const checkRows = (rows: readonly Uint32Array[]) => {
      for (const row of rows) {
        if (row.length < 1 || row.length > contextLength) {
          throw new Error(`a row has 1 to ${contextLength} tokens, not ${row.length}`);
        }
        const alien = row.find((token) => token >= vocabularySize);
        if (alien !== undefined) throw new Error(`token ${alien} is not in the vocabulary of ${vocabularySize}`);
      }
    };
    let running: Promise<unknown> | undefined;
    let disposal: Promise<void> | undefined;
    return {
      header,
      kind,
      info: {
        architecture: kind.architecture,
        parameters: model.parameters,
        vocabularySize,
        sizeBytes: model.sizeBytes,
        threads: lanes.contexts * lanes.threads,
      },
      model,
      contextLength,
      width,
      tokenize: (text, special) => joinTokens([...tokenize(text, special)]),
      async run(rows) {
        if (disposal !== undefined) throw new Error("the engine is disposed");
        if (running !== undefined) throw new Error("run is not reentrant");
        checkRows(rows);
        const work = runBatches(contexts, batchesOf(rows, sequences, batchSize), rows.length, width);
        running = work;
        try {
          return await work;
        } finally {
          running = undefined;
        }
      },
      [Symbol.asyncDispose]() {
        disposal ??= (async () => {
          await Promise.allSettled([running]);
          await close(contexts, model);
        })();
        return disposal;
      },
    };
  } catch (error) {
    await close(contexts, model);
    throw error;
  }
}

/** Rows that are computed together, and the place of the first one. */
interface Batch {
  readonly first: number;
  readonly rows: readonly Uint32Array[];
}

/** Parts rows, in their order, into batches of some sequences and tokens; each row fits alone. */
function batchesOf(rows: readonly Uint32Array[], sequences: number, batchSize: number): Batch[] {
  const batches: { first: number; rows: Uint32Array[] }[] = [];
  let tokens = 0;
  for (const [place, row] of rows.entries()) {
    const batch = batches.at(-1);
    if (batch !== undefined && batch.rows.length < sequences && tokens + row.length <= batchSize) {
      batch.rows.push(row);
      tokens += row.length;
    } else {
      batches.push({ first: place, rows: [row] });
      tokens = row.length;
    }
  }
  return batches;
}

/** Each context takes the next batch when it is done with one. All have come to rest when it settles. */
async function runBatches(
  contexts: readonly PooledContext[],
  batches: readonly Batch[],
  rows: number,
  width: number,
): Promise<Float32Array> {
  const result = new Float32Array(rows * width);
  const next = batches.values();
  const results = await Promise.allSettled(
    contexts.map(async (context) => {
      for (const batch of next) {
        const numbers = await context.pool(batch.rows);
        if (numbers.length !== batch.rows.length * width) {
          throw new Error(`${batch.rows.length} rows made ${numbers.length} numbers instead of ${width} each`);
        }
        result.set(numbers, batch.first * width);
      }
    }),
  );
  const failed = results.find(({ status }) => status === "rejected");
  if (failed?.status === "rejected") throw failed.reason;
  return result;
}

async function close(contexts: readonly PooledContext[], model: LlamaModel): Promise<void> {
  for (const context of contexts) await context.dispose();
  await model.dispose();
}

/** How many contexts compute beside each other, with how many threads each. */
function lanesOf(llama: Llama, threads = Math.min(llama.mathCores, availableParallelism())) {
  if (llama.poolsBatches) return { contexts: 1, threads };
  // Each takes a thread of libuv's pool while it computes; a local build without the patch has but one.
  const contexts = Math.min(threads, Number(process.env.UV_THREADPOOL_SIZE) || 4);
  return { contexts, threads: Math.floor(threads / contexts) };
}

function contextLengthOf({ contextLength }: PooledOptions, model: LlamaModel, vocabularySize: number): number {
  const most = model.trainContextLength;
  if (contextLength !== undefined && contextLength > most) {
    throw unfit(`n_ctx ${contextLength} is above the model's maximum ${most}`);
  }
  return contextLength ?? Math.max(Math.min(most, mostByDefault, Math.floor(outputBytes / (4 * vocabularySize))), 1);
}

/** GGML_MAX_N_THREADS of llama.cpp; the others so that nothing overflows there. */
const highest = { sequences: mostSequences.decoder, contextLength: 2 ** 20, batchSize: 65_536, threads: 512 } as const;

function checkOptions(options: PooledOptions): void {
  for (const [name, most] of Object.entries(highest)) {
    const value = options[name as keyof typeof highest];
    if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= most)) continue;
    throw unfit(`${name} ${value} is not from 1 to ${most}`);
  }
}
