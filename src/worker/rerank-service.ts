import { randomUUID } from "node:crypto";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type RerankRequest,
  type RerankResponseSchema,
  RerankService,
  type RerankTextsRequest,
  type RerankTextsResponseSchema,
  type ScoreRequest,
  type ScoreResponseSchema,
} from "../../gen/loqui/v1/rerank_pb.ts";
import type { PairEngine, PairTokens } from "../engines/pair-engine.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import type { Batcher } from "./batcher.ts";
import type { WorkerCall, WorkerMethod, WorkerMethods } from "./method.ts";
import { documentText, repeated } from "./rerank-documents.ts";
import { createPairMaker, type NamedText, type PairMaker } from "./rerank-pairs.ts";
import { teiTruncation } from "./tei-truncation.ts";
import { readTotals } from "./totals.ts";

export interface RerankOptions {
  readonly engine: PairEngine;
  readonly batcher: Batcher<PairTokens>;
}

/** The scores of a request's pairs, in their order, and what they took. */
interface Scored {
  readonly scores: readonly number[];
  readonly promptTokens: number;
  readonly queueMs: number;
}

/** A response, and what it took. */
interface Answer<O extends DescMessage> extends Omit<Scored, "scores"> {
  readonly response: MessageInitShape<O>;
}

/** Rerank, RerankTexts and Score. */
export function createRerankMethods({ engine, batcher }: RerankOptions): WorkerMethods {
  async function scoresOf(rows: readonly PairTokens[], raw: boolean | undefined, call: WorkerCall): Promise<Scored> {
    const { vectors, queueMs } = await batcher.run({ rows, tenant: call.tenant }, call.signal);
    const scores = vectors.map(([score = Number.NaN]) => (raw === true ? score : engine.readScore(score)));
    if (!scores.every(Number.isFinite)) throw new Error("the model's score is not finite");
    return { scores, promptTokens: rows.reduce((sum, { length }) => sum + length, 0), queueMs };
  }

  /** Pairs of a query with each of so many texts. */
  async function pairsOf(
    maker: PairMaker,
    query: string,
    count: number,
    text: (index: number) => NamedText,
    signal: AbortSignal,
  ): Promise<PairTokens[]> {
    const first = maker.first({ param: "query", text: query });
    const rows: PairTokens[] = [];
    for (let index = 0; index < count; index += 1) {
      rows.push(maker.pair(first, "query", text(index)));
      await maker.turn(signal);
    }
    return rows;
  }

  async function rerank(request: RerankRequest, call: WorkerCall): Promise<Answer<typeof RerankResponseSchema>> {
    const { model, query, documents, topN, returnDocuments, maxTokensPerDoc, instruction, rawScores } = request;
    const maker = createPairMaker(engine, { truncate: "none", maxTokensPerDoc, instruction });
    const text = (index: number) => documentText(request, index);
    const rows = await pairsOf(maker, query, documents.length, text, call.signal);
    const { scores, promptTokens, queueMs } = await scoresOf(rows, rawScores, call);
    const results = ranked(scores, topN).map((index) => ({
      index,
      relevanceScore: scores[index] ?? 0,
      ...(returnDocuments === true && { document: repeated(documents[index]) }),
    }));
    const usage = { promptTokens, totalTokens: promptTokens };
    const meta = {
      tokens: { inputTokens: promptTokens, outputTokens: 0 },
      warnings: warningsOf(maker, maxTokensPerDoc),
    };
    return { response: { id: newId("rerank"), object: "list", model, results, usage, meta }, promptTokens, queueMs };
  }

  async function rerankTexts(
    request: RerankTextsRequest,
    call: WorkerCall,
  ): Promise<Answer<typeof RerankTextsResponseSchema>> {
    const { query, texts, rawScores, returnText } = request;
    const maker = createPairMaker(engine, { truncate: teiTruncation(request) });
    const text = (index: number) => ({ param: `texts[${index}]`, text: texts[index] ?? "" });
    const rows = await pairsOf(maker, query, texts.length, text, call.signal);
    const { scores, promptTokens, queueMs } = await scoresOf(rows, rawScores, call);
    const ranks = ranked(scores).map((index) => ({
      index,
      score: scores[index] ?? 0,
      ...(returnText === true && { text: texts[index] ?? "" }),
    }));
    return { response: { ranks }, promptTokens, queueMs };
  }

  async function score(request: ScoreRequest, call: WorkerCall): Promise<Answer<typeof ScoreResponseSchema>> {
    const { model, text1, text2, truncatePromptTokens = 0, rawScores } = request;
    if (truncatePromptTokens > engine.contextLength) {
      const message = `truncate_prompt_tokens: ${truncatePromptTokens} is above the model's maximum ${engine.contextLength}`;
      throw new LoquiError("invalid_request", message, { param: "truncate_prompt_tokens" });
    }
    const limit = truncatePromptTokens > 0 ? truncatePromptTokens : undefined;
    const maker = createPairMaker(engine, {
      truncate: request.truncatePromptTokens === undefined ? "none" : "end",
      limit,
    });
    let first: { readonly param: string; readonly tokens: Uint32Array } | undefined;
    const rows: PairTokens[] = [];
    for (const [index, text] of text2.entries()) {
      const param = `text_1[${text1.length === 1 ? 0 : index}]`;
      const own = text1.length === 1 ? text1[0] : text1[index];
      if (first?.param !== param) first = { param, tokens: maker.first({ param, text: own ?? "" }) };
      rows.push(maker.pair(first.tokens, param, { param: `text_2[${index}]`, text }));
      await maker.turn(call.signal);
    }
    const { scores, promptTokens, queueMs } = await scoresOf(rows, rawScores, call);
    const data = scores.map((score, index) => ({ index, object: "score", score }));
    const created = Math.floor(Date.now() / 1000);
    const usage = { promptTokens, totalTokens: promptTokens };
    return { response: { id: newId("score"), object: "list", created, model, data, usage }, promptTokens, queueMs };
  }

  const { method } = RerankService;
  return new Map([
    [methodName(method.rerank), answering(method.rerank, rerank)],
    [methodName(method.rerankTexts), answering(method.rerankTexts, rerankTexts)],
    [methodName(method.score), answering(method.score, score)],
  ]);
}

/** A method of the worker: request decoded, response encoded, with what it took. */
function answering<I extends DescMessage, O extends DescMessage>(
  { input, output }: { readonly input: I; readonly output: O },
  answer: (request: MessageShape<I>, call: WorkerCall) => Promise<Answer<O>>,
): WorkerMethod {
  return async (bytes, call) => {
    const arrivedAt = performance.now();
    const { response, promptTokens, queueMs } = await answer(fromBinary(input, bytes), call);
    const totals = readTotals(promptTokens, queueMs, arrivedAt);
    return { last: [toBinary(output, create(output, response))], totals };
  };
}

/** The places of the best scores, best first; equal ones in their order. */
function ranked(scores: readonly number[], most = scores.length): number[] {
  return [...scores.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0)).slice(0, most);
}

/** Places named in a warning: the request knows the others. */
const maxNamed = 10;

function warningsOf({ cut }: PairMaker, maxTokensPerDoc: number | undefined): string[] {
  if (cut.length === 0) return [];
  const named = cut.slice(0, maxNamed).join(", ");
  const more = cut.length > maxNamed ? ` and ${cut.length - maxNamed} more` : "";
  return [`cut to ${maxTokensPerDoc} tokens: ${named}${more}`];
}

function newId(prefix: string): string {
  return `${prefix}-${randomUUID().replaceAll("-", "")}`;
}
