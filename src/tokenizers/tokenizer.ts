import { Tokenizer } from "@huggingface/tokenizers";

/** A model's own tokenizer. */
export interface TextTokenizer {
  /** Token ids are below it. */
  readonly vocabularySize: number;
  /**
   * The token ids of a text with the special tokens that the model wants around
   * it. Where they are more than `limit`, those of the text are cut at that end.
   */
  encode(text: string, limit: number, truncate: "none" | "start" | "end"): Uint32Array;
}

/** Any text that no tokenizer takes for special and none makes nothing of. */
const probe = "a";

/**
 * The tokenizer of `tokenizer.json` and `tokenizer_config.json`, as parsed. With
 * `lowerCase` texts are lower-cased before all else (sentence-transformers'
 * `do_lower_case`). Its ids are those of Hugging Face's tokenizers; what that
 * does about truncation and padding by the file's own settings is not done.
 * Throws where the file holds what isn't known.
 */
export function createTokenizer(model: unknown, config: unknown, lowerCase: boolean): TextTokenizer {
  const file = model as { readonly normalizer?: Normalizer | null };
  const first = { type: "Lowercase" };
  const normalizer = file.normalizer == null ? first : { type: "Sequence", normalizers: [first, file.normalizer] };
  const tokenizer = new Tokenizer(lowerCase ? { ...file, normalizer } : file, config as object);
  const idsOf = (text: string, special: boolean): readonly number[] =>
    tokenizer.encode(prepare(text), { add_special_tokens: special }).ids;

  const prepare = preparation(normalizersOf(lowerCase ? normalizer : file.normalizer));
  const bare = idsOf(probe, false);
  const whole = idsOf(probe, true);
  const start = whole.findIndex((_, at) => bare.every((id, offset) => whole[at + offset] === id));
  if (bare.length === 0 || start === -1) throw new Error("the special tokens don't stand around the text");
  const before = whole.slice(0, start);
  const after = whole.slice(start + bare.length);
  const vocabulary: Iterable<number> = tokenizer.get_vocab(true).values();
  let vocabularySize = 0;
  for (const id of vocabulary) vocabularySize = Math.max(vocabularySize, id + 1);

  return {
    vocabularySize,
    encode(text, limit, truncate) {
      const ids = idsOf(text, false);
      const room = Math.max(limit - before.length - after.length, 0);
      const kept = truncate === "none" || ids.length <= room ? ids : cut(ids, room, truncate);
      return Uint32Array.from([...before, ...kept, ...after]);
    },
  };
}

/** A normalizer of tokenizer.json. */
interface Normalizer {
  readonly type?: unknown;
  readonly normalizers?: readonly Normalizer[];
  readonly lowercase?: unknown;
  readonly handle_chinese_chars?: unknown;
}

function normalizersOf(normalizer: Normalizer | null | undefined): readonly Normalizer[] {
  if (normalizer?.type === "Sequence") return (normalizer.normalizers ?? []).flatMap(normalizersOf);
  return normalizer == null ? [] : [normalizer];
}

/** The ideographs beyond 16 bits that BertNormalizer sets apart (tokenizers, normalizers/bert.rs, its gap after U+2B81F too). */
const farIdeographs = /[\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/**
 * What has to be done to a text before, for the ids that Hugging Face's
 * tokenizers would give: those lower-case each character by itself, so that a
 * sigma at the end of a word is as any other, and know characters beyond 16 bits.
 */
function preparation(normalizers: readonly Normalizer[]): (text: string) => string {
  const bert = normalizers.filter(({ type }) => type === "BertNormalizer");
  const lower =
    normalizers.some(({ type }) => type === "Lowercase") || bert.some(({ lowercase }) => lowercase === true);
  const apart = bert.some(({ handle_chinese_chars }) => handle_chinese_chars === true);
  return (text) => {
    const lowered = lower ? text.replaceAll("Σ", "σ") : text;
    return apart ? lowered.replace(farIdeographs, " $& ") : lowered;
  };
}

function cut(ids: readonly number[], room: number, end: "start" | "end"): readonly number[] {
  return end === "end" ? ids.slice(0, room) : ids.slice(ids.length - room);
}
