import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { TruncationDirection } from "../gen/loqui/v1/common_pb.ts";
import { RerankService } from "../gen/loqui/v1/rerank_pb.ts";
import { matching } from "./support/matching.ts";
import { rerankerFixtures } from "./support/onnx-models.ts";
import { startWithEncoders } from "./support/running-encoders.ts";
import type { RunningLoqui } from "./support/running-loqui.ts";
import { transports } from "./support/transports.ts";

/** Made by test/engines/onnx/reference/pairs.py. */
const pairs = JSON.parse(readFileSync(join(rerankerFixtures, "pairs.json"), "utf8")) as [string, string][];
interface Reference {
  readonly ids: readonly (readonly number[])[];
  readonly scores: readonly number[];
  readonly raw: readonly number[];
}
const referenceOf = (name: string) =>
  JSON.parse(readFileSync(join(rerankerFixtures, name, "reference.json"), "utf8")) as Reference;
const bert = referenceOf("bert");

const query = "Hello, world!";
/** Pairs of the query with texts that fit the context of 40 tokens. */
const withQuery = [...pairs.keys()].slice(200, 240);
const documents = withQuery.map((pair) => pairs[pair]?.[1] ?? "");
const tokens = withQuery.reduce((sum, pair) => sum + (bert.ids[pair]?.length ?? 0), 0);
/** Places of the documents, best first by the reference, equal ones in their order. */
const order = [...documents.keys()].sort((a, b) => scoreOf(b) - scoreOf(a) || a - b);
function scoreOf(index: number, numbers = bert.scores): number {
  return numbers[withQuery[index] ?? 0] ?? Number.NaN;
}
/** Pairs that were cut to fit the context. */
const cutPairs = [...bert.ids.keys()].slice(0, 200).filter((pair) => bert.ids[pair]?.length === 40);

let loqui: RunningLoqui;
beforeAll(async () => {
  loqui = await startWithEncoders({
    vectors: { encoder: "bert", layout: "mean" },
    bert: { reranker: "bert" },
    distilbert: { reranker: "distilbert" },
    qwen3: { reranker: "qwen3" },
    "xlm-roberta": { reranker: "xlm-roberta" },
  });
});
afterAll(() => loqui?.[Symbol.asyncDispose]());

// biome-ignore lint/suspicious/noExplicitAny: bodies of all endpoints, held against what is expected.
type Body = any;

