import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bool, bools, f32, f32s, type GgufValue, i32s, str, strs, u32, writeGguf } from "./gguf.ts";
import { f32Tensor, readTensors } from "./gguf-encoder.ts";
import { onnxFixtures, rerankerFixtures } from "./onnx-models.ts";

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

/** Gemma 3 has norms after attention and feed-forward too. */
const gemmaTensors: Readonly<Record<string, string>> = {
  ...layerTensors,
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};

/**
 * Writes the EmbeddingGemma of test/engines/onnx/fixtures, its two Dense modules
 * included, as GGUF, as convert_hf_to_gguf.py does with
 * --sentence-transformers-dense-modules: the weights of norms grow by the 1 that
 * transformers adds as it computes.
 */
export function writeGemmaEmbedding(path: string): void {
  const folder = join(onnxFixtures, "gemma3");
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  const { model, added_tokens: added } = JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8"));
  const texts = Object.keys(model.vocab).sort((a, b) => model.vocab[a] - model.vocab[b]);
  const special = new Map<string, boolean>();
  for (const { content, special: control } of added) special.set(content, control);
  /** Unknown, byte, control, of the user's or normal (llama.h, `llama_token_type`). */
  const typeOf = (text: string) => {
    if (text === "<unk>") return 2;
    if (/^<0x..>$/.test(text)) return 6;
    return special.has(text) ? (special.get(text) ? 3 : 4) : 1;
  };
  const dense = ["2_Dense", "3_Dense"].map((name) =>
    readTensors(join(folder, "layouts", "mean", name, "model.safetensors")).map(({ shape, values }) => ({
      name: `dense_${name[0]}`,
      shape,
      values,
    })),
  );
  const { full_attention: all, sliding_attention: near } = config.rope_parameters;
  const own = {
    context_length: u32(config.max_position_embeddings),
    embedding_length: u32(config.hidden_size),
    block_count: u32(config.num_hidden_layers),
    feed_forward_length: u32(config.intermediate_size),
    "attention.head_count": u32(config.num_attention_heads),
    "attention.head_count_kv": u32(config.num_key_value_heads),
    "attention.key_length": u32(config.head_dim),
    "attention.value_length": u32(config.head_dim),
    "attention.layer_norm_rms_epsilon": f32(config.rms_norm_eps),
    "attention.sliding_window": u32(config.sliding_window),
    "attention.sliding_window_pattern": bools(config.layer_types.map((kind: string) => kind === "sliding_attention")),
    "rope.freq_base": f32(all.rope_theta),
    "rope.freq_base_swa": f32(near.rope_theta),
    pooling_type: u32(1),
    ...Object.fromEntries(
      dense.flat().flatMap(({ name, shape: [outputs = 0, inputs = 0] }) => [
        [`${name}_feat_in`, u32(inputs)],
        [`${name}_feat_out`, u32(outputs)],
      ]),
    ),
  };
  const header: Record<string, GgufValue> = {
    "general.architecture": str("gemma-embedding"),
    ...Object.fromEntries(Object.entries(own).map(([key, value]) => [`gemma-embedding.${key}`, value])),
    "tokenizer.ggml.model": str("llama"),
    "tokenizer.ggml.pre": str("default"),
    // Those of the user's are looked for before spaces get their sign.
    "tokenizer.ggml.tokens": strs(texts.map((text) => (typeOf(text) === 4 ? text.replaceAll("▁", " ") : text))),
    "tokenizer.ggml.scores": f32s(texts.map((_, id) => -id)),
    "tokenizer.ggml.token_type": i32s(texts.map(typeOf)),
    "tokenizer.ggml.bos_token_id": u32(config.bos_token_id),
    "tokenizer.ggml.eos_token_id": u32(config.eos_token_id),
    "tokenizer.ggml.unknown_token_id": u32(model.vocab["<unk>"]),
    "tokenizer.ggml.padding_token_id": u32(config.pad_token_id),
    "tokenizer.ggml.add_bos_token": bool(true),
    "tokenizer.ggml.add_eos_token": bool(true),
    "tokenizer.ggml.add_space_prefix": bool(false),
  };
  writeGguf(path, header, [
    ...readTensors(join(folder, "model.safetensors")).map(({ name, shape, values }) =>
      f32Tensor(
        tensorName(`model.${name}`, gemmaTensors),
        shape.toReversed(),
        name.endsWith("norm.weight") ? values.map((value) => value + 1) : values,
      ),
    ),
    ...dense.flat().map(({ name, shape, values }) => f32Tensor(`${name}.weight`, shape.toReversed(), values)),
  ]);
}

function tensorName(name: string, names = layerTensors): string {
  if (name === "model.embed_tokens.weight") return "token_embd.weight";
  if (name === "model.norm.weight") return "output_norm.weight";
  const [, layer, part = ""] = /^model\.layers\.(\d+)\.(.*)\.weight$/.exec(name) ?? [];
  const known = names[part];
  if (known === undefined) throw new Error(`${name} has no place in GGUF`);
  return `blk.${layer}.${known}.weight`;
}
