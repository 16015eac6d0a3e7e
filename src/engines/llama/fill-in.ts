import { type GgufHeader, isArray, numbersOf } from "../../gguf/gguf-header.ts";
import type { FillInTokens } from "../token-engine.ts";
import type { LlamaModel } from "./addon.ts";

/**
 * What a model calls its tokens for filling in the middle: in the metadata, and
 * where those are silent in the vocabulary. Both are llama.cpp's lists
 * (src/llama-arch.cpp; src/llama-vocab.cpp, `impl::load`).
 */
const names: Readonly<Record<keyof FillInTokens, { keys: readonly string[]; texts: readonly string[] }>> = {
  prefix: {
    keys: ["fim_pre_token_id", "prefix_token_id"],
    texts: [
      ...["<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>"],
      ...["<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>"],
    ],
  },
  suffix: {
    keys: ["fim_suf_token_id", "suffix_token_id"],
    texts: [
      ...["<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>"],
      ...["<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>"],
    ],
  },
  middle: {
    keys: ["fim_mid_token_id", "middle_token_id"],
    texts: [
      ...["<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>"],
      ...["<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>"],
    ],
  },
};

/** A model's tokens for filling in the middle; undefined where it lacks one. */
export function findFillInTokens(
  model: Pick<LlamaModel, "tokenize" | "tokenText">,
  { metadata }: GgufHeader,
): FillInTokens | undefined {
  const vocabulary = metadata.get("tokenizer.ggml.tokens");
  if (!isArray(vocabulary)) return undefined;
  const find = ({ keys, texts }: (typeof names)[keyof FillInTokens]): number | undefined => {
    const ids = keys.flatMap((key) => numbersOf(metadata.get(`tokenizer.ggml.${key}`)));
    const id = ids.find((token) => Number.isInteger(token) && token >= 0 && token < vocabulary.length);
    if (id !== undefined) return id;
    const text = texts.find((candidate) => vocabulary.texts?.has(candidate));
    if (text === undefined) return undefined;
    const [token, ...more] = model.tokenize(text, true);
    return token !== undefined && more.length === 0 && model.tokenText(token) === text ? token : undefined;
  };
  const [prefix, suffix, middle] = [find(names.prefix), find(names.suffix), find(names.middle)];
  if (prefix === undefined || suffix === undefined || middle === undefined) return undefined;
  return { prefix, suffix, middle };
}
