import { decoderEncoder, readSizes } from "./decoder.ts";
import { type Architecture, bounds } from "./encoder.ts";
import { readKinds } from "./layer-kinds.ts";
import { reachOf, readRope } from "./rotary.ts";

/** Qwen3 (Yang et al. 2025; transformers, modeling_qwen3.py): Qwen3-Embedding, Qwen3-Reranker. */
export const qwen3: Architecture = (config) => {
  const sizes = readSizes(config, 128);
  const sliding = config.flag("use_sliding_window", false);
  const firstSliding = config.whole("max_window_layers", 0, bounds.layers, 28);
  const rope = readRope(config, "full_attention", { theta: "rope_theta", usual: 10_000, scaled: true }, sizes);
  const ropes = { full_attention: rope, sliding_attention: rope };
  return decoderEncoder({
    ...sizes,
    maxPositions: reachOf(sizes.maxPositions, ropes),
    activation: config.text("hidden_act", "silu"),
    causal: true,
    window: config.whole("sliding_window", 1, bounds.positions, 4096),
    kinds: readKinds(config, sizes.layers, (layer) =>
      sliding && layer >= firstSliding ? "sliding_attention" : "full_attention",
    ),
    ropes,
    scale: sizes.headSize ** -0.5,
    embeddingScale: 1,
    tied: config.flag("tie_word_embeddings", false),
    centeredNorms: false,
    norms: { beforeAttention: "input_layernorm", beforeFeedForward: "post_attention_layernorm" },
  });
};
