import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bool, f32, f32s, type GgufTensor, type GgufValue, i32s, str, strs, u32, writeGguf } from "./gguf.ts";
import { onnxFixtures } from "./onnx-models.ts";

/** What a file is to hold beside, or instead of, what the converter writes; undefined leaves a key out. */
export interface EncoderChanges {
  readonly metadata?: Readonly<Record<string, GgufValue | undefined>>;
  readonly tensors?: readonly GgufTensor[];
}

/** A checkpoint of test/engines/onnx/fixtures that can be written. */
export type EncoderFixture = "bert" | "nomic-bert" | "xlm-roberta" | "rerankers/bert" | "rerankers/xlm-roberta";

/**
 * Writes a checkpoint of test/engines/onnx/fixtures (BERT, Nomic or XLM-RoBERTa)
 * as GGUF, as llama.cpp's convert_hf_to_gguf.py does: XLM-RoBERTa has the
 * architecture `bert` too, positions begin with the first one used, and WordPiece's
 * tokens have a mark where words begin instead of one where they go on. A BERT's
 * pooler is left out, as there.
 */
export function writeEncoder(path: string, name: EncoderFixture, changes: EncoderChanges = {}): void {
  const json = (file: string) => JSON.parse(readFileSync(join(onnxFixtures, name, file), "utf8"));
  const config = json("config.json");
  const tensors = readTensors(join(onnxFixtures, name, "model.safetensors"));
  const isRoberta = config.model_type === "xlm-roberta";
  const skipped = isRoberta ? config.pad_token_id + 1 : 0;
  const architecture = config.model_type === "nomic_bert" ? "nomic-bert" : "bert";
  const { rope_theta: theta } = config.rope_parameters ?? {};
  const metadata = {
    "general.architecture": str(architecture),
    [`${architecture}.context_length`]: u32(config.max_position_embeddings - skipped),
    [`${architecture}.embedding_length`]: u32(config.hidden_size),
    [`${architecture}.block_count`]: u32(config.num_hidden_layers),
    [`${architecture}.feed_forward_length`]: u32(config.intermediate_size),
    [`${architecture}.attention.head_count`]: u32(config.num_attention_heads),
    [`${architecture}.attention.layer_norm_epsilon`]: f32(config.layer_norm_eps),
    [`${architecture}.attention.causal`]: bool(false),
    [`${architecture}.pooling_type`]: u32(name.startsWith("rerankers") ? 4 : 1),
    [`${architecture}.rope.freq_base`]: theta === undefined ? undefined : f32(theta),
    "tokenizer.ggml.token_type_count": u32(config.type_vocab_size),
    ...(isRoberta ? unigram(json("tokenizer.json")) : wordPiece(json("tokenizer.json"))),
    ...changes.metadata,
  };
  writeGguf(path, defined(metadata), [
    ...tensors.flatMap(({ name: from, shape, values }) => {
      if (from.includes("pooler")) return [];
      const to = tensorName(from.replace(/^(?:bert|roberta)\./, ""));
      if (to === undefined) throw new Error(`${from} has no place in GGUF`);
      const kept = to === "position_embd.weight" ? values.subarray(skipped * config.hidden_size) : values;
      const rows = to === "position_embd.weight" ? [(shape[0] ?? 0) - skipped, ...shape.slice(1)] : shape;
      return changes.tensors?.some((tensor) => tensor.name === to) ? [] : [f32Tensor(to, rows.toReversed(), kept)];
    }),
    ...(changes.tensors ?? []),
  ]);
}

/** A tensor of 32-bit floats; `shape` with the fastest dimension first. */
export function f32Tensor(name: string, shape: readonly number[], values: Float32Array): GgufTensor {
  return { name, type: "f32", shape, data: Buffer.from(Float32Array.from(values).buffer) };
}

function defined(metadata: Readonly<Record<string, GgufValue | undefined>>): Record<string, GgufValue> {
  return Object.fromEntries(Object.entries(metadata).flatMap(([key, value]) => (value ? [[key, value]] : [])));
}

