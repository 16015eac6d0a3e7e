import { createPrecompiledNormalizer } from "./precompiled.ts";

/** A normalizer of @huggingface/tokenizers, as far as its types keep to themselves what is needed here. */
interface Normalizer {
  readonly config?: {
    readonly type?: unknown;
    readonly lowercase?: unknown;
    readonly handle_chinese_chars?: unknown;
    readonly precompiled_charsmap?: unknown;
  };
  /** Of a Sequence. */
  readonly normalizers?: readonly Normalizer[];
  normalize(text: string): string;
}

/** The ideographs beyond 16 bits that BertNormalizer sets apart (tokenizers, normalizers/bert.rs, its gap after U+2B81F too). */
const farIdeographs = /[\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/**
 * Makes the normalizers of a tokenizer do what Hugging Face's tokenizers do
 * where @huggingface/tokenizers 0.2.0 differs: those lower-case each character by
 * itself, so that a sigma at the end of a word is as any other; they know
 * ideographs beyond 16 bits; and they read SentencePiece's table of characters,
 * where the package takes NFKC instead.
 */
export function correctNormalizer(normalizer: Normalizer | null): void {
  if (normalizer === null) return;
  for (const part of normalizer.normalizers ?? []) correctNormalizer(part);
  const { type, lowercase, handle_chinese_chars, precompiled_charsmap } = normalizer.config ?? {};
  const original = normalizer.normalize.bind(normalizer);
  if (type === "Precompiled" && typeof precompiled_charsmap === "string") {
    normalizer.normalize = createPrecompiledNormalizer(precompiled_charsmap);
  } else if (type === "Lowercase") {
    normalizer.normalize = (text) => original(text.replaceAll("Σ", "σ"));
  } else if (type === "BertNormalizer") {
    normalizer.normalize = (text) => {
      const lowered = lowercase === true ? text.replaceAll("Σ", "σ") : text;
      return original(handle_chinese_chars === true ? lowered.replace(farIdeographs, " $& ") : lowered);
    };
  }
}
