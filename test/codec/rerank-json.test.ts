import { readFileSync } from "node:fs";
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, test } from "vitest";
import { TruncationDirection } from "../../gen/loqui/v1/common_pb.ts";
import {
  RerankRequestSchema,
  RerankResponseSchema,
  RerankTextsRequestSchema,
  RerankTextsResponseSchema,
  ScoreRequestSchema,
  ScoreResponseSchema,
} from "../../gen/loqui/v1/rerank_pb.ts";
import { jsonCodec, jsonPath } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";
import { LoquiError } from "../../src/errors.ts";

const fixture = (name: string) => readFileSync(new URL(`./fixtures/rerank/${name}.json`, import.meta.url), "utf8");

const query = "What is the capital of the United States?";
const carson = "Carson City is the capital city of the American state of Nevada.";
const washington = "Washington, D.C. is the capital of the United States.";
const punishment = "Capital punishment has existed in the United States since before it was a country.";
const jina = "jina-reranker-v2-base-multilingual";
const bge = "BAAI/bge-reranker-v2-m3";
const paris = "The capital of France is Paris.";
const brasilia = "The capital of Brazil is Brasilia.";

function text(value: string) {
  return { document: { case: "text", value } } as const;
}

function object(value: { text: string; otherMembers?: string }) {
  return { document: { case: "object", value } } as const;
}

interface Case<D extends DescMessage> {
  readonly name: string;
  readonly desc: D;
  readonly expected: MessageInitShape<D>;
}

function given<D extends DescMessage>(name: string, desc: D, expected: MessageInitShape<D>): Case<D> {
  return { name, desc, expected };
}

describe("requests", () => {
  test.each<Case<DescMessage>>([
    given("jina-request", RerankRequestSchema, {
      model: jina,
      query,
      documents: [text(carson), text(washington), text(punishment)],
      topN: 2,
      returnDocuments: true,
    }),
    given("jina-object-documents-request", RerankRequestSchema, {
      model: jina,
      query,
      documents: [object({ text: carson }), text(washington)],
    }),
    given("cohere-v2-request", RerankRequestSchema, {
      model: "rerank-v3.5",
      query,
      documents: [text(carson), text(washington), text(punishment)],
      topN: 3,
      maxTokensPerDoc: 4096,
    }),
    given("cohere-v1-request", RerankRequestSchema, {
      model: "rerank-english-v3.0",
      query,
      documents: [
        object({ text: carson, otherMembers: '{"title":"Nevada"}' }),
        object({
          text: washington,
          otherMembers: '{"title":"Washington, D.C.","population":689545,"id":12345678901234567890}',
        }),
      ],
      rankFields: ["title", "text"],
      returnDocuments: true,
    }),
    given("tei-request", RerankTextsRequestSchema, {
      query: "What is Deep Learning?",
      texts: ["Deep Learning is not...", "Deep learning is..."],
      rawScores: false,
      returnText: true,
      truncate: true,
      truncationDirection: TruncationDirection.LEFT,
    }),
    given("score-one-to-many-request", ScoreRequestSchema, {
      model: bge,
      text1: ["What is the capital of France?"],
      text2: [brasilia, paris],
    }),
    given("score-pairs-request", ScoreRequestSchema, {
      model: bge,
      text1: ["What is the capital of Brazil?", "What is the capital of France?"],
      text2: [brasilia, paris],
    }),
  ])("$name", ({ name, desc, expected }) => {
    const codec = jsonCodec(desc);
    const { message, ignored } = codec.decode(parseJson(fixture(name)), "strict");
    expect(message).toEqual(create(desc, expected));
    expect(ignored).toEqual([]);
    expect(JSON.parse(codec.encode(message))).toEqual(JSON.parse(fixture(name)));
    expect(createValidator().validate(desc, message).kind).toBe("valid");
  });

  test("TEI's directions are read in small letters too", () => {
    const { decode, encode } = jsonCodec(RerankTextsRequestSchema);
    const { message } = decode(parseJson('{"query":"q","texts":["a"],"truncation_direction":"left"}'), "strict");
    expect(message.truncationDirection).toBe(TruncationDirection.LEFT);
    expect(encode(message)).toBe('{"query":"q","texts":["a"],"truncation_direction":"Left"}');
  });

  test("members of a document keep their digits", () => {
    const codec = jsonCodec(RerankRequestSchema);
    const { message } = codec.decode(parseJson(fixture("cohere-v1-request")), "strict");
    expect(codec.encode(message)).toContain('"id":12345678901234567890}');
  });

  test("score takes the names of vLLM's other shapes", () => {
    const codec = jsonCodec(ScoreRequestSchema);
    const expected = create(ScoreRequestSchema, { model: "m", text1: ["a"], text2: ["b", "c"] });
    for (const [first, second] of [
      ["text_1", "text_2"],
      ["data_1", "data_2"],
      ["queries", "documents"],
      ["queries", "items"],
    ]) {
      const source = parseJson(`{"model":"m","${first}":"a","${second}":["b","c"]}`);
      expect(codec.decode(source, "strict").message).toEqual(expected);
    }
  });

  test("a list of one text is printed as the bare text", () => {
    const codec = jsonCodec(ScoreRequestSchema);
    const { message } = codec.decode(parseJson('{"model":"m","text_1":["a"],"text_2":["b"]}'), "strict");
    expect(codec.encode(message)).toBe('{"model":"m","text_1":"a","text_2":"b"}');
  });

  test.each<[string, DescMessage, string, string, string]>([
    [
      "a document of a number",
      RerankRequestSchema,
      '{"documents":["a",1]}',
      "documents[1]",
      "documents[1]: expected a string or an object, got a number",
    ],
    [
      "a document of a list",
      RerankRequestSchema,
      '{"documents":[["a"]]}',
      "documents[0]",
      "documents[0]: expected a string or an object, got an array of strings",
    ],
    [
      "a document's text of a number",
      RerankRequestSchema,
      '{"documents":[{"text":1}]}',
      "documents[0].text",
      "documents[0].text: expected a string, got a number",
    ],
    [
      "documents that are no list",
      RerankRequestSchema,
      '{"documents":"a"}',
      "documents",
      "documents: expected an array, got a string",
    ],
    ["a negative top_n", RerankRequestSchema, '{"top_n":-1}', "top_n", "top_n: -1 is below the minimum 0"],
    [
      "a direction that is none",
      RerankTextsRequestSchema,
      '{"truncation_direction":"LEFT"}',
      "truncation_direction",
      'truncation_direction: "LEFT" is not one of Left, left, Right, right',
    ],
    [
      "a text of a number",
      RerankTextsRequestSchema,
      '{"texts":["a",2]}',
      "texts[1]",
      "texts[1]: expected a string, got a number",
    ],
    [
      "text_1 as an object",
      ScoreRequestSchema,
      '{"text_1":{"content":[]}}',
      "text_1",
      "text_1: expected a string, got an object",
    ],
    [
      "a list of lists",
      ScoreRequestSchema,
      '{"text_2":["a",["b"]]}',
      "text_2[1]",
      "text_2[1]: expected a string, got an array",
    ],
  ])("refuses %s", (_, desc, json, param, message) => {
    expect(thrownBy(() => jsonCodec(desc).decode(parseJson(json), "lenient"))).toEqual({
      kind: "invalid_request",
      param,
      message,
    });
  });
});

