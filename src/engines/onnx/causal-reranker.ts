import { LoquiError } from "../../errors.ts";
import type { TextTokenizer } from "../../tokenizers/tokenizer.ts";
import { cutDocument, type PairEngine } from "../pair-engine.ts";
import type { Truncation } from "../text-engine.ts";
import type { Classifier, Encoder } from "./architectures/encoder.ts";
import { encoderOf } from "./architectures.ts";
import { packRows } from "./batch.ts";
import { type Checkpoint, fieldsOf, inFolder, unusable } from "./checkpoint.ts";
import { loadGraph } from "./loaded-graph.ts";
import { contextOf, graphOptions, type OnnxEngineOptions } from "./onnx-engine.ts";
import { buildPairGraph } from "./pair-graph.ts";
import { readEncoderConfig, readModules, readPrompts } from "./sentence-transformers.ts";
import { readTokenizer } from "./tokenizer-files.ts";

/** Qwen3-Reranker's template, as its model card has it. */
const template = {
  prefix:
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct " +
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
  query: (instruction: string, query: string) => `<Instruct>: ${instruction}\n<Query>: ${query}\n<Document>:`,
  // Tokens of words have the space before them.
  document: (document: string) => ` ${document}`,
  suffix: "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
  instruction: "Given a web search query, retrieve relevant passages that answer the query",
  maxTokens: 8192,
} as const;

/** A language model that is asked whether a document answers a query. */
interface CausalReranker {
  /** The folder of the model's files, `""` for the checkpoint's own. */
  readonly folder: string;
  /** The tokens of both answers, where the checkpoint says them. */
  readonly answers: Answers | undefined;
  /** The task where the caller names none. */
  readonly instruction: string;
}

interface Answers {
  readonly no: number;
  readonly yes: number;
}

/**
 * Reads whether a checkpoint is a language model that scores pairs, and how:
 * Qwen3-Reranker as published, or as sentence-transformers' CrossEncoder saves it
 * (with `LogitScore`). Undefined for all others.
 */
export async function readCausalReranker(checkpoint: Checkpoint): Promise<CausalReranker | undefined> {
  const [transformer = { type: "Transformer", path: "" }, score, ...others] = (await readModules(checkpoint)) ?? [];
  const folder = transformer.path;
  const file = inFolder(folder, "config.json");
  const [architecture] = (fieldsOf(file, await checkpoint.json(file)).raw("architectures") ?? []) as readonly unknown[];
  if (typeof architecture !== "string" || !architecture.endsWith("ForCausalLM")) return undefined;
  if (others.length > 0 || (score !== undefined && score.type !== "LogitScore")) {
    throw unusable("modules.json: a reranker that is a language model has a Transformer and a LogitScore alone");
  }
  const { prompts, defaultPrompt } = await readPrompts(checkpoint);
  const named = defaultPrompt === undefined ? undefined : prompts.get(defaultPrompt);
  return {
    folder,
    answers: score === undefined ? undefined : await readLogitScore(checkpoint, score.path),
    instruction: named ?? template.instruction,
  };
}

async function readLogitScore(checkpoint: Checkpoint, folder: string): Promise<Answers> {
  const file = inFolder(folder, "config.json");
  const fields = fieldsOf(file, await checkpoint.json(file));
  return {
    no: fields.whole("false_token_id", 0, 2 ** 31 - 1),
    yes: fields.whole("true_token_id", 0, 2 ** 31 - 1),
  };
}

/**
 * Loads Qwen3-Reranker: the raw score is how much the logit of "yes" is above that
 * of "no" where the model would answer, the score the probability of "yes" among
 * both. Of the output matrix only their two rows are taken. Throws `model_unavailable`.
 *
 * A pair that is too long is cut as a whole, at the end of the document; at the
 * start, of the document first. The template is never cut: where a limit leaves
 * nothing beside it, `pair` throws `invalid_request`.
 */
