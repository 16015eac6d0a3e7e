import { unusable } from "../checkpoint.ts";
import { decoderEncoder, readSizes } from "./decoder.ts";
import { type Architecture, bounds } from "./encoder.ts";
import { readKinds } from "./layer-kinds.ts";
import { reachOf, readRope } from "./rotary.ts";

/**
 * Gemma 3 (Gemma Team 2025; transformers, modeling_gemma3.py), text alone:
 * EmbeddingGemma, whose tokens attend to both sides.
 */
export const gemma3: Architecture = (config) => {
  const sizes = readSizes(config, 256);
  const causal = !config.flag("use_bidirectional_attention", false);
  const window = config.whole("sliding_window", 1, bounds.positions, 4096);
  const every = config.whole("sliding_window_pattern", 1, bounds.layers, 6);
  if (config.raw("attn_logit_softcapping") !== undefined) {
    throw unusable("config.json: attn_logit_softcapping is not supported");
  }
  const global = { theta: "rope_theta", usual: 1_000_000, scaled: true };
  const local = { theta: "rope_local_base_freq", usual: 10_000, scaled: false };
  const ropes = {
    full_attention: readRope(config, "full_attention", global, sizes),
    sliding_attention: readRope(config, "sliding_attention", local, sizes),
  };
  return decoderEncoder({
    ...sizes,
    maxPositions: reachOf(sizes.maxPositions, ropes),
    activation: config.text("hidden_activation", "gelu_pytorch_tanh"),
    causal,
    // To both sides it is half of what the configuration says.
    window: causal ? window : Math.floor(window / 2) + 1,
    kinds: readKinds(config, sizes.layers, (layer) =>
      (layer + 1) % every === 0 ? "full_attention" : "sliding_attention",
    ),
    ropes,
    scale: config.number("query_pre_attn_scalar", 1e-6, 1e6, 256) ** -0.5,
    embeddingScale: sizes.hiddenSize ** 0.5,
    tied: config.flag("tie_word_embeddings", true),
    centeredNorms: true,
    norms: {
      beforeAttention: "input_layernorm",
      afterAttention: "post_attention_layernorm",
      beforeFeedForward: "pre_feedforward_layernorm",
      afterFeedForward: "post_feedforward_layernorm",
    },
  });
};
