import { Tokenizer } from "@huggingface/tokenizers";
import { correctNormalizer } from "./normalizers.ts";

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
  const file = model as { readonly normalizer?: unknown };
  const first = { type: "Lowercase" };
  const normalizer = file.normalizer == null ? first : { type: "Sequence", normalizers: [first, file.normalizer] };
  const tokenizer = new Tokenizer(lowerCase ? { ...file, normalizer } : file, config as object);
  correctNormalizer(tokenizer.normalizer);
  const idsOf = (text: string, special: boolean): readonly number[] =>
    tokenizer.encode(text, { add_special_tokens: special }).ids;

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

function cut(ids: readonly number[], room: number, end: "start" | "end"): readonly number[] {
  return end === "end" ? ids.slice(0, room) : ids.slice(ids.length - room);
}
