import { bool, f32, str, tensorBytes, toHalf, u32, writeGguf } from "./gguf.ts";
import { byteVocabulary, chatml, sentencePieceVocabulary } from "./gguf-vocabulary.ts";

/** What a scripted model says and how its file describes itself. */
export interface Script {
  /**
   * The reply, one token a piece. All pieces differ: the next token depends on
   * the last one alone. A text piece is a token of its own, which no prompt
   * holds, or one of `controls`; bytes (a part of a character, say) make a token
   * of exactly those bytes; a single byte is the vocabulary's own token of it.
   */
  readonly reply: readonly (string | Uint8Array)[];
  /**
   * What it says instead after a prompt that ends in a control token, by that
   * token: the template chooses. No piece of one reply may be in another.
   */
  readonly replies?: Readonly<Record<string, readonly (string | Uint8Array)[]>>;
  /** After the last piece: the end of the turn (default), or the first piece again, for ever. */
  readonly loop?: boolean;
  /** Jinja chat template; ChatML by default, none when null. */
  readonly template?: string | null;
  /** Context length that the model claims to be trained with; 4096 by default. */
  readonly contextLength?: number;
  /** Logit of the scripted token; all others are 0. 32 by default: certain at any usual temperature. */
  readonly logit?: number;
  /** Byte-level BPE by default: one token a byte of a prompt. */
  readonly tokenizer?: "byte-bpe" | "sentencepiece";
  /** Further control tokens, for templates that have their own. */
  readonly controls?: readonly string[];
  readonly addBos?: boolean;
  readonly name?: string;
  readonly license?: string;
  readonly description?: string;
}

/**
 * Writes a llama model (GGUF, under 1 MB) that answers every prompt with the
 * script's pieces and then ends its turn with `<|im_end|>`. Embeddings are
 * one-hot, the block's weights are zero, and the output matrix is the table
 * "after token a comes token b": the real runtime decodes and samples it.
 * Where the end is ignored, the reply begins again.
 */
export function writeScriptedModel(path: string, script: Script): void {
  const others = Object.entries(script.replies ?? {});
  const replies = [script.reply, ...others.map(([, reply]) => reply)];
  if (replies.some((reply) => reply.length === 0)) throw new Error("a reply needs at least one piece");
  const controls = [...(script.controls ?? []), ...others.map(([control]) => control)];
  const bytesOf = (piece: string | Uint8Array) => (typeof piece === "string" ? Buffer.from(piece) : piece);
  const isControl = (piece: string | Uint8Array) => typeof piece === "string" && controls.includes(piece);
  const pieces = replies.flat().filter((piece) => !isControl(piece));
  const options = { pieces: pieces.map(bytesOf), controls, addBos: script.addBos ?? false };
  const vocabulary = script.tokenizer === "sentencepiece" ? sentencePieceVocabulary(options) : byteVocabulary(options);
  const tokenOf = (piece: string | Uint8Array) =>
    isControl(piece) ? vocabulary.control(String(piece)) : vocabulary.piece(bytesOf(piece));
  const tokens = replies.map((reply) => reply.map(tokenOf));
  if (new Set(tokens.flat()).size !== tokens.flat().length) throw new Error("a script can't say the same piece twice");

  const width = Math.ceil(vocabulary.size / 64) * 64;
  const heads = width / 64;
  const first = tokens[0]?.[0] ?? 0;
  const next = new Uint32Array(vocabulary.size).fill(first);
  for (const reply of tokens) {
    reply.forEach((token, i) => {
      next[token] = reply[i + 1] ?? (script.loop ? (reply[0] ?? first) : vocabulary.control("<|im_end|>"));
    });
  }
  others.forEach(([control], i) => {
    next[vocabulary.control(control)] = tokens[i + 1]?.[0] ?? first;
  });

  // A one-hot row of width n comes out of RMSNorm as √n.
  const weight = toHalf((script.logit ?? 32) / Math.sqrt(width));
  const one = toHalf(1);
  const matrix = (cell: (token: number) => [row: number, column: number, value: number]) => {
    const values = new Uint16Array(width * vocabulary.size);
    for (let token = 0; token < vocabulary.size; token++) {
      const [row, column, value] = cell(token);
      values[row * width + column] = value;
    }
    return Buffer.from(values.buffer);
  };
  const zeros = (name: string, ...shape: number[]) =>
    ({ name, type: "f16", shape, data: () => Buffer.alloc(tensorBytes("f16", shape)) }) as const;
  const ones = (name: string) =>
    ({ name, type: "f32", shape: [width], data: Buffer.from(new Float32Array(width).fill(1).buffer) }) as const;

  writeGguf(
    path,
    {
      "general.architecture": str("llama"),
      "general.name": str(script.name ?? "scripted"),
      "general.file_type": u32(1),
      ...(script.license !== undefined && { "general.license": str(script.license) }),
      ...(script.description !== undefined && { "general.description": str(script.description) }),
      "llama.context_length": u32(script.contextLength ?? 4096),
      "llama.embedding_length": u32(width),
      "llama.block_count": u32(1),
      "llama.feed_forward_length": u32(64),
      "llama.attention.head_count": u32(heads),
      "llama.attention.head_count_kv": u32(1),
      "llama.attention.layer_norm_rms_epsilon": f32(1e-6),
      "llama.rope.dimension_count": u32(64),
      "llama.vocab_size": u32(vocabulary.size),
      ...vocabulary.metadata,
      ...(script.tokenizer === "sentencepiece" && { "tokenizer.ggml.add_space_prefix": bool(true) }),
      ...(script.template !== null && { "tokenizer.chat_template": str(script.template ?? chatml) }),
    },
    [
      { name: "token_embd.weight", type: "f16", shape: [width, vocabulary.size], data: matrix((t) => [t, t, one]) },
      ones("output_norm.weight"),
      {
        name: "output.weight",
        type: "f16",
        shape: [width, vocabulary.size],
        // Several tokens lead to one: rows are the next token, columns the last.
        data: matrix((t) => [next[t] ?? first, t, weight]),
      },
      ones("blk.0.attn_norm.weight"),
      zeros("blk.0.attn_q.weight", width, width),
      zeros("blk.0.attn_k.weight", width, 64),
      zeros("blk.0.attn_v.weight", width, 64),
      zeros("blk.0.attn_output.weight", width, width),
      ones("blk.0.ffn_norm.weight"),
      zeros("blk.0.ffn_gate.weight", width, 64),
      zeros("blk.0.ffn_up.weight", width, 64),
      zeros("blk.0.ffn_down.weight", 64, width),
    ],
  );
}
