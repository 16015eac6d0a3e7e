import { bool, f32s, type GgufValue, i32s, str, strs, u32 } from "./gguf.ts";

/** llama.cpp's token types (llama.h, `llama_token_type`). */
const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, byte: 6 } as const;

/** A vocabulary and the metadata that carries it in a GGUF file. */
export interface Vocabulary {
  readonly size: number;
  /** Id of a control token. */
  control(text: string): number;
  /** Id of the token that stands for exactly these bytes. */
  piece(bytes: Uint8Array): number;
  readonly metadata: Record<string, GgufValue>;
}

/** What a vocabulary holds beside the 256 bytes. */
export interface VocabularyOptions {
  /** Tokens that only a model makes: no merge leads to them, so a prompt never holds them. */
  readonly pieces?: readonly Uint8Array[];
  /** Words that a prompt's text is merged into. Every prefix of a word becomes a token too. */
  readonly words?: readonly string[];
  /** Control tokens beside `<|endoftext|>`, `<|im_start|>` and `<|im_end|>`. */
  readonly controls?: readonly string[];
  /** Filled up to this size with ` w1`, ` w2` … */
  readonly size?: number;
  /** Whether a prompt begins with `<|endoftext|>`. */
  readonly addBos?: boolean;
}

/** The template of {@link byteVocabulary}'s control tokens. */
export const chatml =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * A byte-level BPE vocabulary (GPT-2's). Without `words` each byte of a
 * prompt is one token, so token counts can be told from the text.
 * `<|im_end|>` ends a generation.
 */
export function byteVocabulary(options: VocabularyOptions = {}): Vocabulary {
  const ids = new Map<string, number>();
  const types: number[] = [];
  const add = (text: string, type: number = tokenType.normal) => {
    if (ids.has(text)) throw new Error(`token ${JSON.stringify(text)} would be in the vocabulary twice`);
    ids.set(text, types.push(type) - 1);
  };
  for (const char of byteChars) add(char);
  const merges: string[] = [];
  for (const word of options.words ?? []) {
    const chars = byteLevel(Buffer.from(word));
    for (let end = 2; end <= chars.length; end++) {
      const text = chars.slice(0, end);
      if (ids.has(text)) continue;
      add(text);
      merges.push(`${chars.slice(0, end - 1)} ${chars.charAt(end - 1)}`);
    }
  }
  for (const bytes of options.pieces ?? []) if (bytes.length > 1) add(byteLevel(bytes));
  const controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", ...(options.controls ?? [])];
  for (let n = 1; types.length + controls.length < (options.size ?? 0); n++) add(byteLevel(Buffer.from(` w${n}`)));
  for (const text of controls) add(text, tokenType.control);

  const control = (text: string) => known(ids, text);
  return {
    size: types.length,
    control,
    piece: (bytes) => known(ids, byteLevel(bytes)),
    metadata: {
      "tokenizer.ggml.model": str("gpt2"),
      "tokenizer.ggml.pre": str("qwen2"),
      "tokenizer.ggml.tokens": strs([...ids.keys()]),
      "tokenizer.ggml.token_type": i32s(types),
      "tokenizer.ggml.merges": strs(merges),
      "tokenizer.ggml.bos_token_id": u32(control("<|endoftext|>")),
      "tokenizer.ggml.eos_token_id": u32(control("<|im_end|>")),
      "tokenizer.ggml.add_bos_token": bool(options.addBos ?? false),
    },
  };
}

/**
 * A SentencePiece vocabulary (Llama 2's): spaces are `▁`, a text gets a
 * leading one, and what no token covers falls back to `<0x..>` byte tokens.
 * `words` are whole tokens, merged in the order in which they are given.
 */
export function sentencePieceVocabulary(options: VocabularyOptions = {}): Vocabulary {
  const ids = new Map<string, number>();
  const types: number[] = [];
  const scores: number[] = [];
  const add = (text: string, type: number, score: number) => {
    if (ids.has(text)) throw new Error(`token ${JSON.stringify(text)} would be in the vocabulary twice`);
    ids.set(text, types.push(type) - 1);
    scores.push(score);
  };
  add("<unk>", tokenType.unknown, 0);
  const controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", ...(options.controls ?? [])];
  for (const text of controls) add(text, tokenType.control, 0);
  for (let byte = 0; byte < 256; byte++) add(byteToken(byte), tokenType.byte, 0);
  add("▁", tokenType.normal, 0);
  let score = 0;
  for (const word of options.words ?? []) {
    const chars = [...spaced(word)];
    for (let end = 1; end <= chars.length; end++) {
      const text = chars.slice(0, end).join("");
      if (!ids.has(text)) add(text, tokenType.normal, --score);
    }
  }
  const pieceText = (bytes: Uint8Array) =>
    bytes.length === 1 && (bytes[0] ?? 0) !== 0x20 ? byteToken(bytes[0] ?? 0) : spaced(Buffer.from(bytes).toString());
  for (const bytes of options.pieces ?? []) {
    if (!ids.has(pieceText(bytes))) add(pieceText(bytes), tokenType.normal, --score);
  }
  for (let n = 1; types.length < (options.size ?? 0); n++) add(`▁w${n}`, tokenType.normal, --score);

  const control = (text: string) => known(ids, text);
  return {
    size: types.length,
    control,
    piece: (bytes) => known(ids, pieceText(bytes)),
    metadata: {
      "tokenizer.ggml.model": str("llama"),
      "tokenizer.ggml.tokens": strs([...ids.keys()]),
      "tokenizer.ggml.scores": f32s(scores),
      "tokenizer.ggml.token_type": i32s(types),
      "tokenizer.ggml.unknown_token_id": u32(0),
      "tokenizer.ggml.bos_token_id": u32(control("<|endoftext|>")),
      "tokenizer.ggml.eos_token_id": u32(control("<|im_end|>")),
      "tokenizer.ggml.add_bos_token": bool(options.addBos ?? false),
    },
  };
}

/** GPT-2's printable character for each byte (openai/gpt-2, encoder.py, `bytes_to_unicode`). */
const byteChars = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
    return String.fromCharCode(printable ? byte : next++);
  });
})();

function byteLevel(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byteChars[byte]).join("");
}

function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

function spaced(text: string): string {
  return text.replaceAll(" ", "▁");
}

function known(ids: ReadonlyMap<string, number>, text: string): number {
  const id = ids.get(text);
  if (id === undefined) throw new Error(`no token ${JSON.stringify(text)} in the vocabulary`);
  return id;
}