export async function openCausalReranker(
  checkpoint: Checkpoint,
  { folder, answers, instruction: usual }: CausalReranker,
  options: OnnxEngineOptions,
): Promise<PairEngine> {
  const encoder = encoderOf(await checkpoint.json(inFolder(folder, "config.json")));
  const { tokenizer, maxTokens } = await readTokenizer(checkpoint, folder, false, encoder);
  const sizes = await readEncoderConfig(checkpoint, folder);
  const most = Math.min(maxTokens, encoder.maxPositions);
  const contextLength = contextOf(
    {
      ...options,
      contextLength:
        options.contextLength ??
        Math.min(sizes?.whole("max_seq_length", 1, 1_048_576, template.maxTokens) ?? template.maxTokens, most),
    },
    most,
  );
  const prefix = tokenizer.encodePart(template.prefix);
  const suffix = tokenizer.encodePart(template.suffix);
  const around = prefix.length + suffix.length;
  if (contextLength <= around) {
    throw unusable(`n_ctx ${contextLength} leaves no room beside the ${around} tokens of the model's template`);
  }
  const { no, yes } = answers ?? answersOf(tokenizer);
  const classifier = classifierOf(encoder, [no, yes]);
  const graph = await buildPairGraph(checkpoint, folder, { ...encoder, classifier }, 2, false, graphOptions(options));
  const { session, info, aloneAbove } = await loadGraph(graph, encoder, undefined, options.threads);
  return {
    info,
    lanes: session.lanes,
    aloneAbove,
    contextLength,
    takesInstruction: true,
    tokenizeQuery: (query, instruction = usual) => tokenizer.encodePart(template.query(instruction, query)),
    tokenizeDocument: (document, most) => cutDocument(tokenizer.encodePart(template.document(document)), most),
    pair(query, document, truncate, limit = contextLength) {
      if (truncate !== "none" && limit <= around) {
        const message = `${limit} tokens of a pair are not more than the ${around} of the model's template`;
        throw new LoquiError("invalid_request", message);
      }
      const [asked, read] = cutBody(query, document, truncate, limit - around);
      const tokens = new Uint32Array(around + asked.length + read.length);
      tokens.set(prefix);
      tokens.set(asked, prefix.length);
      tokens.set(read, prefix.length + asked.length);
      tokens.set(suffix, tokens.length - suffix.length);
      return { tokens, first: tokens.length, length: tokens.length };
    },
    async score(pairs, shared) {
      const logits = await session.run(packRows(pairs.map(({ tokens }) => tokens)), shared);
      return Float32Array.from(pairs, (_, row) => (logits[2 * row + 1] ?? 0) - (logits[2 * row] ?? 0));
    },
    readScore: (raw) => 1 / (1 + Math.exp(-raw)),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

function answersOf(tokenizer: TextTokenizer): Answers {
  const [no, yes] = ["no", "yes"].map((word) => tokenizer.idOf(word));
  if (no === undefined || yes === undefined) throw unusable('tokenizer.json has no tokens "yes" and "no"');
  return { no, yes };
}

/** The logits of some tokens after the last one of a text. */
function classifierOf(encoder: Encoder & { readonly modelType: string }, ids: readonly number[]): Classifier {
  const { outputRows, modelType, vocabularySize } = encoder;
  if (outputRows === undefined) throw unusable(`config.json: a reranker of model_type ${modelType} is not supported`);
  const beyond = ids.find((id) => id >= vocabularySize);
  if (beyond !== undefined) throw unusable(`the token ${beyond} of an answer is beyond vocab_size ${vocabularySize}`);
  return {
    pooling: "lasttoken",
    build: (graph, weights, pooled) => graph.linear(pooled, outputRows(graph, weights, ids), undefined),
  };
}

/** What is left of both texts where `room` tokens are to be kept. */
function cutBody(
  query: Uint32Array,
  document: Uint32Array,
  truncate: Truncation,
  room: number,
): readonly [Uint32Array, Uint32Array] {
  if (truncate === "none" || query.length + document.length <= room) return [query, document];
  const asked = truncate === "end" ? query.subarray(0, room) : query.subarray(Math.max(query.length - room, 0));
  const left = room - asked.length;
  return [asked, truncate === "end" ? document.subarray(0, left) : document.subarray(document.length - left)];
}
