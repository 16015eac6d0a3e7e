import type { TextEngine, TokenHeadsOfEngine } from "../text-engine.ts";
import { sparseWeights, type TokenOutput, type TokenOutputs } from "../token-outputs.ts";
import { encoderOf } from "./architectures.ts";
import { packRows } from "./batch.ts";
import { inFolder, openCheckpoint, unusable } from "./checkpoint.ts";
import { findExport, readExport } from "./exported-encoder.ts";
import type { GraphOptions, Quantization } from "./graph-builder.ts";
import { loadGraph } from "./loaded-graph.ts";
import type { PoolingMode } from "./pooling.ts";
import { buildGraphAfterExport, buildSentenceGraph } from "./sentence-graph.ts";
import { readLayout } from "./sentence-transformers.ts";
import type { SessionLanes } from "./session-lanes.ts";
import type { TokenHeads } from "./token-heads.ts";
import { readTokenizer } from "./tokenizer-files.ts";

export interface OnnxEngineOptions {
  /** The folder of a checkpoint as Hugging Face's hub has it. */
  readonly path: string;
  /** The name of an `.onnx` file in it to run, in place of the one that is looked for. */
  readonly file?: string | undefined;
  /** The longest text, in tokens; the model's own where absent. */
  readonly contextLength?: number | undefined;
  /** Threads to compute with; one for each processor where absent. */
  readonly threads?: number | undefined;
  /** How a text's tokens become one vector, several joined; as the checkpoint says where absent. */
  readonly pooling?: readonly PoolingMode[] | undefined;
  /** Tokens of a batch, in which no two rows of more than half of it are; a caller that keeps to none leaves it out. */
  readonly batchSize?: number | undefined;
  /** To 8 bits; the weights are taken as they are where absent. Not for exports. */
  readonly quantization?: Quantization | undefined;
}

/**
 * Loads an encoder from `config.json`, `tokenizer.json` and `model.safetensors`,
 * without an export: the graph is built here, and its weights stay where they
 * are. Where there is only an export, `onnx/model.onnx` or `model.onnx`, or one is
 * chosen, that is run instead. Throws `model_unavailable`.
 */
export async function openOnnxEngine(options: OnnxEngineOptions): Promise<TextEngine> {
  const checkpoint = openCheckpoint(options.path);
  const published = await readLayout(checkpoint);
  const layout = { ...published, pooling: options.pooling ?? published.pooling };
  const config = await checkpoint.json(inFolder(layout.encoder, "config.json"));
  const file = options.file ?? (await findExport(checkpoint, layout.encoder));
  refuseQuantized(file, options);
  const exported = file === undefined ? undefined : await readExport(checkpoint, file, config);
  if (exported?.graph.output.kind === "vectors" && options.pooling !== undefined) {
    throw unusable("pooling can't be chosen: the export makes vectors, not hidden states");
  }
  const encoder = exported ?? encoderOf(config);
  const { tokenizer, maxTokens } = await readTokenizer(checkpoint, layout.encoder, layout.lowerCase, encoder);
  const contextLength = contextOf(options, Math.min(layout.maxTokens ?? maxTokens, encoder.maxPositions));
  const built =
    exported === undefined
      ? await buildSentenceGraph(checkpoint, encoderOf(config), layout, graphOptions(options))
      : await buildGraphAfterExport(checkpoint, exported.graph.output, layout, options.path);
  const pooling = exported?.graph.output.kind === "vectors" ? [] : layout.pooling;
  const { session, info, aloneAbove } = await loadGraph({ ...built, pooling }, encoder, exported, options.threads);
  return {
    info,
    lanes: session.lanes,
    aloneAbove,
    contextLength,
    width: built.width,
    prompts: layout.prompts,
    defaultPrompt: layout.defaultPrompt,
    tokenize: (text, truncate) => tokenizer.encode(text, contextLength, truncate),
    embed: (rows, shared) => session.run(packRows(rows), shared),
    tokenHeads: tokenHeads(session, built.heads, tokenizer.nonLexical),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

/** What a session's heads make of tokens. `without`: tokens that have no lexical weight. */
function tokenHeads(
  session: SessionLanes,
  heads: TokenHeads,
  without: ReadonlySet<number>,
): TokenHeadsOfEngine | undefined {
  const outputs = new Set<TokenOutput>();
  if (heads.sparse !== undefined) outputs.add("sparse");
  if (heads.multivector !== undefined) outputs.add("multivector");
  if (outputs.size === 0) return undefined;
  const multivectorWidth = heads.multivectorWidth ?? 0;
  return {
    outputs,
    multivectorWidth,
    async embed(rows, wanted, shared) {
      const names = [...wanted];
      const { vectors, more } = await session.runMore({ ...packRows(rows), more: names }, shared);
      const of = (name: TokenOutput) => more[names.indexOf(name)];
      const [weights, multivectors] = [of("sparse"), of("multivector")];
      let start = 0;
      const found = rows.map((tokens): TokenOutputs => {
        const end = start + tokens.length;
        const outputs: TokenOutputs = {
          ...(weights !== undefined && { sparse: sparseWeights(tokens, weights.subarray(start, end), without) }),
          // The first token stands for the whole text.
          ...(multivectors !== undefined && {
            multivector: multivectors.subarray((start + 1) * multivectorWidth, end * multivectorWidth),
          }),
        };
        start = end;
        return outputs;
      });
      return { vectors, outputs: found };
    },
  };
}

/**
 * What a graph is built with. A row of more than a quarter of a batch runs alone: it fills the
 * processor by itself, and without a mask and padding it takes a fifth less where nothing else waits.
 */
export function graphOptions({ quantization, batchSize }: OnnxEngineOptions): GraphOptions {
  return { quantization, aloneAbove: batchSize === undefined ? undefined : Math.floor(batchSize / 4) };
}

/** Throws `model_unavailable` where an export is asked to be quantized. */
export function refuseQuantized(file: string | undefined, { quantization }: OnnxEngineOptions): void {
  if (file === undefined || quantization === undefined) return;
  throw unusable(`quantization int8 is for weights, ${file} is an export`);
}

/** The context that is asked for, by default all that the model has. Throws `model_unavailable` where it has less. */
export function contextOf(options: OnnxEngineOptions, most: number): number {
  const { contextLength = most } = options;
  if (contextLength <= most) return contextLength;
  throw unusable(`n_ctx ${contextLength} is above the model's maximum ${most}`);
}
