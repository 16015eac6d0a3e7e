import { f32, type GgufValue, str, type TensorType, tensorBytes, toHalf, u32, writeGguf } from "./gguf.ts";
import { byteVocabulary, chatml } from "./gguf-vocabulary.ts";

/** Shape of a llama model. */
export interface ModelShape {
  readonly layers: number;
  readonly dim: number;
  readonly ffn: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Size of the vocabulary: 256 bytes, control tokens, words, the rest filled up. */
  readonly vocab: number;
  readonly contextLength: number;
  readonly type: TensorType;
  /** Whether the output matrix is the embedding. */
  readonly tied: boolean;
  /** Words that prompts are merged into, see VocabularyOptions. */
  readonly words?: readonly string[];
  readonly seed?: number;
}

/** A model of under 2 MB for tests: a decode takes about half a millisecond. */
export const tinyShape: ModelShape = {
  layers: 2,
  dim: 128,
  ffn: 256,
  heads: 4,
  kvHeads: 2,
  vocab: 512,
  contextLength: 4096,
  type: "f16",
  tied: false,
  words: ["hello", " world", " the", " quick", " brown", " fox"],
};

/** The shape of SmolLM2-135M, which the benches use. */
export const shape135M: ModelShape = {
  layers: 30,
  dim: 576,
  ffn: 1536,
  heads: 9,
  kvHeads: 3,
  vocab: 49152,
  contextLength: 8192,
  type: "q8_0",
  tied: true,
};

/**
 * Writes a llama model with random weights. Equal shapes give equal files. The
 * rows of control tokens are zero, so that their logit is 0 and a greedy
 * generation never ends of itself. `metadata` replaces or, where undefined,
 * removes what the header says: broken files are made this way.
 */
export function writeRandomModel(
  path: string,
  shape: ModelShape,
  metadata: Readonly<Record<string, GgufValue | undefined>> = {},
): void {
  const { dim, ffn, type } = shape;
  const vocabulary = byteVocabulary({ size: shape.vocab, words: shape.words ?? [] });
  const random = randomSource(shape.seed ?? 1);
  const matrix = (name: string, columns: number, rows: number, scale: number) =>
    ({ name, type, shape: [columns, rows], data: () => randomTensor(type, columns * rows, scale, random) }) as const;
  const table = (name: string, scale: number) =>
    ({
      name,
      type,
      shape: [dim, vocabulary.size],
      data: () => {
        const bytes = randomTensor(type, dim * vocabulary.size, scale, random);
        return bytes.fill(0, tensorBytes(type, [dim, vocabulary.control("<|endoftext|>")]));
      },
    }) as const;
  const ones = (name: string) =>
    ({ name, type: "f32", shape: [dim], data: Buffer.from(new Float32Array(dim).fill(1).buffer) }) as const;
  const kvDim = (dim / shape.heads) * shape.kvHeads;
  const scale = 1 / Math.sqrt(dim);

  writeGguf(
    path,
    defined({
      "general.architecture": str("llama"),
      "general.name": str("random"),
      "general.file_type": u32({ f32: 0, f16: 1, q8_0: 7 }[type]),
      "general.quantization_version": u32(2),
      "llama.context_length": u32(shape.contextLength),
      "llama.embedding_length": u32(dim),
      "llama.block_count": u32(shape.layers),
      "llama.feed_forward_length": u32(ffn),
      "llama.attention.head_count": u32(shape.heads),
      "llama.attention.head_count_kv": u32(shape.kvHeads),
      "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
      "llama.rope.dimension_count": u32(dim / shape.heads),
      "llama.rope.freq_base": f32(10000),
      "llama.vocab_size": u32(vocabulary.size),
      ...vocabulary.metadata,
      "tokenizer.chat_template": str(chatml),
      ...metadata,
    }),
    [
      table("token_embd.weight", 2 * scale),
      ones("output_norm.weight"),
      ...(shape.tied ? [] : [table("output.weight", 3 * scale)]),
      ...Array.from({ length: shape.layers }, (_, layer) => `blk.${layer}.`).flatMap((block) => [
        ones(`${block}attn_norm.weight`),
        matrix(`${block}attn_q.weight`, dim, dim, scale),
        matrix(`${block}attn_k.weight`, dim, kvDim, scale),
        matrix(`${block}attn_v.weight`, dim, kvDim, scale),
        matrix(`${block}attn_output.weight`, dim, dim, scale / 2),
        ones(`${block}ffn_norm.weight`),
        matrix(`${block}ffn_gate.weight`, dim, ffn, scale),
        matrix(`${block}ffn_up.weight`, dim, ffn, scale),
        matrix(`${block}ffn_down.weight`, ffn, dim, 1 / Math.sqrt(ffn) / 2),
      ]),
    ],
  );
}

function defined(metadata: Readonly<Record<string, GgufValue | undefined>>): Record<string, GgufValue> {
  return Object.fromEntries(Object.entries(metadata).flatMap(([key, value]) => (value ? [[key, value]] : [])));
}

/** Values uniform in ±`scale`·√3, that is of standard deviation `scale`. */
export function randomTensor(type: TensorType, count: number, scale: number, random: () => number): Buffer {
  const bytes = Buffer.alloc(tensorBytes(type, [count]));
  const limit = scale * Math.sqrt(3);
  switch (type) {
    case "f32":
      for (let i = 0; i < count; i++) bytes.writeFloatLE((random() / 2 ** 31 - 1) * limit, i * 4);
      return bytes;
    case "f16":
      for (let i = 0; i < count; i++) bytes.writeUInt16LE(toHalf((random() / 2 ** 31 - 1) * limit), i * 2);
      return bytes;
    case "q8_0":
      // A block is a half-precision scale and 32 signed bytes.
      for (let at = 0; at < bytes.length; at += 34) {
        bytes.writeUInt16LE(toHalf(limit / 127), at);
        for (let i = 2; i < 34; i += 4) bytes.writeInt32LE(random() | 0, at + i);
      }
      return bytes;
    default:
      return type satisfies never;
  }
}

/** xorshift32: uniform 32-bit integers. */
export function randomSource(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
