import { type Fields, fieldsOf, unusable } from "../checkpoint.ts";
import type { GraphBuilder, Value, Weights } from "../graph-builder.ts";
import { prefixOf } from "./bert.ts";
import { type Architecture, bounds } from "./encoder.ts";

/** What a layer's tokens attend to: all of the text, or those near. Each kind has angles of its own. */
const layerTypes = ["full_attention", "sliding_attention"] as const;
type LayerType = (typeof layerTypes)[number];

/**
 * ModernBERT (Warner et al. 2024; transformers, modeling_modernbert.py):
 * rotary positions, norms before attention and feed-forward, GeGLU, and layers that
 * see a window of `local_attention` tokens between those that see all.
 */
export const modernbert: Architecture = (config) => {
  const hiddenSize = config.whole("hidden_size", 1, bounds.size, 768);
  const layers = config.whole("num_hidden_layers", 1, bounds.layers, 22);
  const heads = config.whole("num_attention_heads", 1, bounds.heads, 12);
  const vocabularySize = config.whole("vocab_size", 1, bounds.vocabulary, 50_368);
  const intermediateSize = config.whole("intermediate_size", 1, 4 * bounds.size, 1152);
  const maxPositions = config.whole("max_position_embeddings", 1, bounds.positions, 8192);
  const activation = config.text("hidden_activation", "gelu");
  const epsilon = config.number("norm_eps", 0, 1, 1e-5);
  const biased = {
    norm: config.flag("norm_bias", false),
    attention: config.flag("attention_bias", false),
    mlp: config.flag("mlp_bias", false),
  };
  // Tokens at this distance are seen, those beyond it are not.
  const window = Math.floor(config.whole("local_attention", 2, bounds.positions, 128) / 2);
  const types = layerTypesOf(config, layers);
  if (hiddenSize % (2 * heads) !== 0) {
    throw unusable(`config.json: ${heads} heads don't divide hidden_size ${hiddenSize} into even parts`);
  }
  const frequencies = {
    full_attention: frequenciesOf(thetaOf(config, "full_attention"), hiddenSize / heads),
    sliding_attention: frequenciesOf(thetaOf(config, "sliding_attention"), hiddenSize / heads),
  };

  return {
    hiddenSize,
    vocabularySize,
    maxPositions,
    positions: { first: 0 },
    build(graph, weights, tokens) {
      const at = prefixOf(weights, "model.", "embeddings.tok_embeddings.weight");
      const linear = (x: Value, name: string, inputs: number, outputs: number, withBias: boolean) => {
        const bias = withBias ? weights.weight(`${at}${name}.bias`, [outputs]) : undefined;
        return graph.linear(x, weights.weight(`${at}${name}.weight`, [outputs, inputs]), bias);
      };
      const norm = (x: Value, name: string) =>
        normOf(graph, weights, x, `${at}${name}`, hiddenSize, biased.norm, epsilon);
      const angles = {
        full_attention: graph.rotations(tokens.positions, frequencies.full_attention),
        sliding_attention: graph.rotations(tokens.positions, frequencies.sliding_attention),
      };
      const near = types.includes("sliding_attention") ? windowBias(graph, tokens.padded, window) : undefined;

      const words = weights.weight(`${at}embeddings.tok_embeddings.weight`, [vocabularySize, hiddenSize]);
      let x = norm(graph.gather(words, tokens.ids), "embeddings.norm");
      for (const [layer, type] of types.entries()) {
        const name = `layers.${layer}.`;
        // The embeddings have their norm already.
        const before = layer === 0 ? x : norm(x, `${name}attn_norm`);
        const joined = linear(before, `${name}attn.Wqkv`, hiddenSize, 3 * hiddenSize, biased.attention);
        const [q, k, v] = graph.split(joined, 3) as [Value, Value, Value];
        const padded = (part: Value) => graph.gather(part, tokens.padded);
        const attended = graph.attention(
          padded(graph.rotate(q, angles[type])),
          padded(graph.rotate(k, angles[type])),
          padded(v),
          tokens.lengths,
          heads,
          type === "sliding_attention" ? near : undefined,
        );
        const packed = graph.gather(graph.reshape(attended, [-1, hiddenSize]), tokens.packed);
        x = graph.add(x, linear(packed, `${name}attn.Wo`, hiddenSize, hiddenSize, biased.attention));
        const middle = norm(x, `${name}mlp_norm`);
        const [input, gate] = graph.split(
          linear(middle, `${name}mlp.Wi`, hiddenSize, 2 * intermediateSize, biased.mlp),
          2,
        ) as [Value, Value];
        const gated = graph.multiply(graph.activation(input, activation), gate);
        x = graph.add(x, linear(gated, `${name}mlp.Wo`, intermediateSize, hiddenSize, biased.mlp));
      }
      return norm(x, "final_norm");
    },
  };
};

function normOf(
  graph: GraphBuilder,
  weights: Weights,
  x: Value,
  name: string,
  size: number,
  biased: boolean,
  epsilon: number,
): Value {
  const beta = biased ? weights.weight(`${name}.bias`, [size]) : undefined;
  return graph.layerNorm(x, weights.weight(`${name}.weight`, [size]), beta, epsilon);
}

/** Nothing within the window, minus infinity (but for its infinity) beyond it. */
function windowBias(graph: GraphBuilder, padded: Value<"int32">, window: number): Value {
  const table = graph.floats([0, -3.4e38], [2, 1]);
  return graph.distanceBias(table, padded, window + 1, (distance) => (Math.abs(distance) > window ? 1 : 0));
}

/** `layer_types`, or in files of before 2026 how often a layer sees all. */
function layerTypesOf(config: Fields, layers: number): readonly LayerType[] {
  const listed = config.raw("layer_types");
  if (listed === undefined) {
    const every = config.whole("global_attn_every_n_layers", 1, bounds.layers, 3);
    return Array.from({ length: layers }, (_, layer) => (layer % every === 0 ? "full_attention" : "sliding_attention"));
  }
  if (Array.isArray(listed) && listed.length === layers && listed.every(isLayerType)) return listed;
  throw unusable(`config.json: layer_types is not a list of ${layers}, each one of ${layerTypes.join(", ")}`);
}

function isLayerType(value: unknown): value is LayerType {
  return (layerTypes as readonly unknown[]).includes(value);
}

/** `rope_parameters` by kind of layer, or the two members that files of before 2026 have. */
function thetaOf(config: Fields, type: LayerType): number {
  const [old, usual] = type === "full_attention" ? ["global_rope_theta", 160_000] : ["local_rope_theta", 10_000];
  const fallback = config.number(old as string, 1, 1e12, usual as number);
  if (config.raw("rope_scaling") !== undefined) throw unusable("config.json: rope_scaling is not supported");
  const all = config.raw("rope_parameters");
  const own = all === undefined ? undefined : fieldsOf("config.json: rope_parameters", all).raw(type);
  if (own === undefined) return fallback;
  const fields = fieldsOf(`config.json: rope_parameters.${type}`, own);
  const kind = fields.text("rope_type", "default");
  if (kind !== "default") throw unusable(`config.json: rope_type ${kind.slice(0, 100)} is not supported`);
  return fields.number("rope_theta", 1, 1e12, fallback);
}

/** Radians from one position to the next, for each pair of a head's numbers. */
function frequenciesOf(theta: number, headSize: number): number[] {
  return Array.from({ length: headSize / 2 }, (_, pair) => 1 / Math.fround(theta ** ((2 * pair) / headSize)));
}
