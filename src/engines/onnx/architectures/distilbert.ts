import { unusable } from "../checkpoint.ts";
import { prefixOf } from "./bert.ts";
import { type Architecture, bounds, denseClassifier, norm, postNormLayer } from "./encoder.ts";

/** transformers, modeling_distilbert.py: constant in all its checkpoints. */
const epsilon = 1e-12;

/** DistilBERT (Sanh et al. 2019): BERT without token types, its tensors named otherwise. */
export const distilbert: Architecture = (config) => {
  const hiddenSize = config.whole("dim", 1, bounds.size, 768);
  const layers = config.whole("n_layers", 1, bounds.layers, 6);
  const heads = config.whole("n_heads", 1, bounds.heads, 12);
  const vocabularySize = config.whole("vocab_size", 1, bounds.vocabulary, 30_522);
  const maxPositions = config.whole("max_position_embeddings", 1, bounds.positions, 512);
  const shape = {
    hiddenSize,
    intermediateSize: config.whole("hidden_dim", 1, 4 * bounds.size, 4 * hiddenSize),
    heads,
    activation: config.text("activation", "gelu"),
    epsilon,
  };
  if (hiddenSize % heads !== 0) throw unusable(`config.json: ${heads} heads don't divide dim ${hiddenSize}`);
  return {
    hiddenSize,
    vocabularySize,
    maxPositions,
    positions: { first: 0 },
    classifier: denseClassifier("pre_classifier", "relu", "classifier", hiddenSize),
    build(graph, weights, tokens) {
      const at = prefixOf(weights, "distilbert.", "embeddings.word_embeddings.weight");
      const embeddings = `${at}embeddings.`;
      const word = weights.rows(`${embeddings}word_embeddings.weight`, [vocabularySize, hiddenSize], tokens.ids);
      const places = weights.weight(`${embeddings}position_embeddings.weight`, [maxPositions, hiddenSize]);
      const place = graph.gather(places, tokens.positions);
      let x = norm(graph, weights, `${embeddings}LayerNorm`, word, place, hiddenSize, epsilon);
      for (let layer = 0; layer < layers; layer += 1) {
        const name = `${at}transformer.layer.${layer}.`;
        const names = {
          query: `${name}attention.q_lin`,
          key: `${name}attention.k_lin`,
          value: `${name}attention.v_lin`,
          attentionOutput: `${name}attention.out_lin`,
          attentionNorm: `${name}sa_layer_norm`,
          intermediate: `${name}ffn.lin1`,
          output: `${name}ffn.lin2`,
          outputNorm: `${name}output_layer_norm`,
        };
        x = postNormLayer(graph, weights, tokens, x, names, shape);
      }
      return x;
    },
  };
};
