import { Tokenizer } from "@huggingface/tokenizers";
import { correctNormalizer } from "./normalizers.ts";
import { cut, joinPair, type PairIds, pairTemplateOf } from "./pairs.ts";
import { correctUnigram } from "./unigram.ts";

/** A model's own tokenizer. */
export interface TextTokenizer {
  /** Token ids are below it. */
  readonly vocabularySize: number;
  /** The tokens for the start, the end, padding and what is unknown, which are of no text in particular. */
  readonly nonLexical: ReadonlySet<number>;
  /**
   * The token ids of a text with the special tokens that the model wants around
   * it. Where they are more than `limit`, those of the text are cut at that end.
   */
  encode(text: string, limit: number, truncate: "none" | "start" | "end"): Uint32Array;
  /** The id of a token, by what it is in the vocabulary. */
  idOf(token: string): number | undefined;
  /** Whether the tokens of a pair are of two types; undefined where the tokenizer knows no pairs. */
  readonly pairTypes: boolean | undefined;
  /** The token ids of a text without special tokens, as part of a pair. */
  encodePart(text: string): Uint32Array;
  /**
   * Two texts with the special tokens that the model wants around a pair. Where
   * they are more than `limit`, the longer one is cut first, at that end. Throws
   * where the tokenizer knows no pairs.
   */
  pair(first: Uint32Array, second: Uint32Array, limit: number, truncate: "none" | "start" | "end"): PairIds;
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
  correctUnigram(tokenizer.model);
  const idsOf = (text: string, special: boolean): readonly number[] =>
    tokenizer.encode(text, { add_special_tokens: special }).ids;

  const bare = idsOf(probe, false);
  const whole = idsOf(probe, true);
  const start = whole.findIndex((_, at) => bare.every((id, offset) => whole[at + offset] === id));
  if (bare.length === 0 || start === -1) throw new Error("the special tokens don't stand around the text");
  const before = whole.slice(0, start);
  const after = whole.slice(start + bare.length);
  const vocabulary: Iterable<number> = tokenizer.get_vocab(true).values();
  const pairs = pairTemplateOf(tokenizer, probe, model, config);
  let vocabularySize = 0;
  for (const id of vocabulary) vocabularySize = Math.max(vocabularySize, id + 1);

  const nonLexical = new Set(
    ["cls_token", "eos_token", "pad_token", "unk_token"].flatMap((name) => {
      const token: unknown = (config as Readonly<Record<string, unknown>>)[name];
      const content = typeof token === "object" && token !== null && "content" in token ? token.content : token;
      const id = typeof content === "string" ? tokenizer.token_to_id(content) : undefined;
      return id === undefined ? [] : [id];
    }),
  );

  return {
    vocabularySize,
    nonLexical,
    encode(text, limit, truncate) {
      const ids = idsOf(text, false);
      const room = Math.max(limit - before.length - after.length, 0);
      const kept = truncate === "none" || ids.length <= room ? ids : cut(ids, room, truncate);
      return Uint32Array.from([...before, ...kept, ...after]);
    },
    idOf: (token) => tokenizer.get_vocab(true).get(token),
    pairTypes: pairs && pairs.betweenFirst !== undefined,
    encodePart: (text) => Uint32Array.from(idsOf(text, false)),
    pair(first, second, limit, truncate) {
      if (pairs === undefined) throw new Error("the tokenizer has no template for pairs");
      return joinPair(pairs, first, second, limit, truncate);
    },
  };
}
