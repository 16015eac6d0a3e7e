/** The embedded models for search, as `models.yaml` has them: they compute what PyTorch does, and they find what they should. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { packageRoot } from "../src/config/package-root.ts";
import { readSettings } from "../src/config/settings.ts";
import { type Loqui, startLoqui } from "../src/loqui.ts";
import { type RankingReference, readHeldOut, readSearchReference, type VectorReference } from "./support/held-out.ts";

const heldOut = readHeldOut();
const vectorReference = readSearchReference<VectorReference>("tiny-embed");
const rankingReference = readSearchReference<RankingReference>("tiny-rerank");

let loqui: Loqui;
beforeAll(async () => {
  const environment = { PORT: "0", LOQUI_LOG_LEVEL: "silent", MODELS: "loqui/tiny-embed,loqui/tiny-rerank" };
  loqui = await startLoqui(readSettings(environment, {}, packageRoot));
  await loqui.settled;
}, 30_000);
afterAll(() => loqui.close());

async function post(path: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(loqui.url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as Record<string, unknown>;
  expect(answer).not.toHaveProperty("error");
  return answer;
}

async function embed(input: readonly string[]): Promise<number[][]> {
  const { data } = await post("/v1/embeddings", { model: "loqui/tiny-embed", input });
  return (data as { embedding: number[] }[]).map(({ embedding }) => embedding);
}

/** The scores in the order of the documents. */
async function score(query: string, documents: readonly string[]): Promise<number[]> {
  const { results } = await post("/v1/rerank", { model: "loqui/tiny-rerank", query, documents });
  const scores: number[] = [];
  for (const { index, relevance_score } of results as { index: number; relevance_score: number }[]) {
    scores[index] = relevance_score;
  }
  return scores;
}

const dot = (one: readonly number[], other: readonly number[]) =>
  one.reduce((sum, value, at) => sum + value * (other[at] ?? 0), 0);
const shareOf = (right: readonly boolean[]) => right.filter(Boolean).length / right.length;
const best = (scores: readonly number[]) => scores.indexOf(Math.max(...scores));

it("are there without a setting, and loaded by the start or by the first request", () => {
  const { models } = readSettings({}, {}, packageRoot);
  expect(models.map(({ id, preload }) => [id, preload])).toEqual([
    ["loqui/tiny-chat", true],
    ["loqui/tiny-embed", false],
    ["loqui/tiny-rerank", false],
  ]);
});

it("embed as sentence-transformers does", async () => {
  const vectors = await embed(vectorReference.map(({ text }) => text));
  for (const [at, { vector }] of vectorReference.entries()) {
    const bytes = Buffer.from(vector, "base64");
    const wanted = Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index));
    expect(dot(vectors[at] ?? [], wanted)).toBeGreaterThan(0.9999);
  }
});

it("score as CrossEncoder does", async () => {
  for (const { query, documents, scores } of rankingReference) {
    const found = await score(query, documents);
    for (const [at, wanted] of scores.entries()) expect(found[at]).toBeCloseTo(wanted, 3);
  }
});

// The bounds are a little under what the cards say.

it("put texts of like meaning nearer than others", async () => {
  const vectors = await embed(heldOut.triples.flat());
  const right = heldOut.triples.map((_, at) => {
    const [text = [], like = [], unlike = []] = vectors.slice(3 * at, 3 * at + 3);
    return dot(text, like) > dot(text, unlike);
  });
  expect(shareOf(right)).toBeGreaterThan(0.7);
});

it("find the text that answers a question", async () => {
  const questions = await embed(heldOut.search.map(([question]) => question));
  const answers = await embed(heldOut.search.map(([, answer]) => answer));
  const right = questions.map((question, at) => best(answers.map((answer) => dot(question, answer))) === at);
  expect(shareOf(right)).toBeGreaterThan(0.6);
});

it("rank what belongs to a query before what shares words with it, better than chance", async () => {
  const right: boolean[] = [];
  for (const { query, documents, wanted } of heldOut.rankings) {
    right.push(best(await score(query, documents)) === wanted);
  }
  // A quarter by chance, a sixth by counting shared words.
  expect(shareOf(right)).toBeGreaterThan(0.4);
});

it("rank the answer to a question among the first three of all", async () => {
  const answers = heldOut.search.map(([, answer]) => answer);
  const right: boolean[] = [];
  for (const [at, [question]] of heldOut.search.entries()) {
    const scores = await score(question, answers);
    right.push(scores.filter((other) => other > (scores[at] ?? 0)).length < 3);
  }
  // 13 of 32 by counting shared words.
  expect(shareOf(right)).toBeGreaterThan(0.5);
});