async function post(path: string, body: object): Promise<{ status: number; body: Body; ignored: string | null }> {
  const response = await fetch(`${loqui.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json(), ignored: response.headers.get("x-loqui-ignored") };
}

async function rerank(body: object): Promise<Body> {
  const response = await post("/v1/rerank", { model: "bert", query, documents, ...body });
  expect(response.body).not.toHaveProperty("error");
  return response.body;
}

/** Scores by the places of their documents. */
function byIndex(results: readonly { index: number; relevance_score?: number; score?: number }[]): number[] {
  const scores: number[] = [];
  for (const { index, relevance_score, score } of results) scores[index] = relevance_score ?? score ?? Number.NaN;
  return scores;
}

function expectClose(found: readonly number[], wanted: readonly number[]): void {
  expect(found.length).toBe(wanted.length);
  for (const [at, value] of wanted.entries()) expect(Math.abs((found[at] ?? Number.NaN) - value)).toBeLessThan(1e-4);
}

describe("/v1/rerank", () => {
  it("sorts documents as the reference does, equal ones in their order", async () => {
    const { status, body, ignored } = await post("/v1/rerank", { model: "bert", query, documents });
    expect({ status, ignored }).toEqual({ status: 200, ignored: null });
    const { results, ...rest } = body;
    expect(rest).toEqual({
      id: expect.stringMatching(/^rerank-[0-9a-f]{32}$/),
      object: "list",
      model: "bert",
      usage: { prompt_tokens: tokens, total_tokens: tokens },
      meta: { tokens: { input_tokens: tokens, output_tokens: 0 } },
    });
    expectClose(
      byIndex(results),
      documents.map((_, index) => scoreOf(index)),
    );
    const scores = results.map((result: Body) => result.relevance_score);
    expect(scores).toEqual(scores.toSorted((a: number, b: number) => b - a));
    // The empty documents, and what is nothing but space, are the same pair.
    expect(results.map((result: Body) => result.index).filter((index: number) => index < 4)).toEqual([0, 1, 2, 3]);
    expect(new Set(order.slice(0, 5))).toEqual(new Set(results.slice(0, 5).map((result: Body) => result.index)));
    expect(Object.keys(results[0])).toEqual(["index", "relevance_score"]);
  });

  it.each(["/v2/rerank", "/rerank", "/v1/reranking", "/reranking"])("is the same at %s", async (path) => {
    const { body } = await post(path, { model: "bert", query, documents, top_n: 3 });
    expect(body.results).toEqual((await rerank({ top_n: 3 })).results);
  });

  it("returns the best top_n, with their documents where return_documents asks for them", async () => {
    const { results } = await rerank({ top_n: 2, return_documents: true });
    expect(results).toEqual(
      order.slice(0, 2).map((index) => ({
        index,
        relevance_score: expect.closeTo(scoreOf(index), 4),
        document: { text: documents[index] },
      })),
    );
    expect((await rerank({ top_n: 1000 })).results).toHaveLength(documents.length);
  });

  it("reads the text of an object, or its rank_fields in their order", async () => {
    const long = "12345678901234567890";
    const object = { title: "dog", text: "lazy", year: 2026, id: Number(long), tags: [{ b: 1 }] };
    const source = JSON.stringify({ model: "bert", query, documents: [object], return_documents: true }).replace(
      String(Number(long)),
      long,
    );
    const response = await fetch(`${loqui.url}/v1/rerank`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: source,
    });
    const text = await response.text();
    expect(text).toContain(`"id":${long}`);
    expect(JSON.parse(text).results[0].document).toEqual(object);

    const [asText, asObject] = byIndex((await rerank({ documents: ["lazy", object] })).results);
    expect(asObject).toBe(asText);
    const rank_fields = ["title", "text", "tags"];
    const [fields] = byIndex((await rerank({ documents: [object], rank_fields })).results);
    const lines = 'title: dog\ntext: lazy\ntags: [{"b":1}]';
    const [written, alone] = byIndex((await rerank({ documents: [lines, "text: lazy"] })).results);
    expect(fields).toBe(written);
    expect(byIndex((await rerank({ documents: ["lazy"], rank_fields: ["text"] })).results)).toEqual([alone]);
  });

  it("reads max_tokens_per_doc tokens of each document and says which were cut", async () => {
    const { results, meta } = await rerank({ documents: ["the lazy", "the lazy dog jumps"], max_tokens_per_doc: 2 });
    const [two = 0] = byIndex((await rerank({ documents: ["the"] })).results);
    expect(meta.warnings).toEqual(["cut to 2 tokens: documents[0], documents[1]"]);
    const many = await rerank({ documents: Array(12).fill("the lazy dog ".repeat(30)), max_tokens_per_doc: 1 });
    expect(many.meta.warnings[0]).toMatch(/^cut to 1 tokens: documents\[0\], .*, documents\[9\] and 2 more$/);
    expect(byIndex(many.results)).toEqual(Array(12).fill(expect.closeTo(two, 6)));
    expect(byIndex(results)[0]).toBe(byIndex(results)[1]);
  });

  it("gives the model's raw scores where raw_scores asks for them", async () => {
    expectClose(
      byIndex((await rerank({ raw_scores: true })).results),
      documents.map((_, index) => scoreOf(index, bert.raw)),
    );
  });

  it.each(["distilbert", "qwen3", "xlm-roberta"])("answers with %s as the reference does", async (model) => {
    const { scores, raw } = referenceOf(model);
    for (const [raw_scores, numbers] of [[false, scores] as const, [true, raw] as const]) {
      expectClose(
        byIndex((await rerank({ model, raw_scores })).results),
        documents.map((_, index) => scoreOf(index, numbers)),
      );
    }
  });

  it("asks a language model in the words of the instruction", async () => {
    const { other } = JSON.parse(readFileSync(join(rerankerFixtures, "qwen3", "reference.json"), "utf8"));
    const { instruction, step, raw } = other as { instruction: string; step: number; raw: number[] };
    const some = withQuery.filter((pair) => pair % step === 0);
    const body = { model: "qwen3", documents: some.map((pair) => pairs[pair]?.[1]), instruction, raw_scores: true };
    expect(some.length).toBeGreaterThan(1);
    expectClose(
      byIndex((await rerank(body)).results),
      some.map((pair) => raw[pair / step] ?? Number.NaN),
    );
  });

  it("answers requests at the same time as it answers each alone", async () => {
    const answers = await Promise.all(documents.map((text) => rerank({ documents: [text] })));
    expectClose(
      answers.map(({ results }) => results[0].relevance_score),
      documents.map((_, index) => scoreOf(index)),
    );
  });

  it("takes 10,000 documents", async () => {
    const many = Array.from({ length: 10_000 }, (_, index) => documents[index % documents.length]);
    const { results } = await rerank({ documents: many, top_n: 250 });
    expect(results).toHaveLength(250);
    const best = order[0] ?? 0;
    const alike = documents.flatMap((text, index) => (scoreOf(index) === scoreOf(best) ? [text] : []));
    for (const { index } of results) expect(alike).toContain(many[index]);
    const places = results.map(({ index }: Body) => index);
    expect(places).toEqual(places.toSorted((a: number, b: number) => a - b));
  });

  it.each<[string, object, object]>([
    ["no documents", { documents: [] }, { param: "documents", message: "documents is required" }],
    ["10,001 documents", { documents: Array(10_001).fill("a") }, { param: "documents", message: /no more than 10000/ }],
    ["no query", { query: "" }, { param: "query", message: "query is required" }],
    ["no results", { top_n: 0 }, { param: "top_n", message: /^top_n: 0 must be greater than or equal to 1/ }],
    [
      "1 MB of text",
      { documents: ["a", "word ".repeat(200_000)] },
      { code: "context_length_exceeded", param: "documents[1]", n_prompt_tokens: 400_007, n_ctx: 40 },
    ],
    [
      "more than 1 MiB of text",
      { documents: ["a", "word ".repeat(300_000)] },
      { param: "documents[1]", message: "documents[1]: 1500000 bytes of text are above the maximum 1048576" },
    ],
    [
      "a query that is too long",
      { query: "the ".repeat(100), documents: ["a"], max_tokens_per_doc: 2 },
      {
        code: "context_length_exceeded",
        param: "documents[0]",
        n_prompt_tokens: 104,
        message:
          "This model's maximum context length is 40 tokens. However, query and documents[0] have 104 tokens together.",
      },
    ],
    [
      "unknown rank_fields",
      { documents: [{ text: "a", title: "b" }, { text: "c" }], rank_fields: ["title"] },
      { param: "documents[1].title", message: "documents[1].title is not there, and rank_fields names it" },
    ],
    [
      "rank_fields of a text",
      { documents: ["a"], rank_fields: ["title"] },
      { param: "documents[0].title", message: /rank_fields names it: the document is a text$/ },
    ],
    [
      "members of more than 1 MiB",
      { documents: [{ text: "a", title: "b", rest: "c".repeat(1 << 20) }], rank_fields: ["title"] },
      { param: "documents[0].other_members", message: /bytes of text are above the maximum 1048576$/ },
    ],
    [
      "an object without a text",
      { documents: [{ title: "b" }] },
      { param: "documents[0].text", message: "documents[0].text is required where rank_fields is not given" },
    ],
    ["an instruction", { instruction: "Be kind." }, { param: "instruction", code: "unsupported" }],
    [
      "a model that makes vectors",
      { model: "vectors" },
      { param: "model", code: "unsupported", message: "the model vectors is of type embedding, not rerank" },
    ],
  ])("refuses %s", async (_, body, error) => {
    const response = await post("/v1/rerank", { model: "bert", query, documents, ...body });
    expect(response.status).toBe(400);
    expect(response.body.error).toMatchObject(matching(error));
  });

  it("names what it ignores", async () => {
    const { status, ignored } = await post("/v1/rerank", { model: "bert", query, documents, max_chunks_per_doc: 3 });
    expect({ status, ignored }).toEqual({ status: 200, ignored: "max_chunks_per_doc" });
  });

  it("a reranker refuses vectors, and its page says what it is", async () => {
    const refused = await post("/v1/embeddings", { model: "bert", input: "a" });
    expect(refused.body.error.message).toBe("the model bert is of type rerank, not embedding");
    expect(await (await fetch(`${loqui.url}/v1/models/bert`)).json()).toMatchObject({
      type: "rerank",
      capabilities: ["rerank"],
      engine: "onnxruntime",
      architecture: "bert",
      context_length: 40,
      state: "ready",
    });
  });
});

describe("TEI's /rerank", () => {
  it("takes the first rerank model where the request names none", async () => {
    const { status, body } = await post("/rerank", { query, texts: documents });
    expect(status).toBe(200);
    expectClose(
      byIndex(body),
      documents.map((_, index) => scoreOf(index)),
    );
    expect(Object.keys(body[0])).toEqual(["index", "score"]);
  });

  it("returns texts and raw scores where it is asked for them", async () => {
    const { body } = await post("/rerank", { query, texts: documents, return_text: true, raw_scores: true });
    expectClose(
      byIndex(body),
      documents.map((_, index) => scoreOf(index, bert.raw)),
    );
    for (const { index, text } of body) expect(text).toBe(documents[index]);
  });

  it("cuts at either end what doesn't fit, where truncate says so", async () => {
    expect(cutPairs.length).toBeGreaterThan(5);
    for (const pair of cutPairs.slice(0, 8)) {
      const [first = "", second = ""] = pairs[pair] ?? [];
      const whole = await post("/rerank", { query: first, texts: [second], truncate: true });
      expectClose(byIndex(whole.body), [bert.scores[pair] ?? 0]);
    }
    const texts = [`lazy dog ${"the ".repeat(60)}`];
    const [right] = byIndex((await post("/rerank", { query, texts, truncate: true })).body);
    const direction = { truncate: true, truncation_direction: "Left" };
    const [left] = byIndex((await post("/rerank", { query, texts, ...direction })).body);
    const [end] = byIndex((await post("/rerank", { query, texts: ["the ".repeat(60)], truncate: true })).body);
    expect(left).toBe(end);
    expect(left).not.toBe(right);
  });

  it("refuses what doesn't fit", async () => {
    const { status, body } = await post("/rerank", { query, texts: ["a", "the ".repeat(60)] });
    expect(status).toBe(400);
    expect(body.error).toMatchObject({ code: "context_length_exceeded", param: "texts[1]", n_ctx: 40 });
  });
});

describe("vLLM's /v1/score", () => {
  it("scores one text against several, in their order", async () => {
    const { status, body } = await post("/v1/score", { model: "bert", text_1: query, text_2: documents });
    expect(status).toBe(200);
    const { data, ...rest } = body;
    expect(rest).toEqual({
      id: expect.stringMatching(/^score-[0-9a-f]{32}$/),
      object: "list",
      created: expect.any(Number),
      model: "bert",
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    });
    expect(data.map(({ index, object }: Body) => [index, object])).toEqual(documents.map((_, at) => [at, "score"]));
    expectClose(
      data.map(({ score }: Body) => score),
      documents.map((_, index) => scoreOf(index)),
    );
  });

  it("scores two lists pair by pair, cut where truncate_prompt_tokens says so", async () => {
    const some = [...cutPairs.slice(0, 5), 0, 1, 2];
    const body = {
      model: "bert",
      text_1: some.map((pair) => pairs[pair]?.[0]),
      text_2: some.map((pair) => pairs[pair]?.[1]),
      truncate_prompt_tokens: -1,
    };
    const wanted = (numbers: readonly number[]) => some.map((pair) => numbers[pair] ?? Number.NaN);
    const scores = async (more: object) =>
      (await post("/score", { ...body, ...more })).body.data.map(({ score }: Body) => score);
    expectClose(await scores({}), wanted(bert.scores));
    expectClose(await scores({ truncate_prompt_tokens: 40, raw_scores: true }), wanted(bert.raw));
    const cut = await post("/score", { ...body, truncate_prompt_tokens: 10 });
    expect(cut.body.usage.prompt_tokens).toBeLessThanOrEqual(10 * some.length);
  });

  it.each<[string, object, object]>([
    ["lists that don't match", { text_1: ["a", "b"], text_2: ["a", "b", "c"] }, { message: /as many as text_2/ }],
    ["no texts", { text_1: "a", text_2: [] }, { param: "text_2" }],
    ["zero tokens", { truncate_prompt_tokens: 0 }, { param: "truncate_prompt_tokens" }],
    [
      "more tokens than there are",
      { truncate_prompt_tokens: 41 },
      {
        param: "truncate_prompt_tokens",
        message: "truncate_prompt_tokens: 41 is above the model's maximum 40",
      },
    ],
    [
      "fewer tokens than the model's template has",
      { model: "qwen3", truncate_prompt_tokens: 49 },
      { message: /^49 tokens of a pair are not more than the \d+ of the model's template$/ },
    ],
    [
      "a pair that doesn't fit",
      { text_1: ["a", "b"], text_2: ["c", "the ".repeat(50)] },
      { code: "context_length_exceeded", param: "text_2[1]", message: /However, text_1\[1\] and text_2\[1\] have/ },
    ],
  ])("refuses %s", async (_, body, error) => {
    const response = await post("/v1/score", { model: "bert", text_1: "a", text_2: "b", ...body });
    expect(response.status).toBe(400);
    expect(response.body.error).toMatchObject(matching(error));
  });
});

test.each(transports)("%s answers as REST does", async (_, transportTo) => {
  const client = createClient(RerankService, transportTo(loqui.url));
  const forms = documents.map((value) => ({ document: { case: "text" as const, value } }));
  const ranked = await client.rerank({ model: "bert", query, documents: forms, topN: 5, returnDocuments: true });
  const { results } = await rerank({ top_n: 5, return_documents: true });
  expect(ranked.results.map(({ index, relevanceScore, document }) => [index, relevanceScore, document?.text])).toEqual(
    results.map(({ index, relevance_score, document }: Body) => [index, relevance_score, document.text]),
  );
  expect(ranked.usage?.promptTokens).toBe(tokens);
  const texts = await client.rerankTexts({
    query,
    texts: documents,
    truncate: true,
    truncationDirection: TruncationDirection.LEFT,
  });
  expect(texts.ranks.slice(0, 5).map(({ index, score }) => [index, score])).toEqual(
    ranked.results.map(({ index, relevanceScore }) => [index, relevanceScore]),
  );
  const { data } = await client.score({ model: "bert", text1: [query], text2: documents });
  expectClose(
    data.map(({ score }) => score),
    documents.map((_, index) => scoreOf(index)),
  );
});

test("over gRPC errors name the field, and members of a document may be anything", async () => {
  const client = createClient(RerankService, createGrpcTransport({ baseUrl: loqui.url }));
  const document = { case: "object" as const, value: { text: "a", otherMembers: "no JSON" } };
  const request = { model: "bert", query, documents: [{ document }] };
  expect((await client.rerank(request)).results).toHaveLength(1);
  await expect(client.rerank({ ...request, rankFields: ["title"] })).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: "documents[0].other_members is not a JSON object",
  });
});

test("a request that leaves waits for nothing, and the next one is answered", async () => {
  const controller = new AbortController();
  const body = JSON.stringify({ model: "bert", query, documents: Array(5_000).fill("the lazy dog") });
  const headers = { "content-type": "application/json" };
  const left = fetch(`${loqui.url}/v1/rerank`, { method: "POST", headers, body, signal: controller.signal });
  setTimeout(() => controller.abort(), 100);
  await expect(left).rejects.toThrow();
  expect((await rerank({ top_n: 1 })).results).toHaveLength(1);
  const metrics = async () => (await fetch(`${loqui.url}/v1/models/bert:metrics`)).json() as Promise<Body>;
  await expect.poll(async () => (await metrics()).in_flight, { timeout: 5_000 }).toBe(0);
});

test("without a rerank model TEI's request is told so", async () => {
  await using bare = await startWithEncoders({ vectors: { encoder: "bert", layout: "mean" } });
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ query, texts: ["a"] });
  const response = await fetch(`${bare.url}/rerank`, { method: "POST", headers, body });
  expect(response.status).toBe(404);
  expect(((await response.json()) as Body).error).toMatchObject({ code: "model_not_found", param: "model" });
});
