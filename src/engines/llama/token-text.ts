import type { ShownControls, TokenTextDecoder } from "../token-engine.ts";
import { type LlamaModel, tokenAttribute, vocabularyType } from "./addon.ts";

/** The bytes that tokens stand for, looked up once per token and model. */
export interface TokenBytes {
  /** With `special`, control tokens have the bytes of their names; without, none. */
  of(token: number, special: boolean): Buffer;
  /** Whether a token is cut out of a text before the rest of it is tokenized: control tokens and those that users add. */
  standsAlone(token: number): boolean;
  /** Whether tokenizing puts a space before a text, and before what follows a token that stands alone. */
  readonly addsSpace: boolean;
}

/** What is needed of a vocabulary. */
type Vocabulary = Pick<LlamaModel, "vocabularyType" | "tokenize" | "tokenText" | "tokenAttributes" | "detokenize">;

/**
 * The addon gives text as JavaScript strings, in which half a character is
 * lost. So the bytes are made from the vocabulary's own spelling of a token, as
 * `llama_vocab::impl::token_to_piece` (llama.cpp, src/llama-vocab.cpp) does.
 */
export function createTokenBytes(vocabulary: Vocabulary): TokenBytes {
  const known: Buffer[] = [];
  const attributes: number[] = [];
  const spelling = spellingOf(vocabulary);
  const attributesOf = (token: number) => {
    attributes[token] ??= vocabulary.tokenAttributes(token);
    return attributes[token];
  };
  const of = (token: number, special: boolean): Buffer => {
    if (!special && attributesOf(token) & (tokenAttribute.control | tokenAttribute.unknown)) return nothing;
    known[token] ??= bytesOf(vocabulary, spelling, token, attributesOf(token));
    return known[token];
  };
  const [first] = vocabulary.tokenize("a", false);
  return {
    of,
    standsAlone: (token) =>
      (attributesOf(token) & (tokenAttribute.control | tokenAttribute.unknown | tokenAttribute.userDefined)) !== 0,
    addsSpace: first !== undefined && of(first, true)[0] === space,
  };
}

/** The bytes that tokenizing makes these tokens of: without the spaces that it puts before (`llama_vocab::impl::tokenize`). */
export function bytesBehind(bytes: TokenBytes, tokens: Uint32Array): Buffer {
  const pieces: Buffer[] = [];
  let spaced = bytes.addsSpace;
  for (const token of tokens) {
    const piece = bytes.of(token, true);
    const alone = bytes.standsAlone(token);
    pieces.push(spaced && !alone && piece[0] === space ? piece.subarray(1) : piece);
    spaced = alone && bytes.addsSpace;
  }
  return Buffer.concat(pieces);
}

/** A decoder that holds a token's last bytes back while they are the beginning of a character. */
export function createTextDecoder(bytes: TokenBytes, special: ShownControls): TokenTextDecoder {
  let open: Buffer = nothing;
  const pieceOf = (token: number): Buffer => {
    if (typeof special === "boolean") return bytes.of(token, special);
    const plain = bytes.of(token, false);
    const named = bytes.of(token, true);
    return plain.length === 0 && special(named.toString()) ? named : plain;
  };
  return {
    push(token) {
      const piece = pieceOf(token);
      const all = open.length === 0 ? piece : Buffer.concat([open, piece]);
      const complete = all.length - openBytes(all);
      open = all.subarray(complete);
      return all.toString("utf8", 0, complete);
    },
    flush() {
      const rest = open.toString();
      open = nothing;
      return rest;
    },
  };
}

const nothing = Buffer.alloc(0);
const space = 0x20;

/** How normal tokens are spelled: GPT-2's characters for bytes, `▁` for spaces, or in a way that only llama.cpp knows. */
type Spelling = "byte-level" | "spaces" | "other";

function spellingOf(vocabulary: Vocabulary): Spelling {
  switch (vocabulary.vocabularyType) {
    case vocabularyType.bpe: {
      // Some BPE vocabularies are spelled like SentencePiece's (Gemma 4); a space shows which.
      const space = vocabulary.tokenize(" ", false)[0];
      return space !== undefined && vocabulary.tokenText(space).startsWith("▁") ? "spaces" : "byte-level";
    }
    case vocabularyType.sentencePiece:
    case vocabularyType.wordPiece:
    case vocabularyType.unigram:
      return "spaces";
    case vocabularyType.none:
    case vocabularyType.rwkv:
    case vocabularyType.plamo2:
      return "other";
    default:
      return vocabulary.vocabularyType satisfies never;
  }
}

function bytesOf(vocabulary: Vocabulary, spelling: Spelling, token: number, attributes: number): Buffer {
  if (spelling === "other") return Buffer.from(vocabulary.detokenize(Uint32Array.of(token), true));
  const text = vocabulary.tokenText(token);
  if (attributes & (tokenAttribute.control | tokenAttribute.unknown | tokenAttribute.userDefined)) {
    return Buffer.from(text);
  }
  // Bytes without a token of their own: <0x0A>.
  if (attributes & tokenAttribute.byte) return Buffer.from(text.slice(3, 5), "hex");
  if (!(attributes & tokenAttribute.normal)) return nothing;
  if (spelling === "spaces") return Buffer.from(text.replaceAll("▁", " "));
  return Buffer.concat(Array.from(text, (char) => byteOf.get(char) ?? Buffer.from(char)));
}

/** The byte behind each of GPT-2's characters (openai/gpt-2, encoder.py, `bytes_to_unicode`). */
const byteOf = (() => {
  const bytes = new Map<string, Buffer>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    bytes.set(String.fromCharCode(printable ? byte : next++), Buffer.of(byte));
  }
  return bytes;
})();

/** Length of the unfinished character at the end: 0 to 3 bytes. */
function openBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}