describe("responses", () => {
  test.each<Case<DescMessage>>([
    given("jina-response", RerankResponseSchema, {
      object: "list",
      model: jina,
      results: [
        { index: 1, relevanceScore: 0.9420700669288635, document: { text: washington } },
        { index: 0, relevanceScore: 0, document: { text: carson } },
      ],
      usage: { promptTokens: 66, totalTokens: 66 },
    }),
    given("cohere-v2-response", RerankResponseSchema, {
      id: "07734bd2-2473-4f07-94e1-0d9f0e6843cf",
      results: [
        { index: 1, relevanceScore: 0.999071 },
        { index: 0, relevanceScore: 0.32713068 },
        { index: 2, relevanceScore: 0.0007803 },
      ],
      meta: { apiVersion: { version: "2", isExperimental: false }, billedUnits: { searchUnits: 1 } },
    }),
    given("cohere-v1-response", RerankResponseSchema, {
      id: "8c14ccdb-7a7b-4f2f-a2a3-5a4c28e7b5f1",
      results: [
        {
          index: 1,
          relevanceScore: 0.9873,
          document: { text: washington, otherMembers: '{"title":"Washington, D.C.","population":689545}' },
        },
      ],
      meta: {
        apiVersion: { version: "1", isDeprecated: true },
        billedUnits: { searchUnits: 1 },
        tokens: { inputTokens: 45, outputTokens: 0 },
        warnings: ["document 0 was cut to 4096 tokens"],
      },
    }),
    given("vllm-response", RerankResponseSchema, {
      id: "rerank-fae51b2b664d4ed38f5969b612edff77",
      model: "BAAI/bge-reranker-base",
      results: [{ index: 1, relevanceScore: 0.99853515625, document: { text: washington } }],
      usage: { promptTokens: 56, totalTokens: 56 },
    }),
    given("tei-response", RerankTextsResponseSchema, {
      ranks: [
        { index: 1, score: 0.9976404, text: "Deep learning is..." },
        { index: 0, score: 0.12527926, text: "Deep Learning is not..." },
      ],
    }),
    given("tei-response-without-text", RerankTextsResponseSchema, {
      ranks: [
        { index: 0, score: 4.8125 },
        { index: 1, score: -11.03125 },
      ],
    }),
    given("score-response", ScoreResponseSchema, {
      id: "score-request-id",
      object: "list",
      created: 693570,
      model: bge,
      data: [
        { index: 0, object: "score", score: 0.001094818115234375 },
        { index: 1, object: "score", score: 1 },
      ],
      usage: { promptTokens: 32, totalTokens: 32 },
    }),
  ])("$name", ({ name, desc, expected }) => {
    const codec = jsonCodec(desc);
    const { message, ignored } = codec.decode(parseJson(fixture(name)), "upstream");
    expect(message).toEqual(create(desc, expected));
    expect(ignored).toEqual([]);
    expect(JSON.parse(codec.encode(message))).toEqual(JSON.parse(fixture(name)));
  });

  test("nothing but zeros", () => {
    const rerank = create(RerankResponseSchema, { results: [{}] });
    expect(jsonCodec(RerankResponseSchema).encode(rerank)).toBe('{"results":[{"index":0,"relevance_score":0}]}');
    expect(jsonCodec(RerankResponseSchema).encode(create(RerankResponseSchema))).toBe('{"results":[]}');
    const texts = create(RerankTextsResponseSchema, { ranks: [{ text: "" }] });
    expect(jsonCodec(RerankTextsResponseSchema).encode(texts)).toBe('[{"index":0,"score":0,"text":""}]');
    expect(jsonCodec(RerankTextsResponseSchema).encode(create(RerankTextsResponseSchema))).toBe("[]");
    const score = create(ScoreResponseSchema, { data: [{}] });
    expect(jsonCodec(ScoreResponseSchema).encode(score)).toBe('{"model":"","data":[{"index":0,"score":0}]}');
  });

  test("a score that is no number is our fault", () => {
    const message = create(RerankTextsResponseSchema, { ranks: [{ score: Number.NaN }] });
    expect(thrownBy(() => jsonCodec(RerankTextsResponseSchema).encode(message))).toEqual({
      kind: "internal",
      param: "score",
      message: "RankedText.score: NaN has no JSON",
    });
  });
});

