import { cut, joinPair } from "../../tokenizers/pairs.ts";
import type { Truncation } from "../text-engine.ts";
import { addedTokens } from "./added-tokens.ts";
import { vocabularyType } from "./addon.ts";
import { textOf } from "./gguf-check.ts";
import { damaged } from "./gguf-header.ts";
import type { PooledModel } from "./pooled-model.ts";

/** How a reranker wants a query and a document as one row of tokens. */
export interface PairLayout {
  readonly takesInstruction: boolean;
  query(query: string, instruction: string | undefined): Uint32Array;
  document(document: string): Uint32Array;
  /** As {@link file://./../pair-engine.ts PairEngine}'s `pair`. */
  join(query: Uint32Array, document: Uint32Array, truncate: Truncation, limit: number): Uint32Array;
}

/** Two texts with a classifier's special tokens around and between them. Throws `model_unavailable` where the vocabulary has none. */
export function classifierLayout({ kind, model, tokenize }: PooledModel): PairLayout {
  const { bosToken, eosToken, separatorToken, vocabularyType: type } = model;
  const separator = separatorToken ?? eosToken;
  if (separator === undefined) throw damaged("its vocabulary names no token that separates two texts");
  const single = type === vocabularyType.wordPiece || kind.architecture === "modern-bert";
  const { before } = addedTokens(model);
  const template = {
    before: single && bosToken !== undefined ? [bosToken] : before,
    // RoBERTa's kin have each text's end, and a separator.
    between: single ? [separator] : [eosToken ?? separator, separator],
    betweenFirst: undefined,
    after: [single ? separator : (eosToken ?? separator)],
  };
  return {
    takesInstruction: false,
    query: (query) => tokenize(query, true),
    document: (document) => tokenize(document, true),
    join: (query, document, truncate, limit) => joinPair(template, query, document, limit, truncate).tokens,
  };
}

/** The prompt of Qwen3-Reranker's card, with its default instruction; converters put it into the file. */
const qwenTemplate =
  '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n' +
  "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n" +
  "<|im_start|>assistant\n<think>\n\n</think>\n\n";

/**
 * A prompt that asks whether a document fits. Only the document is ever cut:
 * without the prompt's words there would be no answer. Throws `model_unavailable`
 * for a template without its two places.
 */
export function promptLayout({ header, tokenize }: PooledModel): PairLayout {
  const template = textOf(header, "tokenizer.chat_template.rerank") ?? qwenTemplate;
  const [start = "", between, end, ...more] = template.split(/\{query\}|\{document\}/);
  if (
    between === undefined ||
    end === undefined ||
    more.length > 0 ||
    !template.includes(`{query}${between}{document}`)
  ) {
    throw damaged("tokenizer.chat_template.rerank doesn't hold {query} and {document} once, in this order");
  }
  const [, beforeTask = start, afterTask] = /^([\s\S]*<Instruct>: )[^\n]*(\n[\s\S]*)$/.exec(start) ?? [];
  // A word and the space before it are one token: the space goes with the document.
  const [, query = "", space = ""] = /^([\s\S]*?)( ?)$/.exec(between) ?? [];
  const after = tokenize(end, true);
  return {
    takesInstruction: afterTask !== undefined,
    query(text, instruction) {
      const task = instruction === undefined || afterTask === undefined ? start : beforeTask + instruction + afterTask;
      return tokenize(task + text + query, true);
    },
    document: (document) => tokenize(space + document, true),
    join(first, second, truncate, limit) {
      const room = Math.max(limit - first.length - after.length, 0);
      const document = truncate === "none" ? second : cut(second, room, truncate);
      return Uint32Array.from([...first, ...document, ...after]);
    },
  };
}
