import type { Encoder, TokenInputs } from "./architectures/encoder.ts";
import { type Checkpoint, unusable } from "./checkpoint.ts";
import { createGraphBuilder, type GraphBuilder, type GraphOptions, type Value } from "./graph-builder.ts";
import type { PoolingMode } from "./pooling.ts";
import { findTensors, folderOf, type StoredTensors } from "./safetensors.ts";
import type { SentenceLayout } from "./sentence-transformers.ts";
import type { ExportedOutput } from "./session.ts";
import { addTokenHeads, findTokenHeads, type TokenHeads } from "./token-heads.ts";

/** A graph with the weights of a checkpoint. */
export interface BuiltGraph {
  readonly model: Uint8Array<ArrayBuffer>;
  /** The folder that the weights' files lie in. */
  readonly folder: string;
  readonly parameters: number;
  readonly weightBytes: number;
  /** As {@link GraphBuilder} has them. */
  readonly matrixBytes: number;
  readonly aloneAbove: number | undefined;
}

/** A graph from tokens to vectors, `[rows, width]`, not scaled to length 1 where that would be the last module. */
export interface SentenceGraph extends BuiltGraph {
  readonly width: number;
  readonly heads: TokenHeads;
}

/** Builds the graph of an encoder with what comes after it. Throws `model_unavailable` where weights don't fit. */
export async function buildSentenceGraph(
  checkpoint: Checkpoint,
  encoder: Encoder,
  layout: SentenceLayout,
  options: GraphOptions,
): Promise<SentenceGraph> {
  const tensors = await findTensors(checkpoint, layout.encoder);
  const folder = folderOf(tensors);
  const graph = createGraphBuilder(options);
  const tokens = tokenInputs(graph);
  const hidden = encoder.build(graph, graph.weights(tensors, ""), tokens);
  const states = { hidden, hiddenSize: encoder.hiddenSize, tokens };
  const { vector, width, stored, heads } = await addModules(graph, checkpoint, layout, states);
  graph.output("vectors", vector, ["rows", width]);
  return { ...(await builtGraph(graph, folder, [tensors, ...stored])), width, heads };
}

/**
 * Builds the graph of what comes after an exported encoder, whose input `hidden`
 * is what comes out of that, of all places. Vectors are taken as they are: an
 * export that makes them holds the modules too. `folder` is any that exists.
 */
export async function buildGraphAfterExport(
  checkpoint: Checkpoint,
  { kind, width: hiddenSize }: ExportedOutput,
  layout: SentenceLayout,
  folder: string,
): Promise<SentenceGraph> {
  const graph = createGraphBuilder();
  const tokens = tokenInputs(graph);
  const input = graph.input("hidden", "float", ["places", hiddenSize]);
  const states = () => ({ hidden: graph.gather(input, tokens.packed), hiddenSize, tokens });
  const made =
    kind === "vectors"
      ? { vector: input, width: hiddenSize, stored: [], heads: noHeads }
      : await addModules(graph, checkpoint, layout, states());
  graph.output("vectors", made.vector, ["rows", made.width]);
  return { ...(await builtGraph(graph, folder, made.stored)), width: made.width, heads: made.heads };
}

const noHeads: TokenHeads = { sparse: undefined, multivector: undefined, multivectorWidth: undefined };

/** The hidden states of packed tokens. */
interface HiddenStates {
  readonly hidden: Value;
  readonly hiddenSize: number;
  readonly tokens: TokenInputs;
}

/** Adds what comes after the encoder. */
async function addModules(
  graph: GraphBuilder,
  checkpoint: Checkpoint,
  layout: SentenceLayout,
  { hidden, hiddenSize, tokens }: HiddenStates,
): Promise<{
  readonly vector: Value;
  readonly width: number;
  readonly heads: TokenHeads;
  readonly stored: readonly StoredTensors[];
}> {
  const pooled = layout.pooling.map((mode) => pool(graph, mode, hidden, tokens.padded));
  let vector = pooled.length === 1 && pooled[0] !== undefined ? pooled[0] : graph.concat(pooled, 1);
  let width = hiddenSize * pooled.length;
  const heads = await findTokenHeads(checkpoint);
  addTokenHeads(graph, heads, hidden, hiddenSize);
  const all: StoredTensors[] = [heads.sparse, heads.multivector].filter((part) => part !== undefined);
  for (const [index, module] of layout.modules.entries()) {
    if (module.type === "normalize") {
      // The last one is the caller's: it may want fewer dimensions.
      if (index < layout.modules.length - 1) vector = graph.normalize(vector);
      continue;
    }
    const { inputs, outputs, bias, activation } = module;
    if (inputs !== width) throw unusable(`${module.folder} takes ${inputs} dimensions, before it there are ${width}`);
    const stored = await findTensors(checkpoint, module.folder);
    const weights = graph.weights(stored, `${module.folder}/`);
    const weight = weights.weight("linear.weight", [outputs, inputs]);
    vector = graph.linear(vector, weight, bias ? weights.weight("linear.bias", [outputs]) : undefined);
    if (activation !== undefined) vector = graph.activation(vector, activation);
    width = outputs;
    all.push(stored);
  }
  return { vector, width, stored: all, heads };
}

/** What every graph takes. */
export function tokenInputs(graph: GraphBuilder): TokenInputs {
  return {
    ids: graph.input("ids", "int32", ["tokens"]),
    positions: graph.input("positions", "int32", ["tokens"]),
    padded: graph.input("padded", "int32", ["rows", "longest"]),
    packed: graph.input("packed", "int32", ["tokens"]),
    lengths: graph.input("lengths", "int32", ["rows"]),
  };
}

/** The graph as it is handed to the runtime, and what of the checkpoint's tensors there is. */
export async function builtGraph(
  graph: GraphBuilder,
  folder: string,
  tensors: readonly StoredTensors[],
): Promise<BuiltGraph> {
  const stored = tensors.flatMap((part) => [...part.values()]);
  return {
    ...(await graph.encode(folder)),
    parameters: stored.reduce((sum, { shape }) => sum + shape.reduce((product, length) => product * length, 1), 0),
    weightBytes: stored.reduce((sum, { bytes }) => sum + bytes, 0),
    matrixBytes: graph.matrixBytes,
    aloneAbove: graph.aloneAbove,
  };
}

/** Pools the hidden states of each row. */
export function pool(graph: GraphBuilder, mode: PoolingMode, hidden: Value, padded: Value<"int32">): Value {
  // Padding repeats a token of the row, which changes no maximum.
  if (mode === "max") return graph.maxOver(graph.gather(hidden, padded), 1);
  return graph.matMul(graph.input(`pooling_${mode}`, "float", ["rows", "tokens"]), hidden);
}
