import { unusable } from "../checkpoint.ts";
import { prefixOf } from "./bert.ts";
import { type Architecture, bounds, denseClassifier, norm, postNormLayer } from "./encoder.ts";

/** transformers, modeling_mpnet.py: the padding token's id is a constant there, and so are the buckets. */
const padding = 1;
const buckets = 32;
const furthest = 128;

/** MPNet (Song et al. 2020): all-mpnet-base-v2. BERT with a bias of attention by distance; positions count as RoBERTa's. */
export const mpnet: Architecture = (config) => {
  const hiddenSize = config.whole("hidden_size", 1, bounds.size, 768);
  const layers = config.whole("num_hidden_layers", 1, bounds.layers, 12);
  const heads = config.whole("num_attention_heads", 1, bounds.heads, 12);
  const vocabularySize = config.whole("vocab_size", 1, bounds.vocabulary, 30_527);
  const rows = config.whole("max_position_embeddings", padding + 2, bounds.positions, 512);
  const distances = config.whole("relative_attention_num_buckets", buckets, bounds.size, buckets);
  const epsilon = config.number("layer_norm_eps", 0, 1, 1e-12);
  const shape = {
    hiddenSize,
    intermediateSize: config.whole("intermediate_size", 1, 4 * bounds.size, 3072),
    heads,
    activation: config.text("hidden_act", "gelu"),
    epsilon,
  };
  if (hiddenSize % heads !== 0) throw unusable(`config.json: ${heads} heads don't divide hidden_size ${hiddenSize}`);
  return {
    hiddenSize,
    vocabularySize,
    maxPositions: rows - padding - 1,
    positions: { first: padding + 1, skipped: padding },
    classifier: denseClassifier("classifier.dense", "tanh", "classifier.out_proj", hiddenSize),
    build(graph, weights, tokens) {
      const at = prefixOf(weights, "mpnet.", "embeddings.word_embeddings.weight");
      const embeddings = `${at}embeddings.`;
      const word = weights.rows(`${embeddings}word_embeddings.weight`, [vocabularySize, hiddenSize], tokens.ids);
      const places = weights.weight(`${embeddings}position_embeddings.weight`, [rows, hiddenSize]);
      const place = graph.gather(places, tokens.positions);
      let x = norm(graph, weights, `${embeddings}LayerNorm`, word, place, hiddenSize, epsilon);
      const table = weights.weight(`${at}encoder.relative_attention_bias.weight`, [distances, heads]);
      const bias = graph.distanceBias(table, tokens.padded, furthest, bucketOf);
      for (let layer = 0; layer < layers; layer += 1) {
        const name = `${at}encoder.layer.${layer}.`;
        const names = {
          query: `${name}attention.attn.q`,
          key: `${name}attention.attn.k`,
          value: `${name}attention.attn.v`,
          attentionOutput: `${name}attention.attn.o`,
          attentionNorm: `${name}attention.LayerNorm`,
          intermediate: `${name}intermediate.dense`,
          output: `${name}output.dense`,
          outputNorm: `${name}output.LayerNorm`,
        };
        x = postNormLayer(graph, weights, tokens, x, names, shape, bias);
      }
      return x;
    },
  };
};

/**
 * The bucket of a distance, as T5 has it: half of them for keys behind the query,
 * each half exact up to 8 and logarithmic up to 128 (`relative_position_bucket`).
 */
function bucketOf(distance: number): number {
  const half = buckets / 2;
  const exact = half / 2;
  const start = distance > 0 ? half : 0;
  const far = Math.abs(distance);
  if (far < exact) return start + far;
  // In float32, as there: some logarithms are whole numbers.
  const share = Math.fround(Math.fround(Math.log(far / exact)) / Math.fround(Math.log(furthest / exact)));
  return start + Math.min(exact + Math.trunc(Math.fround(share * (half - exact))), half - 1);
}
