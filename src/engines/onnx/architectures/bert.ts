import { type Fields, unusable } from "../checkpoint.ts";
import type { Weights } from "../graph-builder.ts";
import {
  type Architecture,
  bounds,
  denseClassifier,
  type Encoder,
  norm,
  type Positions,
  postNormLayer,
} from "./encoder.ts";

/** BERT (Devlin et al. 2018; transformers, modeling_bert.py): MiniLM, bge, e5, gte. Positions count from 0. */
export const bert: Architecture = (config) => {
  const encoder = bertLike(config, "bert.", { first: 0 });
  return { ...encoder, classifier: denseClassifier("bert.pooler.dense", "tanh", "classifier", encoder.hiddenSize) };
};

/**
 * RoBERTa and XLM-RoBERTa (transformers, modeling_roberta.py): multilingual-e5,
 * bge-m3, bge-reranker. Positions count from beyond the padding token's id, which is their own
 * padding row too.
 */
export const roberta: Architecture = (config) => {
  const padding = config.whole("pad_token_id", 0, bounds.positions, 1);
  const encoder = bertLike(config, "roberta.", { first: padding + 1, skipped: padding });
  const classifier = denseClassifier("classifier.dense", "tanh", "classifier.out_proj", encoder.hiddenSize);
  return { ...encoder, classifier };
};

/** `prefix`: before the names of tensors where the checkpoint has a head beside the encoder. */
function bertLike(config: Fields, prefix: string, positions: Positions): Encoder {
  const hiddenSize = config.whole("hidden_size", 1, bounds.size);
  const layers = config.whole("num_hidden_layers", 1, bounds.layers);
  const heads = config.whole("num_attention_heads", 1, bounds.heads);
  const vocabularySize = config.whole("vocab_size", 1, bounds.vocabulary);
  const rows = config.whole("max_position_embeddings", 1, bounds.positions, 512);
  const types = config.whole("type_vocab_size", 0, bounds.size, 2);
  const epsilon = config.number("layer_norm_eps", 0, 1, 1e-12);
  const shape = {
    hiddenSize,
    intermediateSize: config.whole("intermediate_size", 1, 4 * bounds.size),
    heads,
    activation: config.text("hidden_act", "gelu"),
    epsilon,
  };
  if (hiddenSize % heads !== 0) throw unusable(`config.json: ${heads} heads don't divide hidden_size ${hiddenSize}`);
  const positionType = config.text("position_embedding_type", "absolute");
  if (positionType !== "absolute") {
    throw unusable(`config.json: position_embedding_type ${positionType.slice(0, 100)} is not supported`);
  }
  if (config.flag("is_decoder", false)) throw unusable("config.json: is_decoder is not supported");
  return {
    hiddenSize,
    vocabularySize,
    maxPositions: rows - positions.first,
    positions,
    build(graph, weights, tokens) {
      const at = prefixOf(weights, prefix, "embeddings.word_embeddings.weight");
      const embeddings = `${at}embeddings.`;
      let word = weights.rows(`${embeddings}word_embeddings.weight`, [vocabularySize, hiddenSize], tokens.ids);
      if (types > 0) {
        const table = weights.weight(`${embeddings}token_type_embeddings.weight`, [types, hiddenSize]);
        const typed = tokens.types !== undefined && types > 1;
        word = graph.add(word, typed ? graph.gather(table, tokens.types) : graph.firstRow(table));
      }
      const places = weights.weight(`${embeddings}position_embeddings.weight`, [rows, hiddenSize]);
      const place = graph.gather(places, tokens.positions);
      let x = norm(graph, weights, `${embeddings}LayerNorm`, word, place, hiddenSize, epsilon);
      for (let layer = 0; layer < layers; layer += 1) {
        const name = `${at}encoder.layer.${layer}.`;
        const names = {
          query: `${name}attention.self.query`,
          key: `${name}attention.self.key`,
          value: `${name}attention.self.value`,
          attentionOutput: `${name}attention.output.dense`,
          attentionNorm: `${name}attention.output.LayerNorm`,
          intermediate: `${name}intermediate.dense`,
          output: `${name}output.dense`,
          outputNorm: `${name}output.LayerNorm`,
        };
        x = postNormLayer(graph, weights, tokens, x, names, shape);
      }
      return x;
    },
  };
}

/** The prefix with which the checkpoint names the encoder's tensors: none, or that of the model with a head. */
export function prefixOf(weights: Weights, prefix: string, name: string): string {
  return weights.has(prefix + name) ? prefix : "";
}
