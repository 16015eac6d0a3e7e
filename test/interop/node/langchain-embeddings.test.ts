/** LangChain's embeddings with @langchain/openai. */
import { OpenAIEmbeddings } from "@langchain/openai";
import { expect, it } from "vitest";

const url = process.env.LOQUI_TEST_URL ?? "";
const embedder = (more: object = {}) =>
  new OpenAIEmbeddings({
    model: "embedder",
    apiKey: "none",
    maxRetries: 0,
    configuration: { baseURL: `${url}/v1` },
    ...more,
  });

const documents = ["Hello, world!", "The quick brown fox", "日本語の文章です。"];

it("embeds documents in batches, and a query as a document", async () => {
  const vectors = await embedder({ batchSize: 2 }).embedDocuments(documents);
  expect(vectors.map((vector) => vector.length)).toEqual([16, 16, 16]);
  for (const [index, document] of documents.entries()) {
    const query = await embedder().embedQuery(document);
    for (const [at, value] of query.entries()) expect(value).toBeCloseTo(vectors[index]?.[at] ?? Number.NaN, 4);
  }
});

it("cuts vectors, in either form", async () => {
  const [float, unsaid] = await Promise.all(
    [{ encodingFormat: "float" as const }, {}].map((more) => embedder({ dimensions: 4, ...more }).embedQuery("Hello")),
  );
  expect(float).toHaveLength(4);
  // The SDK beneath asks for base64 then, and decodes it.
  expect(unsaid).toHaveLength(4);
  for (const [at, value] of (float ?? []).entries()) expect(unsaid?.[at]).toBeCloseTo(value, 5);
});

it("throws what the server says", async () => {
  const refused = embedder({ dimensions: 100 }).embedQuery("Hello");
  await expect(refused).rejects.toThrow(/dimensions: 100 is above the 16 that the model has/);
});
