import { type Fields, unusable } from "../checkpoint.ts";
import type { GraphBuilder, Rotations, Value, Weights } from "../graph-builder.ts";
import { prefixOf } from "./bert.ts";
import { bounds, type Encoder, type TokenInputs } from "./encoder.ts";
import { type LayerKind, windowBias } from "./layer-kinds.ts";
import type { Rope } from "./rope-scaling.ts";

/** The sizes that configurations of decoders have in common. */
export interface DecoderSizes {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Each serves as many heads as there are for one of it. */
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly vocabularySize: number;
  readonly maxPositions: number;
  readonly epsilon: number;
  /** Whether the linear layers of attention have one. */
  readonly attentionBias: boolean;
}

/**
 * A language model without its output layer (Llama's shape, with norms of queries
 * and keys): rotary positions, RMSNorm before attention and feed-forward, which is
 * gated. What models of this shape differ in.
 */
export interface Decoder extends DecoderSizes {
  readonly activation: string;
  /** Whether tokens attend only to those before them. */
  readonly causal: boolean;
  /** Tokens from a query to the furthest key that it sees, that included, in layers of the kind `sliding_attention`. */
  readonly window: number;
  readonly kinds: readonly LayerKind[];
  readonly ropes: Readonly<Record<LayerKind, Rope>>;
  /** What the products of queries and keys are multiplied with. */
  readonly scale: number;
  /** What the embeddings of tokens are multiplied with. */
  readonly embeddingScale: number;
  /** Whether the output layer is the table of embeddings. */
  readonly tied: boolean;
  /** Whether a norm's weights are stored less 1. */
  readonly centeredNorms: boolean;
  /** The norms within a layer, by the names of their modules; those after attention and feed-forward may be missing. */
  readonly norms: {
    readonly beforeAttention: string;
    readonly afterAttention?: string;
    readonly beforeFeedForward: string;
    readonly afterFeedForward?: string;
  };
}

/** Reads the sizes. Throws `model_unavailable` where they don't go together. */
export function readSizes(config: Fields, usualHeadSize: number): DecoderSizes {
  const heads = config.whole("num_attention_heads", 1, bounds.heads);
  const keyValueHeads = config.whole("num_key_value_heads", 1, bounds.heads, heads);
  const headSize = config.whole("head_dim", 2, bounds.size, usualHeadSize);
  if (heads % keyValueHeads !== 0) {
    throw unusable(`config.json: num_key_value_heads ${keyValueHeads} doesn't divide the ${heads} heads`);
  }
  // As ONNX Runtime's GroupQueryAttention wants it; 64 to 256 are usual.
  if (headSize % 8 !== 0) throw unusable(`config.json: head_dim ${headSize} is no multiple of 8`);
  return {
    hiddenSize: config.whole("hidden_size", 1, bounds.size),
    intermediateSize: config.whole("intermediate_size", 1, 4 * bounds.size),
    layers: config.whole("num_hidden_layers", 1, bounds.layers),
    heads,
    keyValueHeads,
    headSize,
    vocabularySize: config.whole("vocab_size", 1, bounds.vocabulary),
    maxPositions: config.whole("max_position_embeddings", 1, bounds.positions),
    epsilon: config.number("rms_norm_eps", 0, 1, 1e-6),
    attentionBias: config.flag("attention_bias", false),
  };
}

/** The decoder as an encoder of texts: its hidden states after the last norm. */
export function decoderEncoder(decoder: Decoder): Encoder {
  const { hiddenSize, vocabularySize, maxPositions, tied } = decoder;
  return {
    hiddenSize,
    vocabularySize,
    maxPositions,
    positions: { first: 0 },
    build: (graph, weights, tokens) => build(decoder, graph, weights, tokens),
    classifier: {
      pooling: "lasttoken",
      build: (graph, weights, pooled, labels) =>
        graph.linear(pooled, weights.weight("score.weight", [labels, hiddenSize]), undefined),
    },
    outputRows(graph, weights, ids) {
      const table = tied ? `${prefixOf(weights, "model.", "embed_tokens.weight")}embed_tokens` : "lm_head";
      return weights.rows(`${table}.weight`, [vocabularySize, hiddenSize], graph.indices(ids));
    },
  };
}