/** Hugging Face's name of a tensor in llama.cpp's words (gguf-py/gguf/tensor_mapping.py). */
function tensorName(name: string): string | undefined {
  const [, layer, part = name] = /^encoder\.layers?\.(\d+)\.(.*)$/.exec(name) ?? [];
  const ending = /\.(weight|bias)$/.exec(part)?.[0] ?? "";
  const base = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
    // Nomic's, whose queries, keys and values are one matrix.
    emb_ln: "token_embd_norm",
    "attn.Wqkv": "attn_qkv",
    "attn.out_proj": "attn_output",
    norm1: "attn_output_norm",
    "mlp.fc11": "ffn_up",
    "mlp.fc12": "ffn_gate",
    "mlp.fc2": "ffn_down",
    norm2: "layer_output_norm",
    "classifier.dense": "cls",
    "classifier.out_proj": "cls.output",
    classifier: "cls.output",
  }[part.slice(0, part.length - ending.length)];
  return base && `${layer === undefined ? "" : `blk.${layer}.`}${base}${ending}`;
}

export interface CheckpointTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** All tensors of a safetensors file of 32- or 16-bit floats, of both kinds. */
export function readTensors(path: string): CheckpointTensor[] {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString("utf8", 8, start));
  return Object.keys(header).flatMap((name) => {
    if (name === "__metadata__") return [];
    const { dtype, shape, data_offsets: offsets } = header[name];
    const bytes = Uint8Array.from(file.subarray(start + offsets[0], start + offsets[1])).buffer;
    return [{ name, shape, values: toFloats(dtype, bytes) }];
  });
}

function toFloats(type: string, bytes: ArrayBuffer): Float32Array {
  if (type === "F16") return Float32Array.from(new Float16Array(bytes));
  // bfloat16 is the upper half of a 32-bit float.
  if (type === "BF16") return new Float32Array(Uint32Array.from(new Uint16Array(bytes), (half) => half << 16).buffer);
  return new Float32Array(bytes);
}

/** `llama_token_type` in llama.h. */
const tokenType = { normal: 1, unknown: 2, control: 3 } as const;

// biome-ignore lint/suspicious/noExplicitAny: tokenizer.json as the tokenizers library writes it
function wordPiece({ model, added_tokens: added }: any): Record<string, GgufValue> {
  const special = new Set<string>(added.map(({ content }: { content: string }) => content));
  const tokens = Object.keys(model.vocab).sort((a, b) => model.vocab[a] - model.vocab[b]);
  const marked = (token: string) => (token.startsWith("##") ? token.slice(2) : `▁${token}`);
  return {
    "tokenizer.ggml.model": str("bert"),
    "tokenizer.ggml.pre": str("default"),
    "tokenizer.ggml.tokens": strs(tokens.map((token) => (special.has(token) ? token : marked(token)))),
    "tokenizer.ggml.token_type": i32s(
      tokens.map((token) => (special.has(token) ? tokenType.control : tokenType.normal)),
    ),
    "tokenizer.ggml.unknown_token_id": u32(model.vocab["[UNK]"]),
    "tokenizer.ggml.bos_token_id": u32(model.vocab["[CLS]"]),
    "tokenizer.ggml.seperator_token_id": u32(model.vocab["[SEP]"]),
    "tokenizer.ggml.padding_token_id": u32(model.vocab["[PAD]"]),
    "tokenizer.ggml.mask_token_id": u32(model.vocab["[MASK]"]),
  };
}

// biome-ignore lint/suspicious/noExplicitAny: tokenizer.json as the tokenizers library writes it
function unigram({ model }: any): Record<string, GgufValue> {
  const vocabulary = model.vocab as readonly (readonly [string, number])[];
  const id = (text: string) => u32(vocabulary.findIndex(([token]) => token === text));
  const types = vocabulary.map(([token]) =>
    token === "<unk>" ? tokenType.unknown : /^<.*>$/.test(token) ? tokenType.control : tokenType.normal,
  );
  return {
    "tokenizer.ggml.model": str("t5"),
    "tokenizer.ggml.pre": str("default"),
    "tokenizer.ggml.tokens": strs(vocabulary.map(([token]) => token)),
    "tokenizer.ggml.scores": f32s(vocabulary.map(([, score]) => score)),
    "tokenizer.ggml.token_type": i32s(types),
    "tokenizer.ggml.add_space_prefix": bool(true),
    "tokenizer.ggml.remove_extra_whitespaces": bool(true),
    "tokenizer.ggml.bos_token_id": id("<s>"),
    "tokenizer.ggml.eos_token_id": id("</s>"),
    "tokenizer.ggml.unknown_token_id": id("<unk>"),
    "tokenizer.ggml.seperator_token_id": id("</s>"),
    "tokenizer.ggml.padding_token_id": id("<pad>"),
    "tokenizer.ggml.add_bos_token": bool(true),
    "tokenizer.ggml.add_eos_token": bool(true),
  };
}
