import { type Fields, unusable } from "../checkpoint.ts";
import type { GraphBuilder, Value, Weights } from "../graph-builder.ts";
import { prefixOf } from "./bert.ts";
import { type Architecture, bounds, type Classifier } from "./encoder.ts";
import { readKinds, windowBias } from "./layer-kinds.ts";
import { reachOf, readRope } from "./rotary.ts";

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
  // Until 2026 configurations said how often a layer sees all.
  const every = config.whole("global_attn_every_n_layers", 1, bounds.layers, 3);
  const kinds = readKinds(config, layers, (layer) => (layer % every === 0 ? "full_attention" : "sliding_attention"));
  if (hiddenSize % (2 * heads) !== 0) {
    throw unusable(`config.json: ${heads} heads don't divide hidden_size ${hiddenSize} into even parts`);
  }
  const rotated = { headSize: hiddenSize / heads, maxPositions };
  const global = { theta: "global_rope_theta", usual: 160_000, scaled: true };
  const local = { theta: "local_rope_theta", usual: 10_000, scaled: true };
  const ropes = {
    full_attention: readRope(config, "full_attention", global, rotated),
    sliding_attention: readRope(config, "sliding_attention", local, rotated),
  };

  return {
    hiddenSize,
    vocabularySize,
    maxPositions: reachOf(maxPositions, ropes),
    positions: { first: 0 },
    classifier: classifierOf(config, hiddenSize, biased.norm, epsilon),
    build(graph, weights, tokens) {
      const at = prefixOf(weights, "model.", "embeddings.tok_embeddings.weight");
      const linear = (x: Value, name: string, inputs: number, outputs: number, withBias: boolean) => {
        const bias = withBias ? weights.weight(`${at}${name}.bias`, [outputs]) : undefined;
        return graph.linear(x, weights.weight(`${at}${name}.weight`, [outputs, inputs]), bias);
      };
      const norm = (x: Value, name: string) =>
        normOf(graph, weights, x, `${at}${name}`, hiddenSize, biased.norm, epsilon);
      const angles = {
        full_attention: graph.rotations(tokens.positions, ropes.full_attention),
        sliding_attention: graph.rotations(tokens.positions, ropes.sliding_attention),
      };
      const near = kinds.includes("sliding_attention") ? windowBias(graph, tokens.padded, window) : undefined;

      const word = weights.rows(`${at}embeddings.tok_embeddings.weight`, [vocabularySize, hiddenSize], tokens.ids);
      let x = norm(word, "embeddings.norm");
      for (const [layer, kind] of kinds.entries()) {
        const name = `layers.${layer}.`;
        // The embeddings have their norm already.
        const before = layer === 0 ? x : norm(x, `${name}attn_norm`);
        const joined = linear(before, `${name}attn.Wqkv`, hiddenSize, 3 * hiddenSize, biased.attention);
        const [q, k, v] = graph.split(joined, 3) as [Value, Value, Value];
        const attended = graph.attention(
          graph.rotate(q, angles[kind]),
          graph.rotate(k, angles[kind]),
          v,
          tokens,
          heads,
          kind === "sliding_attention" ? near : undefined,
        );
        x = graph.add(x, linear(attended, `${name}attn.Wo`, hiddenSize, hiddenSize, biased.attention));
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

/** The head of gte-reranker-modernbert: a Linear, an activation and a norm before the last Linear. */
function classifierOf(config: Fields, hiddenSize: number, normBias: boolean, epsilon: number): Classifier {
  const pooling = config.text("classifier_pooling", "cls");
  const activation = config.text("classifier_activation", "gelu");
  const biased = config.flag("classifier_bias", false);
  if (pooling !== "cls" && pooling !== "mean") {
    throw unusable(`config.json: classifier_pooling ${pooling.slice(0, 100)} is neither cls nor mean`);
  }
  return {
    pooling,
    build(graph, weights, pooled, labels) {
      const denseBias = biased ? weights.weight("head.dense.bias", [hiddenSize]) : undefined;
      const dense = graph.linear(pooled, weights.weight("head.dense.weight", [hiddenSize, hiddenSize]), denseBias);
      const active = graph.activation(dense, activation);
      const normed = normOf(graph, weights, active, "head.norm", hiddenSize, normBias, epsilon);
      const weight = weights.weight("classifier.weight", [labels, hiddenSize]);
      return graph.linear(normed, weight, weights.weight("classifier.bias", [labels]));
    },
  };
}

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
