import { create } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { TextsSchema, TruncationDirection } from "../gen/loqui/v1/common_pb.ts";
import { EmbeddingService } from "../gen/loqui/v1/embedding_pb.ts";
import { bert, expected, texts } from "./support/bert-reference.ts";
import { matching } from "./support/matching.ts";
import { startWithEncoders } from "./support/running-encoders.ts";
import type { RunningLoqui } from "./support/running-loqui.ts";
import { transports } from "./support/transports.ts";

/** Texts that fit the context of 40 tokens. */
const short = texts.flatMap((text, index) => (text !== "" && bert.ids[index].length < 40 ? [index] : [])).slice(0, 30);
const [first = 0, second = 0] = short;
const long = "the ".repeat(100);

const prompts = { query: "hello, " };
let loqui: RunningLoqui;
beforeAll(async () => {
  loqui = await startWithEncoders({
    "a-reranker": { reranker: "bert" },
    bert: { encoder: "bert", layout: "mean", sentenceConfig: { prompts, default_prompt_name: null } },
    heads: { encoder: "xlm-roberta", layout: "mean", heads: true },
  });
});
afterAll(() => loqui?.[Symbol.asyncDispose]());

// biome-ignore lint/suspicious/noExplicitAny: bodies of all endpoints, held against what is expected.
type Body = any;

