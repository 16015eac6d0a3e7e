import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bool, f32, type GgufValue, i32s, str, strs, u32, writeGguf } from "./gguf.ts";
import { f32Tensor, readTensors } from "./gguf-encoder.ts";
import { rerankerFixtures } from "./onnx-models.ts";

/** Hugging Face's name of a part of a layer in llama.cpp's words (gguf-py/gguf/tensor_mapping.py). */
const layerTensors: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
};

/**
 * Writes the Qwen3-Reranker of test/engines/onnx/fixtures as GGUF, as llama.cpp's
 * convert_hf_to_gguf.py does: the rows of `yes` and `no` of the output layer are
 * its classifier. `metadata` replaces or, where undefined, leaves out keys.
 */
export function writeQwenReranker(path: string, metadata: Readonly<Record<string, GgufValue | undefined>> = {}): void {
  const folder = join(rerankerFixtures, "qwen3");
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  const tokenizer = JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8"));
  const width = config.hidden_size;
  const ids: Record<string, number> = { ...tokenizer.model.vocab };
  const special = new Set<string>();
  for (const { id, content } of tokenizer.added_tokens) {
    ids[content] = id;
    special.add(content);
  }
  const texts = Array.from({ length: config.vocab_size }, (_, id) => `[PAD${id}]`);
  for (const [text, id] of Object.entries(ids)) texts[id] = text;
  // Control, unused or normal (llama.h, `llama_token_type`).
  const types = texts.map((text) => (special.has(text) ? 3 : text in ids ? 1 : 5));
  const tensors = readTensors(join(folder, "model.safetensors"));
  const table = tensors.find(({ name }) => name === "model.embed_tokens.weight")?.values ?? new Float32Array();
  const answers = ["yes", "no"].flatMap((word) => {
    const id = ids[word];
    if (id === undefined) throw new Error(`the vocabulary has no ${word}`);
    return [...table.subarray(id * width, (id + 1) * width)];
  });
  const header: Record<string, GgufValue | undefined> = {
    "general.architecture": str("qwen3"),
    "qwen3.context_length": u32(config.max_position_embeddings),
    "qwen3.embedding_length": u32(width),
    "qwen3.block_count": u32(config.num_hidden_layers),
    "qwen3.feed_forward_length": u32(config.intermediate_size),
    "qwen3.attention.head_count": u32(config.num_attention_heads),
    "qwen3.attention.head_count_kv": u32(config.num_key_value_heads),
    "qwen3.attention.key_length": u32(config.head_dim),
    "qwen3.attention.value_length": u32(config.head_dim),
    "qwen3.attention.layer_norm_rms_epsilon": f32(config.rms_norm_eps),
    "qwen3.rope.freq_base": f32(config.rope_parameters.rope_theta),
    "qwen3.pooling_type": u32(4),
    "qwen3.classifier.output_labels": strs(["yes", "no"]),
    "tokenizer.ggml.model": str("gpt2"),
    "tokenizer.ggml.pre": str("qwen2"),
    "tokenizer.ggml.tokens": strs(texts),
    "tokenizer.ggml.token_type": i32s(types),
    "tokenizer.ggml.merges": strs(tokenizer.model.merges.map((pair: string[]) => pair.join(" "))),
    "tokenizer.ggml.eos_token_id": u32(ids["<|im_end|>"] ?? 0),
    "tokenizer.ggml.add_bos_token": bool(false),
    ...metadata,
  };
  const kept = Object.entries(header).flatMap(([key, value]) => (value ? [[key, value] as const] : []));
  writeGguf(path, Object.fromEntries(kept), [
    ...tensors.map(({ name, shape, values }) => f32Tensor(tensorName(name), shape.toReversed(), values)),
    f32Tensor("cls.output.weight", [width, 2], Float32Array.from(answers)),
  ]);
}

function tensorName(name: string): string {
  if (name === "model.embed_tokens.weight") return "token_embd.weight";
  if (name === "model.norm.weight") return "output_norm.weight";
  const [, layer, part = ""] = /^model\.layers\.(\d+)\.(.*)\.weight$/.exec(name) ?? [];
  const known = layerTensors[part];
  if (known === undefined) throw new Error(`${name} has no place in GGUF`);
  return `blk.${layer}.${known}.weight`;
}
