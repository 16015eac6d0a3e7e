import { type GgufHeader, textOf } from "../../gguf/gguf-header.ts";

/**
 * Characters of one kind in a row that are tokenized. llama.cpp hands most
 * pre-tokenizers to `std::regex`, which calls itself for every character of a
 * match: with 8 MB of stack 20,000 were fine and 40,000 ended the process
 * (gpt-4o, tekken, deepseek-v3).
 */
export const longestRun = 10_000;

/**
 * Values of `tokenizer.ggml.pre` whose expressions llama.cpp has written out by
 * hand (`unicode_regex_split_custom` in unicode.cpp), or that match single
 * characters beside them: any run will do.
 */
const handWritten = new Set(
  [
    ["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
    ["dbrx", "smaug-bpe", "glm4", "chatglm-bpe", "kimi-k2"],
    ["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "qwen35"],
    ["gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum"],
    ["modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe", "exaone4", "mpt", "olmo", "jais", "trillion"],
    ["granite-docling", "gemma4", "granite-embed-multi-311m", "sarvam-moe"],
    ["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"],
  ].flat(),
);

/** What one expression of a pre-tokenizer may match at a time. Beyond ASCII letters and signs aren't told apart by all. */
const kinds = [
  { name: "letters", pattern: /(?:[A-Za-z]|[^\p{ASCII}\s])+/gu },
  { name: "signs", pattern: /(?:[!-/:-@[-`{-~]|[^\p{ASCII}\s])+/gu },
  { name: "digits", pattern: /\p{N}+/gu },
  { name: "white space characters", pattern: /\s+/gu },
];

/** Those of which an expression is "anything but white space", more or less. */
const wordKinds = [...kinds, { name: "characters without a space", pattern: /\S+/gu }];
const takesWords = new Set(["bloom", "poro-chat", "gpt3-finnish", "viking", "whitespace"]);

/** Makes what says why a text can't be tokenized; undefined for one that can. */
export function refusalOf(header: GgufHeader): (text: string) => string | undefined {
  const pre = textOf(header, "tokenizer.ggml.pre") ?? "default";
  if (textOf(header, "tokenizer.ggml.model") !== "gpt2" || handWritten.has(pre)) return () => undefined;
  const wanted = takesWords.has(pre) ? wordKinds : kinds;
  return (text) => {
    if (text.length <= longestRun) return undefined;
    for (const { name, pattern } of wanted) {
      for (const [{ length }] of text.matchAll(pattern)) {
        if (length > longestRun) return `${length} ${name} in a row, this model's tokenizer takes ${longestRun}`;
      }
    }
    return undefined;
  };
}
