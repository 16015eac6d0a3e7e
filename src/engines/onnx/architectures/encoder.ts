import type { Fields } from "../checkpoint.ts";
import type { GraphBuilder, Value, Weights } from "../graph-builder.ts";
import type { PoolingMode } from "../pooling.ts";

/**
 * The tokens of a batch as a graph takes them. They are packed: the rows follow
 * one another without padding, so that it costs nothing but in attention, which
 * takes them padded.
 */
export interface TokenInputs {
  /** `[tokens]` */
  readonly ids: Value<"int32">;
  /** Rows of the table of positions, `[tokens]`. */
  readonly positions: Value<"int32">;
  /** Which tokens stand where, padded: `[rows, longest]`. Padding repeats the first token of its row. */
  readonly padded: Value<"int32">;
  /** Where each token stands among the padded ones: `[tokens]`. */
  readonly packed: Value<"int32">;
  /** Tokens of each row, `[rows]`. */
  readonly lengths: Value<"int32">;
  /** 0 for tokens of a pair's first text, 1 for those of its second, `[tokens]`; absent where all are 0. */
  readonly types?: Value<"int32"> | undefined;
}

/** What is known of an encoder from its configuration alone. */
export interface EncoderShape {
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  /** Tokens that the table of positions has room for. */
  readonly maxPositions: number;
  /** How the positions of a row go. */
  readonly positions: Positions;
}

/** The first token's position, and the token (padding) that takes none and has this position itself. */
export interface Positions {
  readonly first: number;
  readonly skipped?: number;
}

/** An encoder whose hidden states can be pooled. */
export interface Encoder extends EncoderShape {
  /** Adds the encoder to a graph: the last hidden states of the tokens, `[tokens, hiddenSize]`. */
  build(graph: GraphBuilder, weights: Weights, tokens: TokenInputs): Value;
  /** The head of its sequence classifiers; absent where none is known here. */
  readonly classifier?: Classifier;
  /** Rows of the output layer, those of these tokens, `[tokens, hiddenSize]`; absent where it is no language model. */
  outputRows?(graph: GraphBuilder, weights: Weights, ids: readonly number[]): Value;
}

/** What a sequence classifier has after its encoder. */
export interface Classifier {
  /** How the tokens become one vector. */
  readonly pooling: PoolingMode;
  /** Adds the head to a graph: the logits of vectors `[rows, hiddenSize]`, `[rows, labels]`. */
  build(graph: GraphBuilder, weights: Weights, pooled: Value, labels: number): Value;
}

/** A head of two Linear modules with an activation between them, on the first token. */
export function denseClassifier(dense: string, activation: string, output: string, hiddenSize: number): Classifier {
  return {
    pooling: "cls",
    build(graph, weights, pooled, labels) {
      const linear = (from: Value, name: string, outputs: number) =>
        graph.linear(
          from,
          weights.weight(`${name}.weight`, [outputs, hiddenSize]),
          weights.weight(`${name}.bias`, [outputs]),
        );
      return linear(graph.activation(linear(pooled, dense, hiddenSize), activation), output, labels);
    },
  };
}

/** Reads `config.json`. Throws `model_unavailable` for what the architecture's file doesn't do. */
export type Architecture = (config: Fields) => Encoder;

/** The tensors of one layer, by the names of their modules. */
export interface LayerNames {
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly attentionOutput: string;
  readonly attentionNorm: string;
  readonly intermediate: string;
  readonly output: string;
  readonly outputNorm: string;
}

export interface LayerShape {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly activation: string;
  readonly epsilon: number;
}

/**
 * A layer as in "Attention Is All You Need" and BERT: attention and feed-forward,
 * each with a norm after its sum. `bias` is as {@link GraphBuilder.attention} has it.
 */
export function postNormLayer(
  graph: GraphBuilder,
  weights: Weights,
  tokens: TokenInputs,
  x: Value,
  names: LayerNames,
  { hiddenSize, intermediateSize, heads, activation, epsilon }: LayerShape,
  bias?: Value,
): Value {
  const linear = (from: Value, name: string, inputs: number, outputs: number) =>
    graph.linear(from, weights.weight(`${name}.weight`, [outputs, inputs]), weights.weight(`${name}.bias`, [outputs]));
  const query = linear(x, names.query, hiddenSize, hiddenSize);
  // Without its bias, which adds the same to what a query makes of each key: softmax takes no notice.
  const key = graph.linear(x, weights.weight(`${names.key}.weight`, [hiddenSize, hiddenSize]), undefined);
  const value = linear(x, names.value, hiddenSize, hiddenSize);
  const attended = graph.attention(query, key, value, tokens, heads, bias);
  const attention = linear(attended, names.attentionOutput, hiddenSize, hiddenSize);
  const middle = norm(graph, weights, names.attentionNorm, attention, x, hiddenSize, epsilon);
  const inner = graph.activation(linear(middle, names.intermediate, hiddenSize, intermediateSize), activation);
  const output = linear(inner, names.output, intermediateSize, hiddenSize);
  return norm(graph, weights, names.outputNorm, output, middle, hiddenSize, epsilon);
}

/** LayerNorm of a sum. The oldest checkpoints call its tensors gamma and beta. */
export function norm(
  graph: GraphBuilder,
  weights: Weights,
  name: string,
  x: Value,
  skip: Value,
  size: number,
  epsilon: number,
): Value {
  const old = weights.has(`${name}.gamma`);
  const gamma = weights.weight(`${name}.${old ? "gamma" : "weight"}`, [size]);
  const beta = weights.weight(`${name}.${old ? "beta" : "bias"}`, [size]);
  return graph.skipLayerNorm(x, skip, gamma, beta, epsilon);
}

/** Bounds of what configurations may say: beyond what any encoder has. */
export const bounds = { size: 65_536, layers: 256, heads: 1024, positions: 1_048_576, vocabulary: 4_194_304 } as const;
