import { damaged, textOf } from "../../gguf/gguf-header.ts";
import { cut, joinPair } from "../../tokenizers/pairs.ts";
import type { Truncation } from "../text-engine.ts";
import { addedTokens } from "./added-tokens.ts";
import { vocabularyType } from "./addon.ts";
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
 * A prompt that asks whether a document fits. A pair that is too long is cut
 * between the prompt's first and last words, at the end of the document; at the
 * start, of the document first. Throws `model_unavailable` for a template without
 * its two places.
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
  const [, system = "", task = "", usual, beforeQuery = start] =
    /^([\s\S]*)(<Instruct>: )([^\n]*)(\n[\s\S]*)$/.exec(start) ?? [];
  // A word and the space before it are one token: the space goes with the document.
  const space = between.endsWith(" ") ? " " : "";
  const afterQuery = between.slice(0, between.length - space.length);
  const before = tokenize(system, true);
  const after = tokenize(end, true);
  return {
    takesInstruction: usual !== undefined,
    query: (query, instruction = usual ?? "") => tokenize(task + instruction + beforeQuery + query + afterQuery, true),
    document: (document) => tokenize(space + document, true),
    join(query, document, truncate, limit) {
      const room = Math.max(limit - before.length - after.length, 0);
      const body = truncate === "none" ? [...query, ...document] : cutBody(query, document, truncate, room);
      return Uint32Array.from([...before, ...body, ...after]);
    },
  };
}

function cutBody(query: Uint32Array, document: Uint32Array, end: "start" | "end", room: number): number[] {
  const kept = cut(query, room, end);
  return [...kept, ...cut(document, room - kept.length, end)];
}