async function post(path: string, body: object, { url } = loqui): Promise<{ status: number; body: Body }> {
  const response = await fetch(`${url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

async function answer(path: string, body: object): Promise<Body> {
  const response = await post(path, body);
  expect(response.body).not.toHaveProperty("error");
  return response.body;
}

/** What /v1/embeddings has of the same. */
async function embeddings(body: object): Promise<Body[]> {
  return (await answer("/v1/embeddings", { model: "bert", ...body })).data;
}

async function vectorsOf(body: object): Promise<number[][]> {
  return (await embeddings(body)).map(({ embedding }) => embedding);
}

function expectClose(found: readonly number[] | undefined, wanted: readonly number[]): void {
  expect(found?.length).toBe(wanted.length);
  for (const [at, value] of wanted.entries()) expect(found?.[at]).toBeCloseTo(value, 4);
}

describe("TEI's /embed", () => {
  it("answers with the vectors alone, of the first embedding model where none is named", async () => {
    const [vector, ...others] = await answer("/embed", { inputs: texts[first] });
    expect(others).toEqual([]);
    expectClose(vector, expected(first));
    const vectors = await answer("/embed", { inputs: short.map((index) => texts[index]), model: null });
    expect(vectors).toHaveLength(short.length);
    for (const [at, index] of short.entries()) expectClose(vectors[at], expected(index));
    expectClose(
      (await answer("/embed", { inputs: "a", model: "heads" }))[0],
      (await vectorsOf({ model: "heads", input: "a" }))[0] ?? [],
    );
  });

  it("takes token ids as they are", async () => {
    const [one] = await answer("/embed", { inputs: bert.ids[first] });
    expectClose(one, expected(first));
    const [, two] = await answer("/embed", { inputs: [bert.ids[first], bert.ids[second]] });
    expectClose(two, expected(second));
  });

  it("cuts, scales and prompts as /v1/embeddings does", async () => {
    const input = texts[first];
    const cases: [object, object][] = [
      [{ normalize: false }, { normalize: false }],
      [{ dimensions: 5 }, { dimensions: 5 }],
      [{ prompt_name: "query" }, { prompt_name: "query" }],
    ];
    for (const [more, same] of cases) {
      expect(await answer("/embed", { inputs: [input], ...more })).toEqual(await vectorsOf({ input, ...same }));
    }
    const text = `${"and ".repeat(90)}${long}`;
    const ends: [object, string][] = [
      [{}, "END"],
      [{ truncation_direction: "right" }, "END"],
      [{ truncation_direction: "Right" }, "END"],
      [{ truncation_direction: "left" }, "START"],
      [{ truncation_direction: "Left" }, "START"],
    ];
    const cut: Record<string, number[][]> = {};
    for (const end of ["START", "END"]) cut[end] = await vectorsOf({ input: text, truncate: end });
    expect(cut.START).not.toEqual(cut.END);
    for (const [more, end] of ends) {
      expect(await answer("/embed", { inputs: text, truncate: true, ...more })).toEqual(cut[end]);
    }
  });

  it.each<[string, object, object]>([
    ["an empty text", { inputs: "" }, { param: "inputs" }],
    ["an empty text among others", { inputs: ["a", ""] }, { param: "inputs", message: /must not be an empty string/ }],
    ["no texts", { inputs: [] }, { param: "inputs" }],
    ["no inputs", {}, { param: "inputs" }],
    ["too many texts", { inputs: Array(2049).fill("a") }, { param: "inputs", message: /at most 2048 inputs/ }],
    ["texts and token ids mixed", { inputs: ["a", [7]] }, { param: "inputs[1]" }],
    [
      "a text that is too long",
      { inputs: ["a", long], truncate: false },
      {
        code: "context_length_exceeded",
        param: "inputs[1]",
        message: "This model's maximum context length is 40 tokens. However, inputs[1] has 102 tokens.",
      },
    ],
    ["a text alone that is too long", { inputs: long }, { code: "context_length_exceeded", param: "inputs" }],
    ["a token id that is none", { inputs: [[7], [7, 420]] }, { param: "inputs[1][1]" }],
    [
      "a prompt that isn't there",
      { inputs: "a", prompt_name: "passage" },
      { param: "prompt_name", message: "prompt_name: the model has no prompt passage, it has query" },
    ],
    ["too many dimensions", { inputs: "a", dimensions: 17 }, { param: "dimensions" }],
    ["a direction that is none", { inputs: "a", truncation_direction: "up" }, { param: "truncation_direction" }],
    ["a reranker", { inputs: "a", model: "a-reranker" }, { param: "model", code: "unsupported" }],
  ])("refuses %s", async (_, body, error) => {
    const response = await post("/embed", body);
    expect(response.status).toBe(400);
    expect(response.body.error).toMatchObject(matching(error));
  });

  it("doesn't know other models", async () => {
    const { status, body } = await post("/embed", { inputs: "a", model: "none" });
    expect([status, body.error.code]).toEqual([404, "model_not_found"]);
  });
});

describe("TEI's /embed_sparse", () => {
  it("answers with the weights that /v1/embeddings has", async () => {
    const input = short.map((index) => texts[index]);
    const wanted = (await embeddings({ model: "heads", input, return_sparse: true })).map(({ sparse }) =>
      sparse.indices.map((index: number, at: number) => ({ index, value: sparse.values[at] })),
    );
    expect(wanted.flat().length).toBeGreaterThan(short.length);
    expect(await answer("/embed_sparse", { model: "heads", inputs: input })).toEqual(wanted);
  });

  it("cuts what is too long where it is told to", async () => {
    const request = { model: "heads", inputs: `${"and ".repeat(90)}${long}` };
    const input = request.inputs;
    const body = { ...request, truncate: true, truncation_direction: "Left" };
    const [{ sparse }] = (await embeddings({ model: "heads", input, truncate: "START", return_sparse: true })) as [
      Body,
    ];
    expect((await answer("/embed_sparse", body))[0].map(({ index }: Body) => index)).toEqual(sparse.indices);
    const refused = await post("/embed_sparse", request);
    expect(refused.body.error).toMatchObject({ code: "context_length_exceeded", param: "inputs" });
  });

  it("refuses models that have none", async () => {
    const { status, body } = await post("/embed_sparse", { inputs: "a" });
    expect(status).toBe(400);
    expect(body.error).toMatchObject({
      code: "unsupported",
      param: "model",
      message: "the model makes no weights of tokens",
    });
  });

  it("refuses a prompt that isn't there", async () => {
    const { status, body } = await post("/embed_sparse", { model: "heads", inputs: "a", prompt_name: "query" });
    expect([status, body.error.param]).toEqual([400, "prompt_name"]);
  });
});

describe("TEI's /similarity", () => {
  const sentences = short.slice(1).map((index) => texts[index]);
  const cosines = short.slice(1).map((index) => {
    const source = expected(first);
    return expected(index).reduce((sum, value, at) => sum + value * (source[at] ?? 0), 0);
  });

  it("answers with the cosines of the reference's vectors", async () => {
    const found = await answer("/similarity", { inputs: { source_sentence: texts[first], sentences } });
    expectClose(found, cosines);
    const [same] = await answer("/similarity", { inputs: { source_sentence: "Hello", sentences: ["Hello"] } });
    expect(same).toBeCloseTo(1, 6);
    expect(same).toBeLessThanOrEqual(1);
  });

  it("reads its parameters", async () => {
    const source_sentence = "world!";
    const prompted = { inputs: { source_sentence, sentences: ["a"] }, parameters: { prompt_name: "query" } };
    const plain = { inputs: { source_sentence: "hello, world!", sentences: ["hello, a"] } };
    expectClose(await answer("/similarity", prompted), await answer("/similarity", plain));
    const inputs = { source_sentence, sentences: [`lazy dog ${long}`, long] };
    const at = (truncation_direction: string): Promise<number[]> =>
      answer("/similarity", { inputs, parameters: { truncate: true, truncation_direction } });
    const [start, tail] = await at("left");
    expect(start).toBe(tail);
    const [head, whole] = await at("right");
    expect(head).not.toBe(whole);
  });

  it.each<[string, object, object]>([
    ["no inputs", {}, { param: "inputs" }],
    ["no source", { inputs: { sentences: ["a"] } }, { param: "inputs.source_sentence" }],
    ["no sentences", { inputs: { source_sentence: "a", sentences: [] } }, { param: "inputs.sentences" }],
    ["an empty one", { inputs: { source_sentence: "a", sentences: ["b", ""] } }, { param: "inputs.sentences[1]" }],
    [
      "too many",
      { inputs: { source_sentence: "a", sentences: Array(2048).fill("b") } },
      { param: "inputs.sentences", message: /no more than 2047/ },
    ],
    [
      "a source that is too long",
      { inputs: { source_sentence: long, sentences: ["b"] } },
      { param: "inputs.source_sentence", code: "context_length_exceeded" },
    ],
    [
      "a sentence that is too long",
      { inputs: { source_sentence: "a", sentences: ["b", long] } },
      { param: "inputs.sentences[1]", code: "context_length_exceeded" },
    ],
    [
      "a prompt that isn't there",
      { inputs: { source_sentence: "a", sentences: ["b"] }, parameters: { prompt_name: "no" } },
      { param: "prompt_name" },
    ],
  ])("refuses %s", async (_, body, error) => {
    const response = await post("/similarity", body);
    expect(response.status).toBe(400);
    expect(response.body.error).toMatchObject(matching(error));
  });
});

test.each(transports)("%s answers as REST does", async (_, transportTo) => {
  const client = createClient(EmbeddingService, transportTo(loqui.url));
  const some = short.slice(0, 5).map((index) => texts[index] ?? "");
  const inputs = { inputs: { case: "texts" as const, value: create(TextsSchema, { texts: some }) } };
  const { embeddings } = await client.embed({ inputs });
  for (const [at, index] of short.slice(0, 5).entries()) expectClose(embeddings[at]?.values, expected(index));
  const sparse = await client.embedSparse({ model: "heads", inputs });
  const weights = sparse.embeddings.map(({ tokens }) => tokens.map(({ index }) => index));
  const rest: Body[][] = await answer("/embed_sparse", { model: "heads", inputs: some });
  expect(weights).toEqual(rest.map((tokens) => tokens.map(({ index }) => index)));
  const [sourceSentence = "", ...sentences] = some;
  const { similarities } = await client.similarity({
    inputs: { sourceSentence, sentences },
    parameters: { truncate: true, truncationDirection: TruncationDirection.LEFT },
  });
  expect(similarities).toEqual(await answer("/similarity", { inputs: { source_sentence: sourceSentence, sentences } }));
});

test("of several models a loaded one answers before others", async () => {
  const [bertVector] = await answer("/embed", { inputs: "a" });
  await answer("/v1/models/bert:unload", {});
  expect(await answer("/embed", { inputs: "a" })).toEqual(await vectorsOf({ model: "heads", input: "a" }));
  expect(await vectorsOf({ model: "bert", input: "a" })).toEqual([bertVector]);
  expect(await answer("/embed", { inputs: "a" })).toEqual([bertVector]);
});

test("over gRPC errors name the field", async () => {
  const client = createClient(EmbeddingService, createGrpcTransport({ baseUrl: loqui.url }));
  const inputs = { inputs: { case: "text" as const, value: long } };
  await expect(client.embed({ inputs })).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: expect.stringContaining("inputs has 102 tokens"),
  });
  await expect(client.embed({})).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: expect.stringContaining("inputs"),
  });
  await expect(client.embedSparse({ inputs })).rejects.toMatchObject({ code: Code.FailedPrecondition });
});

test("without an embedding model TEI's requests are told so", async () => {
  await using bare = await startWithEncoders({ only: { reranker: "bert" } });
  const inputs = { source_sentence: "a", sentences: ["b"] };
  for (const [path, body] of [
    ["/embed", { inputs: "a" }],
    ["/embed_sparse", { inputs: "a" }],
    ["/similarity", { inputs }],
  ] as const) {
    const response = await post(path, body, bare);
    expect(response.status).toBe(404);
    expect(response.body.error).toMatchObject({ code: "model_not_found", param: "model" });
  }
});