describe("bounds", () => {
  const model = "m";
  test.each<[string, DescMessage, unknown, string[]]>([
    [
      "nothing to rerank",
      RerankRequestSchema,
      {},
      ["model: value is required", "query: value is required", "documents: must contain at least 1 item(s)"],
    ],
    [
      "no results",
      RerankRequestSchema,
      { model, query: "q", documents: ["a"], top_n: 0, rank_fields: [""] },
      ["top_n: must be greater than or equal to 1", "rank_fields[0]: must be at least 1 characters"],
    ],
    [
      "10001 documents",
      RerankRequestSchema,
      { model, query: "q", documents: Array(10001).fill("a") },
      ["documents: must contain no more than 10000 item(s)"],
    ],
    ["TEI without a model", RerankTextsRequestSchema, { query: "q", texts: ["a"] }, []],
    [
      "TEI without texts",
      RerankTextsRequestSchema,
      { query: "q", texts: [] },
      ["texts: must contain at least 1 item(s)"],
    ],
    [
      "pairs that don't match",
      ScoreRequestSchema,
      { model, text_1: ["a", "b"], text_2: ["c"] },
      [": text_1 must hold one text, or as many as text_2"],
    ],
  ])("%s", (_, desc, body, expected) => {
    expect(violations(desc, body)).toEqual(expected);
  });
});

/** The violations of a request's rules, as a client of REST reads them. */
function violations(desc: DescMessage, request: unknown): string[] {
  const { message } = jsonCodec(desc).decode(parseJson(JSON.stringify(request)), "strict");
  const result = createValidator().validate(desc, message);
  if (result.kind === "error") throw result.error;
  return (result.violations ?? []).map(({ field, message }) => `${jsonPath(field)}: ${message}`);
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    if (error instanceof LoquiError) return { kind: error.kind, param: error.param, message: error.message };
    throw error;
  }
  return "nothing was thrown";
}