function build(decoder: Decoder, graph: GraphBuilder, weights: Weights, tokens: TokenInputs): Value {
  const { hiddenSize, intermediateSize, vocabularySize, kinds, norms, activation, epsilon } = decoder;
  const at = prefixOf(weights, "model.", "embed_tokens.weight");
  const gamma = (name: string, size = hiddenSize) => normWeight(graph, weights, name, size, decoder.centeredNorms);
  const afterwards = (x: Value, name: string | undefined) =>
    name === undefined ? x : graph.rmsNorm(x, gamma(name), epsilon);
  const angles = anglesOf(decoder, graph, tokens);
  const near = nearOf(decoder, graph, tokens);

  let sum = weights.rows(`${at}embed_tokens.weight`, [vocabularySize, hiddenSize], tokens.ids);
  if (decoder.embeddingScale !== 1) sum = graph.multiply(sum, graph.floats([decoder.embeddingScale], []));
  let normed = graph.rmsNorm(sum, gamma(`${at}layers.0.${norms.beforeAttention}`), epsilon);
  for (const [layer, kind] of kinds.entries()) {
    const name = `${at}layers.${layer}.`;
    // What 8 bits lose there goes through all other layers (docs/quantization.md).
    const own = layer === 0 ? weights.exact : weights;
    const linear = (x: Value, part: string, inputs: number, outputs: number) =>
      graph.linear(x, own.weight(`${name}mlp.${part}.weight`, [outputs, inputs]), undefined);
    const attended = attend(decoder, graph, own, tokens, normed, {
      name: `${name}self_attn.`,
      angles: angles[kind],
      window: kind === "sliding_attention" && decoder.causal ? decoder.window : undefined,
      bias: kind === "sliding_attention" ? near : undefined,
      gamma: (part) => gamma(`${name}self_attn.${part}`, decoder.headSize),
    });
    const attention = afterwards(attended, norms.afterAttention && name + norms.afterAttention);
    ({ sum, normed } = graph.skipRmsNorm(attention, sum, gamma(name + norms.beforeFeedForward), epsilon));
    const gate = graph.activation(linear(normed, "gate_proj", hiddenSize, intermediateSize), activation);
    const up = linear(normed, "up_proj", hiddenSize, intermediateSize);
    const down = linear(graph.multiply(gate, up), "down_proj", intermediateSize, hiddenSize);
    const fed = afterwards(down, norms.afterFeedForward && name + norms.afterFeedForward);
    const next = layer + 1 < kinds.length ? `${at}layers.${layer + 1}.${norms.beforeAttention}` : `${at}norm`;
    ({ sum, normed } = graph.skipRmsNorm(fed, sum, gamma(next), epsilon));
  }
  return normed;
}

interface AttentionLayer {
  /** Before the names of its tensors. */
  readonly name: string;
  readonly angles: Rotations;
  readonly window: number | undefined;
  readonly bias: Value | undefined;
  /** The weights of the norms of queries and keys. */
  gamma(part: "q_norm" | "k_norm"): Value;
}

function attend(
  { hiddenSize, heads, keyValueHeads, headSize, attentionBias, epsilon, scale, causal }: Decoder,
  graph: GraphBuilder,
  weights: Weights,
  tokens: TokenInputs,
  x: Value,
  { name, angles, window, bias, gamma }: AttentionLayer,
): Value {
  const linear = (from: Value, part: string, inputs: number, outputs: number) => {
    const vector = attentionBias ? weights.weight(`${name}${part}.bias`, [outputs]) : undefined;
    return graph.linear(from, weights.weight(`${name}${part}.weight`, [outputs, inputs]), vector);
  };
  /** Rotated while still packed: padding is gathered last. */
  const placed = (part: "q" | "k", count: number) => {
    const projected = linear(x, `${part}_proj`, hiddenSize, count * headSize);
    const normed = graph.rmsNorm(graph.reshape(projected, [-1, headSize]), gamma(`${part}_norm`), epsilon);
    return graph.gather(graph.rotate(graph.reshape(normed, [-1, count * headSize]), angles), tokens.padded);
  };
  const attended = graph.groupedAttention(
    placed("q", heads),
    placed("k", keyValueHeads),
    graph.gather(linear(x, "v_proj", hiddenSize, keyValueHeads * headSize), tokens.padded),
    tokens.lengths,
    { heads, keyValueHeads, scale, causal, window, bias },
  );
  const packed = graph.gather(graph.reshape(attended, [-1, heads * headSize]), tokens.packed);
  return linear(packed, "o_proj", heads * headSize, hiddenSize);
}

function normWeight(graph: GraphBuilder, weights: Weights, name: string, size: number, centered: boolean): Value {
  const weight = weights.weight(`${name}.weight`, [size]);
  // Computed once, when the session is made.
  return centered ? graph.add(weight, graph.floats([1], [])) : weight;
}

function anglesOf({ ropes }: Decoder, graph: GraphBuilder, tokens: TokenInputs): Record<LayerKind, Rotations> {
  return {
    full_attention: graph.rotations(tokens.positions, ropes.full_attention),
    sliding_attention: graph.rotations(tokens.positions, ropes.sliding_attention),
  };
}

/** For windows to both sides, which ONNX Runtime's operator doesn't have: a bias that lets nothing beyond them count. */
function nearOf({ causal, kinds, window, maxPositions }: Decoder, graph: GraphBuilder, tokens: TokenInputs) {
  if (causal || !kinds.includes("sliding_attention")) return undefined;
  return windowBias(graph, tokens.padded, Math.min(window, maxPositions) - 1);
}
