import { writeCheckpoint } from "./random-checkpoint.ts";

/**
 * Writes a Gemma 3 with random weights in the shape of EmbeddingGemma's layers, but
 * for its table of embeddings, which has a row for each of `vocabularySize` tokens.
 * Norms have the weight 1, which is stored as 0.
 */
export function writeRandomGemma(folder: string, layers: number, vocabularySize: number): void {
  const [hiddenSize, intermediateSize, heads, headSize] = [768, 1152, 3, 256];
  const config = {
    model_type: "gemma3_text",
    hidden_size: hiddenSize,
    intermediate_size: intermediateSize,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: 1,
    head_dim: headSize,
    query_pre_attn_scalar: headSize,
    sliding_window: 512,
    use_bidirectional_attention: true,
    vocab_size: vocabularySize,
    max_position_embeddings: 2048,
  };
  const shapes: [string, number[]][] = [["embed_tokens.weight", [vocabularySize, hiddenSize]]];
  for (let layer = 0; layer < layers; layer += 1) {
    const name = `layers.${layer}.`;
    for (const part of ["q", "k"]) shapes.push([`${name}self_attn.${part}_norm.weight`, [headSize]]);
    shapes.push([`${name}self_attn.q_proj.weight`, [heads * headSize, hiddenSize]]);
    for (const part of ["k", "v"]) shapes.push([`${name}self_attn.${part}_proj.weight`, [headSize, hiddenSize]]);
    shapes.push([`${name}self_attn.o_proj.weight`, [hiddenSize, heads * headSize]]);
    for (const part of ["gate", "up"]) shapes.push([`${name}mlp.${part}_proj.weight`, [intermediateSize, hiddenSize]]);
    shapes.push([`${name}mlp.down_proj.weight`, [hiddenSize, intermediateSize]]);
    for (const part of ["input", "post_attention", "pre_feedforward", "post_feedforward"]) {
      shapes.push([`${name}${part}_layernorm.weight`, [hiddenSize]]);
    }
  }
  shapes.push(["norm.weight", [hiddenSize]]);
  writeCheckpoint(folder, config, shapes, 0);
}
