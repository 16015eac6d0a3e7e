import { LoquiError } from "../../errors.ts";
import { type LlamaModel, tokenAttribute, vocabularyType } from "./addon.ts";

type Vocabulary = Pick<LlamaModel, "vocabularyType" | "tokenize" | "tokenText" | "tokenAttributes">;

/** Turns texts into tokens, piece by piece. With `special`, the texts of control tokens become those tokens. */
export type Tokenizer = (text: string, special: boolean) => Iterable<Uint32Array>;

export interface TokenizerOptions {
  readonly vocabularySize: number;
  /** What {@link textsAcrossWords} says of the vocabulary. Without it, words are not parted. */
  readonly acrossWords?: readonly string[] | undefined;
  /** Why a text can't be tokenized: llama.cpp would end the process. See `refusalOf`. */
  readonly refusal?: ((text: string) => string | undefined) | undefined;
  /** UTF-16 units from which on a piece ends at the next place where it may. */
  readonly pieceLength?: number;
}

/**
 * Gives long texts to llama.cpp in pieces, since tokenizing takes the event loop
 * (a MiB 0.2 to 11 s), and since it copies the whole text for each special token
 * that it finds in it (`tokenizer_st_partition` in llama-vocab.cpp): a MiB of
 * `<|im_end|>` took 69 s. The tokens are the same. A piece ends with a special
 * token, where llama.cpp parts a text itself. Or it ends with a letter before a
 * space and a letter: no pre-tokenizer of llama.cpp's looks beyond that space,
 * and where no token holds a letter and a space behind it, no merge crosses it.
 */
export function createTokenizer(vocabulary: Vocabulary, options: TokenizerOptions): Tokenizer {
  const { vocabularySize, acrossWords, refusal, pieceLength = 4096 } = options;
  let ends: Ends | undefined;
  return function* (text, special) {
    const refused = refusal?.(text);
    if (refused !== undefined) throw new LoquiError("invalid_request", `a text can't be tokenized: ${refused}`);
    let from = 0;
    while (text.length - from > pieceLength) {
      ends ??= endsOf(vocabulary, vocabularySize, acrossWords);
      const end = special ? ends.special : ends.plain;
      if (end === undefined) break;
      end.lastIndex = from + pieceLength;
      const found = end.exec(text);
      if (found === null) break;
      const to = end.lastIndex;
      yield vocabulary.tokenize(text.slice(from, to), special);
      // llama.cpp puts the space there itself.
      from = found[1] !== undefined && ends.addsSpace ? to + 1 : to;
    }
    if (from < text.length || from === 0) yield vocabulary.tokenize(text.slice(from), special);
  };
}

/** Those of a vocabulary's texts that hold a letter and a space behind it, as byte-level BPE and SentencePiece spell it. */
export function textsAcrossWords(texts: Iterable<string>): string[] {
  return Array.from(texts).filter((text) => /[A-Za-z][ \u0120\u2581]/.test(text));
}

/** What pieces may end with. */
interface Ends {
  /** With control tokens as such. The first group is a word's. */
  readonly special: RegExp | undefined;
  /** Where they are text. */
  readonly plain: RegExp | undefined;
  /** Whether a text that begins with a letter gets a space. */
  readonly addsSpace: boolean;
}

function endsOf(vocabulary: Vocabulary, vocabularySize: number, acrossWords: readonly string[] | undefined): Ends {
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
  const known = new Set(alone.map(({ text }) => text));
  const partsWords =
    (vocabulary.vocabularyType === vocabularyType.bpe || vocabulary.vocabularyType === vocabularyType.sentencePiece) &&
    acrossWords?.every((text) => known.has(text)) === true &&
    // Those stand for themselves before words do, and may take white space along.
    ![...known].some((text) => /^[A-Za-z]|[A-Za-z]$|[A-Za-z] /.test(text));
  const words = partsWords ? ["([A-Za-z](?= [A-Za-z]))"] : [];
  const matching = (texts: readonly string[]) => {
    const escaped = texts.map((text) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
    const all = [...escaped, ...words];
    return all.length === 0 ? undefined : new RegExp(all.join("|"), "g");
  };
  const [first] = partsWords ? vocabulary.tokenize("a", false) : [];
  return {
    addsSpace: first !== undefined && vocabulary.tokenText(first).startsWith("\u2581"),
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
