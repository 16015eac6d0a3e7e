import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import OpenAI, { BadRequestError } from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TextsSchema } from "../gen/loqui/v1/common_pb.ts";
import { EmbeddingEncodingFormat, EmbeddingService } from "../gen/loqui/v1/embedding_pb.ts";
import { bert, bytes, expected, texts, width } from "./support/bert-reference.ts";
import { matching } from "./support/matching.ts";
import { onnxFixtures } from "./support/onnx-models.ts";
import { startWithEncoders } from "./support/running-encoders.ts";
import type { RunningLoqui } from "./support/running-loqui.ts";

/** Indexes of texts that fit the context of 40 tokens. */
const short = texts.flatMap((text, index) => (text !== "" && bert.ids[index].length < 40 ? [index] : []));
const [first = 0, second = 0] = short.filter((index) => texts[index]?.startsWith("H"));
const long = "the ".repeat(100);

const prompts = { query: "hello, ", document: "" };
let loqui: RunningLoqui;
let client: OpenAI;
beforeAll(async () => {
  loqui = await startWithEncoders({
    bert: { encoder: "bert", layout: "mean" },
    prompted: { encoder: "bert", layout: "mean", sentenceConfig: { prompts, default_prompt_name: "query" } },
    pooled: { encoder: "bert", layout: "mean", parameters: { pooling: ["cls", "max", "mean"] } },
    heads: { encoder: "xlm-roberta", layout: "mean", heads: true },
    instructed: {
      encoder: "bert",
      layout: "mean",
      sentenceConfig: { prompts: { query: "Instruct: Find.\nQuery: " }, default_prompt_name: null },
    },
  });
  client = new OpenAI({ baseURL: `${loqui.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => loqui?.[Symbol.asyncDispose]());

async function post(body: object): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${loqui.url}/v1/embeddings`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

async function embed(body: object): Promise<number[][]> {
  const response = await post({ model: "bert", ...body });
  expect(response.body).not.toHaveProperty("error");
  return (response.body.data as { embedding: number[] }[]).map(({ embedding }) => embedding);
}

function expectClose(found: readonly number[] | undefined, wanted: readonly number[]): void {
  expect(found?.length).toBe(wanted.length);
  for (const [at, value] of wanted.entries()) expect(found?.[at]).toBeCloseTo(value, 4);
}

describe("/v1/embeddings", () => {
  it("answers a text as OpenAI does", async () => {
    const { status, body } = await post({ model: "bert", input: texts[first] });
    expect(status).toBe(200);
    const promptTokens = bert.ids[first].length;
    expect(body).toEqual({
      object: "list",
      data: [{ object: "embedding", index: 0, embedding: expect.any(Array) }],
      model: "bert",
      usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
    });
    expectClose((body.data as { embedding: number[] }[])[0]?.embedding, expected(first));
  });

  it("answers many texts in their order, all as the reference has them", async () => {
    const vectors = await embed({ input: short.map((index) => texts[index]) });
    for (const [at, index] of short.entries()) expectClose(vectors[at], expected(index));
  });

  it("answers requests at the same time as it answers each alone", async () => {
    const some = short.slice(0, 40);
    const vectors = await Promise.all(some.map((index) => embed({ input: texts[index] })));
    for (const [at, index] of some.entries()) expectClose(vectors[at]?.[0], expected(index));
  });

  it("takes token ids as they are", async () => {
    expectClose((await embed({ input: bert.ids[first] }))[0], expected(first));
    const [one, two] = await embed({ input: [bert.ids[first], bert.ids[second]] });
    expectClose(one, expected(first));
    expectClose(two, expected(second));
  });

  it("cuts vectors and scales them anew", async () => {
    expectClose((await embed({ input: texts[first], dimensions: 5 }))[0], expected(first, 5));
    const [raw] = await embed({ input: texts[first], output_dimension: 5, normalize: false });
    expectClose(
      raw,
      Array.from({ length: 5 }, (_, at) => bytes.readFloatLE(4 * (first * width + at))),
    );
  });

  it("pools as models.yaml says, where it does", async () => {
    const { vectors, step } = bert.layouts.joined;
    const joined = Buffer.from(vectors, "base64");
    const index = short.find((at) => at % step === 0) ?? 0;
    const wanted = Array.from({ length: 3 * width }, (_, at) =>
      joined.readFloatLE(4 * ((index / step) * 3 * width + at)),
    );
    expectClose((await embed({ model: "pooled", input: texts[index], normalize: false }))[0], wanted);
  });

  it("cuts what is too long, where it is told to", async () => {
    const index = texts.indexOf("the ".repeat(200));
    expectClose((await embed({ input: texts[index], truncate: "END" }))[0], expected(index));
    const [start, tail] = await embed({ input: [`${"and ".repeat(90)}${long}`, long], truncate: "START" });
    expectClose(start, tail ?? []);
  });

  it("puts the model's prompts before texts", async () => {
    const [vector = []] = await embed({ input: "hello, world!" });
    const query = [{}, { prompt_name: "query" }, { input_type: "search_query" }, { task: "retrieval.query" }];
    for (const body of query) {
      expectClose((await embed({ model: "prompted", input: "world!", ...body }))[0], vector);
    }
    const [plain = []] = await embed({ input: "world!" });
    expectClose((await embed({ model: "prompted", input: "world!", input_type: "document" }))[0], plain);
    expectClose((await embed({ input: "world!", input_type: "anything" }))[0], plain);
  });

  it("writes an instruction where the model's own task stands", async () => {
    const [vector = []] = await embed({ input: "Instruct: Be kind.\nQuery: world!" });
    const request = { model: "instructed", input: "world!", instruction: "Be kind." };
    expectClose((await embed(request))[0], vector);
    const [plain = []] = await embed({ input: "world!" });
    // Models that have a prompt for queries only.
    expectClose((await embed({ model: "instructed", input: "world!", input_type: "search_document" }))[0], plain);
  });

  interface AnyEmbedding {
    readonly sparse?: { readonly values: number[] };
    readonly multivector?: { readonly vectors: number[][]; readonly packed?: string };
  }

  it("answers with weights and vectors of tokens, where they are wanted", async () => {
    const { step, width, texts: made } = JSON.parse(readFileSync(join(onnxFixtures, "heads/reference.json"), "utf8"));
    const indexes = short.filter((index) => index % step === 0 && index > 40).slice(0, 5);
    const request = { model: "heads", input: indexes.map((index) => texts[index]) };
    const [both, packed, sparse, plain] = await Promise.all(
      [
        { return_sparse: true, return_colbert_vecs: true },
        { return_multivector: true, encoding_format: "base64" },
        { return_sparse: true },
        {},
      ].map(async (more) => (await post({ ...request, ...more })).body.data as AnyEmbedding[]),
    );
    for (const [at, index] of indexes.entries()) {
      const wanted = made[index / step];
      const bytes = Buffer.from(wanted.multivector, "base64");
      expect(both?.[at]).toMatchObject({
        sparse: { indices: wanted.sparse.map(([token]: [number, number]) => token) },
        multivector: { count: bytes.length / 4 / width },
      });
      const weights = both?.[at]?.sparse ?? { values: [] };
      const multivector = both?.[at]?.multivector ?? { vectors: [] as number[][] };
      expectClose(
        weights.values,
        wanted.sparse.map(([, weight]: [number, number]) => weight),
      );
      const vectors = multivector.vectors.flat();
      expectClose(
        vectors,
        vectors.map((_, place) => bytes.readFloatLE(4 * place)),
      );
      expect(both?.[at]).not.toHaveProperty("multivector.packed");
      const { packed: base64 = "" } = packed?.[at]?.multivector ?? {};
      expect(Buffer.from(base64, "base64")).toEqual(Buffer.from(Float32Array.from(vectors).buffer));
      expect(packed?.[at]).not.toHaveProperty("sparse");
      expect(sparse?.[at]).not.toHaveProperty("multivector");
      expect(Object.keys(plain?.[at] ?? {})).toEqual(["object", "index", "embedding"]);
    }
  });

  it.each<[string, object, object]>([
    ["an empty text", { input: "" }, { param: "input" }],
    ["an empty text among others", { input: ["a", ""] }, { param: "input", message: /must not be an empty string/ }],
    ["no texts", { input: [] }, { param: "input" }],
    ["no input", {}, { param: "input" }],
    ["10,000 texts", { input: Array(10_000).fill("a") }, { param: "input" }],
    [
      "1 MB of text",
      { input: ["a", "word ".repeat(200_000)] },
      { code: "context_length_exceeded", param: "input[1]", n_prompt_tokens: 400_002 },
    ],
    [
      "more than 1 MiB of text",
      { input: "word ".repeat(300_000) },
      { param: "input", message: /1500000 bytes of text are above the maximum 1048576/ },
    ],
    [
      "a text that is too long",
      { input: ["a", "b", long] },
      {
        code: "context_length_exceeded",
        param: "input[2]",
        n_prompt_tokens: 102,
        n_ctx: 40,
        message: "This model's maximum context length is 40 tokens. However, input[2] has 102 tokens.",
      },
    ],
    [
      "too many token ids",
      { input: Array(41).fill(7) },
      { code: "context_length_exceeded", param: "input", n_prompt_tokens: 41 },
    ],
    [
      "a token id that is none",
      { input: [[7], [7, 420]] },
      { param: "input[1][1]", message: "input[1][1]: 420 is not in the vocabulary of 420 tokens" },
    ],
    [
      "too many dimensions",
      { input: "a", dimensions: 17 },
      { param: "dimensions", message: "dimensions: 17 is above the 16 that the model has" },
    ],
    ["no dimensions", { input: "a", dimensions: 0 }, { param: "dimensions" }],
    [
      "a prompt that isn't there",
      { input: "a", prompt_name: "query" },
      { param: "prompt_name", message: "prompt_name: the model has no prompt query, it has none" },
    ],
    [
      "a part that the prompts don't know",
      { model: "prompted", input: "a", input_type: "clustering" },
      { param: "input_type", message: "input_type: the model has no prompt clustering, it has query, document" },
    ],
    [
      "weights of tokens of a model that has none",
      { input: "a", return_sparse: true },
      { param: "return_sparse", code: "unsupported", message: "return_sparse: the model makes no weights of tokens" },
    ],
    ["vectors of tokens likewise", { input: "a", return_multivector: true }, { param: "return_multivector" }],
    ["an instruction", { input: "a", instruction: "Find." }, { param: "instruction", code: "unsupported" }],
  ])("refuses %s", async (_, body, error) => {
    const response = await post({ model: "bert", ...body });
    expect(response.status).toBe(400);
    expect(response.body.error).toMatchObject(matching(error));
  });

  it("refuses chat with it, and the model's page says what it is", async () => {
    const refused = await client.chat.completions
      .create({ model: "bert", messages: [{ role: "user", content: "Hi" }] })
      .catch((caught: unknown) => caught);
    expect(refused).toBeInstanceOf(BadRequestError);
    expect(await (await fetch(`${loqui.url}/v1/models/bert`)).json()).toMatchObject({
      type: "embedding",
      engine: "onnxruntime",
      format: "safetensors",
      architecture: "bert",
      context_length: 40,
      state: "ready",
    });
  });
});

describe("OpenAI's SDK", () => {
  it("reads vectors as base64, which it asks for by itself", async () => {
    const inputs = [texts[first] ?? "", texts[second] ?? ""];
    const { data, usage } = await client.embeddings.create({ model: "bert", input: inputs });
    expectClose(data[0]?.embedding, expected(first));
    expectClose(data[1]?.embedding, expected(second));
    expect(usage.prompt_tokens).toBe(bert.ids[first].length + bert.ids[second].length);
  });
});

describe("gRPC", () => {
  it("answers with packed floats or bytes", async () => {
    const grpc = createClient(EmbeddingService, createGrpcTransport({ baseUrl: loqui.url }));
    const inputs = create(TextsSchema, { texts: [texts[first] ?? "", texts[second] ?? ""] });
    const request = { model: "bert", input: { case: "texts" as const, value: inputs } };
    const floats = (await grpc.createEmbeddings(request)).data[1]?.embedding;
    expectClose(floats?.case === "values" ? floats.value.values : [], expected(second));
    const encodingFormat = EmbeddingEncodingFormat.BASE64;
    const packed = (await grpc.createEmbeddings({ ...request, encodingFormat })).data[1]?.embedding;
    const buffer = Buffer.from(packed?.case === "packed" ? packed.value : []);
    expectClose(
      Array.from({ length: buffer.length / 4 }, (_, at) => buffer.readFloatLE(4 * at)),
      expected(second),
    );
  });

  it.each([
    ["gRPC", (baseUrl: string) => createGrpcTransport({ baseUrl })],
    ["gRPC-Web", (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })],
    [
      "gRPC-Web with JSON",
      (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false }),
    ],
    ["Connect", (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "2" })],
  ])("answers with all of 2,048 vectors over %s, several at a time", async (_protocol, transport) => {
    const client = createClient(EmbeddingService, transport(loqui.url));
    const several = [first, second].map(async (index) => {
      const inputs = create(TextsSchema, { texts: new Array(2048).fill(texts[index]) });
      const { data, usage } = await client.createEmbeddings({ model: "bert", input: { case: "texts", value: inputs } });
      expect(data.map((item) => item.index)).toEqual(Array.from({ length: 2048 }, (_, at) => at));
      const values = data.map(({ embedding }) => (embedding.case === "values" ? embedding.value.values : []));
      expectClose(values.at(-1), expected(index));
      expect(new Set(values.map(String)).size).toBe(1);
      expect(usage?.promptTokens).toBe(2048 * bert.ids[index].length);
    });
    await Promise.all(several);
  });

  it("says with the kind of error what is too long", async () => {
    const grpc = createClient(EmbeddingService, createGrpcTransport({ baseUrl: loqui.url }));
    const error = await grpc
      .createEmbeddings({ model: "bert", input: { case: "text", value: long } })
      .catch((caught) => caught);
    expect(error).toBeInstanceOf(ConnectError);
    expect(error).toMatchObject({ code: Code.InvalidArgument, rawMessage: expect.stringContaining("40 tokens") });
  });
});
