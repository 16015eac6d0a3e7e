import { type LlamaModel, tokenAttribute } from "./addon.ts";

type Vocabulary = Pick<LlamaModel, "tokenize" | "tokenText" | "tokenAttributes">;

/** Turns texts into tokens. With `special`, the texts of control tokens become those tokens. */
export type Tokenizer = (text: string, special: boolean) => Uint32Array;

/**
 * Gives long texts to llama.cpp in pieces, since it copies the whole text for
 * each special token that it finds in it (`tokenizer_st_partition` in
 * llama-vocab.cpp): a MiB of `<|im_end|>` took 69 s. The tokens are the same: a
 * piece ends with a special token, and there llama.cpp parts a text itself.
 *
 * `pieceLength`: UTF-16 units from which on a piece ends at the next such token.
 */
export function createTokenizer(vocabulary: Vocabulary, vocabularySize: number, pieceLength = 4096): Tokenizer {
  let ends: { readonly special: RegExp | undefined; readonly plain: RegExp | undefined } | undefined;
  return (text, special) => {
    if (text.length <= pieceLength) return vocabulary.tokenize(text, special);
    ends ??= endsOf(vocabulary, vocabularySize);
    const end = special ? ends.special : ends.plain;
    const pieces: Uint32Array[] = [];
    let from = 0;
    while (end !== undefined && text.length - from > pieceLength) {
      end.lastIndex = from + pieceLength;
      if (!end.test(text)) break;
      pieces.push(vocabulary.tokenize(text.slice(from, end.lastIndex), special));
      from = end.lastIndex;
    }
    pieces.push(vocabulary.tokenize(text.slice(from), special));
    return concat(pieces);
  };
}

/** Matches what a piece may end with: with control tokens, and without. */
function endsOf(vocabulary: Vocabulary, vocabularySize: number) {
  const { control, unknown, userDefined, stripsRight } = tokenAttribute;
  const alone: { readonly text: string; readonly attributes: number }[] = [];
  for (let token = 0; token < vocabularySize; token++) {
    const attributes = vocabulary.tokenAttributes(token);
    if (!(attributes & (control | unknown | userDefined))) continue;
    const text = vocabulary.tokenText(token);
    if (text !== "") alone.push({ text, attributes });
  }
  const apart = apartFromOthers(alone.map(({ text }) => text));
  const ends = alone.filter(({ text, attributes }) => apart(text) && !(attributes & stripsRight));
  const matching = (texts: readonly string[]) =>
    texts.length === 0
      ? undefined
      : new RegExp(texts.map((text) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|"), "g");
  return {
    special: matching(ends.map(({ text }) => text)),
    plain: matching(ends.filter(({ attributes }) => attributes & userDefined).map(({ text }) => text)),
  };
}

/** Whether no other of the texts, and not the same one again, can lie across a place where a text is found. */
function apartFromOthers(texts: readonly string[]): (text: string) => boolean {
  const known = new Set<string>();
  /** Texts that are there twice, or within another. */
  const repeated = new Set<string>();
  for (const text of texts) (known.has(text) ? repeated : known).add(text);
  const beginnings = new Set<string>();
  const endings = new Set<string>();
  for (const text of known) {
    for (let length = 1; length < text.length; length++) {
      beginnings.add(text.slice(0, length));
      endings.add(text.slice(-length));
      for (let start = 0; start + length <= text.length; start++) {
        const part = text.slice(start, start + length);
        if (known.has(part)) repeated.add(part);
      }
    }
  }
  return (text) => {
    for (let length = 1; length < text.length; length++) {
      if (beginnings.has(text.slice(-length)) || endings.has(text.slice(0, length))) return false;
    }
    return !repeated.has(text);
  };
}

function concat(pieces: readonly Uint32Array[]): Uint32Array {
  const [first] = pieces;
  if (pieces.length === 1 && first !== undefined) return first;
  const all = new Uint32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
