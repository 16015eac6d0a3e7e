import { readFileSync } from "node:fs";
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, test } from "vitest";
import { TextsSchema, TokenIdListsSchema, TokenIdsSchema, TruncationDirection } from "../../gen/loqui/v1/common_pb.ts";
import {
  CreateEmbeddingsRequestSchema,
  CreateEmbeddingsResponseSchema,
  EmbeddingEncodingFormat,
  EmbeddingSchema,
  EmbeddingTruncate,
  EmbedRequestSchema,
  EmbedResponseSchema,
  EmbedSparseRequestSchema,
  EmbedSparseResponseSchema,
  SimilarityRequestSchema,
  SimilarityResponseSchema,
} from "../../gen/loqui/v1/embedding_pb.ts";
import { jsonCodec, jsonPath } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";
import { LoquiError } from "../../src/errors.ts";

const fixture = (name: string) => readFileSync(new URL(`./fixtures/embedding/${name}.json`, import.meta.url), "utf8");
const request = jsonCodec(CreateEmbeddingsRequestSchema);
const response = jsonCodec(CreateEmbeddingsResponseSchema);

describe("CreateEmbeddingsRequest", () => {
  const model = "text-embedding-3-small";
  const cases = {
    "request-text": { model, input: { case: "text", value: "The quick brown fox jumped over the lazy dog" } },
    "request-texts": {
      model,
      input: {
        case: "texts",
        value: create(TextsSchema, { texts: ["The quick brown fox", "jumped over the lazy dog"] }),
      },
      encodingFormat: EmbeddingEncodingFormat.BASE64,
      dimensions: 256,
      user: "user-1234",
    },
    "request-tokens": {
      model,
      input: { case: "tokens", value: create(TokenIdsSchema, { ids: [1212, 318, 257, 1332, 13] }) },
    },
    "request-token-lists": {
      model,
      input: {
        case: "tokenLists",
        value: create(TokenIdListsSchema, { lists: [{ ids: [1212, 318, 257] }, { ids: [1332, 13] }] }),
      },
      encodingFormat: EmbeddingEncodingFormat.FLOAT,
    },
    "request-extensions": {
      model: "nomic-embed-text-v1.5",
      input: { case: "text", value: "Was ist Gleichgewicht? ⚖️" },
      inputType: "search_query",
      truncate: EmbeddingTruncate.END,
      normalize: false,
    },
  } as const;

  test.each(Object.entries(cases))("%s", (name, expected) => {
    const { message, ignored } = request.decode(parseJson(fixture(name)), "strict");
    expect(message).toEqual(create(CreateEmbeddingsRequestSchema, expected));
    expect(ignored).toEqual([]);
    expect(JSON.parse(request.encode(message))).toEqual(JSON.parse(fixture(name)));
    expect(createValidator().validate(CreateEmbeddingsRequestSchema, message).kind).toBe("valid");
  });

  test("null is absent", () => {
    const source = parseJson('{"model":"m","input":"a","dimensions":null,"user":null,"encoding_format":null}');
    expect(request.decode(source, "strict").message).toEqual(
      create(CreateEmbeddingsRequestSchema, { model: "m", input: { case: "text", value: "a" } }),
    );
  });

  test("one text in a list stays a list", () => {
    const { message } = request.decode(parseJson('{"model":"m","input":["a"]}'), "strict");
    expect(message.input.case).toBe("texts");
    expect(request.encode(message)).toBe('{"model":"m","input":["a"]}');
  });

  test.each([
    [
      "an object",
      '{"model":"m","input":{"text":"a"}}',
      "input",
      "input: expected a string, an array of strings, an array of numbers or an array of arrays, got an object",
    ],
    [
      "a number",
      '{"model":"m","input":1}',
      "input",
      "input: expected a string, an array of strings, an array of numbers or an array of arrays, got a number",
    ],
    [
      "a boolean in the list",
      '{"model":"m","input":[true]}',
      "input",
      "input: expected a string, an array of strings, an array of numbers or an array of arrays, got an array of booleans",
    ],
    [
      "mixed texts and tokens",
      '{"model":"m","input":["a",1]}',
      "input[1]",
      "input[1]: expected a string, got a number",
    ],
    ["a negative token", '{"model":"m","input":[1,-2]}', "input[1]", "input[1]: -2 is below the minimum 0"],
    ["a fraction of a token", '{"model":"m","input":[[1],[2.5]]}', "input[1][0]", "input[1][0]: 2.5 is not an integer"],
    [
      "an unknown format",
      '{"model":"m","input":"a","encoding_format":"int8"}',
      "encoding_format",
      'encoding_format: "int8" is not one of float, base64',
    ],
    [
      "a format as a number",
      '{"model":"m","input":"a","encoding_format":1}',
      "encoding_format",
      "encoding_format: expected a string, got a number",
    ],
    [
      "dimensions as text",
      '{"model":"m","input":"a","dimensions":"many"}',
      "dimensions",
      "dimensions: expected an integer, got a string",
    ],
    [
      "truncate as a boolean",
      '{"model":"m","input":"a","truncate":true}',
      "truncate",
      "truncate: expected a string, got a boolean",
    ],
  ])("refuses %s", (_, json, param, message) => {
    expect(thrownBy(() => request.decode(parseJson(json), "lenient"))).toEqual({
      kind: "invalid_request",
      param,
      message,
    });
  });

  test("lists what it doesn't know", () => {
    const source = parseJson('{"model":"m","input":"a","late_chunking":true}');
    expect(request.decode(source, "lenient").ignored).toEqual(["late_chunking"]);
    expect(thrownBy(() => request.decode(source, "strict"))).toEqual({
      kind: "invalid_request",
      param: "late_chunking",
      message: "unknown parameter: late_chunking",
    });
  });
});

describe("CreateEmbeddingsResponse", () => {
  test("float", () => {
    const { message } = response.decode(parseJson(fixture("response-float")), "upstream");
    expect(message).toMatchObject({
      object: "list",
      model: "text-embedding-3-small",
      usage: { promptTokens: 8, totalTokens: 8 },
    });
    expect(message.data.map((item) => [item.object, item.index, item.embedding.case])).toEqual([
      ["embedding", 0, "values"],
      ["embedding", 1, "values"],
    ]);
    // What OpenAI prints are float32 values with the digits of a double.
    expect(JSON.parse(response.encode(message))).toEqual(JSON.parse(fixture("response-float")));
  });

  test("base64", () => {
    const { message } = response.decode(parseJson(fixture("response-base64")), "upstream");
    const packed = message.data[0]?.embedding.value as Uint8Array;
    expect(message.data[0]?.embedding.case).toBe("packed");
    expect([...new Float32Array(packed.slice().buffer)]).toEqual(floats());
    expect(JSON.parse(response.encode(message))).toEqual(JSON.parse(fixture("response-base64")));
  });

  test("a vector of numbers and its base64 are the same bytes in Protobuf", () => {
    const values = create(EmbeddingSchema, { embedding: { case: "values", value: { values: floats() } } });
    const packed = new Uint8Array(Float32Array.from(floats()).buffer);
    const binary = toBinary(EmbeddingSchema, values);
    expect(binary.subarray(-packed.length)).toEqual(packed);
    expect(fromBinary(EmbeddingSchema, binary)).toEqual(values);
  });

  test("zeros are printed", () => {
    const message = create(CreateEmbeddingsResponseSchema, { object: "list", usage: {} });
    expect(response.encode(message)).toBe(
      '{"object":"list","data":[],"model":"","usage":{"prompt_tokens":0,"total_tokens":0}}',
    );
  });
});

describe("bounds of CreateEmbeddingsRequest", () => {
  const model = "m";
  test.each<[string, unknown, string[]]>([
    ["nothing", {}, ["model: value is required", "input: exactly one field is required in oneof"]],
    ["a long model", { model: "m".repeat(513), input: "a" }, ["model: must be at most 512 bytes"]],
    ["an empty text", { model, input: "" }, ["input: must be at least 1 characters"]],
    ["an empty text of several", { model, input: ["a", ""] }, ["input: an input must not be an empty string"]],
    ["no texts", { model, input: [] }, ["input: must contain at least 1 item(s)"]],
    ["no tokens", { model, input: [[1], []] }, ["input[1]: must contain at least 1 item(s)"]],
    ["2048 texts", { model, input: Array(2048).fill("a") }, []],
    ["2049 texts", { model, input: Array(2049).fill("a") }, ["input: at most 2048 inputs in one request"]],
    ["2049 token lists", { model, input: Array(2049).fill([1]) }, ["input: at most 2048 inputs in one request"]],
    [
      "no dimensions",
      { model, input: "a", dimensions: 0 },
      ["dimensions: must be greater than or equal to 1 and less than or equal to 65536"],
    ],
    [
      "two prompts",
      { model, input: "a", input_type: "query", prompt_name: "query" },
      [": only one of input_type, prompt_name, instruction can be set"],
    ],
  ])("%s", (_, body, expected) => {
    expect(violations(CreateEmbeddingsRequestSchema, body)).toEqual(expected);
  });
});

describe("TEI's requests and responses", () => {
  const given = <D extends DescMessage>(name: string, desc: D, expected: MessageInitShape<D>) => ({
    name,
    desc: desc as DescMessage,
    expected: expected as MessageInitShape<DescMessage>,
  });
  test.each([
    given("tei-embed-request", EmbedRequestSchema, {
      inputs: {
        inputs: {
          case: "texts",
          value: create(TextsSchema, { texts: ["What is Deep Learning?", "Deep Learning is not..."] }),
        },
      },
      truncate: true,
      truncationDirection: TruncationDirection.LEFT,
      promptName: "query",
      normalize: false,
      dimensions: 256,
    }),
    given("tei-embed-tokens-request", EmbedRequestSchema, {
      inputs: {
        inputs: {
          case: "tokenLists",
          value: create(TokenIdListsSchema, { lists: [{ ids: [101, 2054, 102] }, { ids: [101, 2784, 4083, 102] }] }),
        },
      },
    }),
    given("tei-embed-sparse-request", EmbedSparseRequestSchema, {
      model: "bge-m3",
      inputs: { inputs: { case: "text", value: "I like you." } },
      truncate: false,
      truncationDirection: TruncationDirection.RIGHT,
    }),
    given("tei-similarity-request", SimilarityRequestSchema, {
      inputs: { sourceSentence: "What is Deep Learning?", sentences: ["What is Machine Learning?", "Oslo"] },
      parameters: { truncate: true, truncationDirection: TruncationDirection.RIGHT, promptName: "query" },
    }),
    given("tei-embed-response", EmbedResponseSchema, {
      embeddings: [{ values: [0.5, -1.25, 2 ** -15] }, { values: [0, 1, 2] }],
    }),
    given("tei-embed-sparse-response", EmbedSparseResponseSchema, {
      embeddings: [
        {
          tokens: [
            { index: 0, value: 0.5 },
            { index: 1045, value: 0.00625 },
          ],
        },
        {},
      ],
    }),
    given("tei-similarity-response", SimilarityResponseSchema, { similarities: [0, 1, 0.5] }),
  ])("$name", ({ name, desc, expected }) => {
    const codec = jsonCodec(desc);
    const { message, ignored } = codec.decode(parseJson(fixture(name)), "strict");
    expect(message).toEqual(create(desc, expected));
    expect(ignored).toEqual([]);
    expect(JSON.parse(codec.encode(message))).toEqual(JSON.parse(fixture(name)));
    expect(createValidator().validate(desc, message).kind).toBe("valid");
  });

  test("nothing", () => {
    expect(jsonCodec(EmbedResponseSchema).encode(create(EmbedResponseSchema))).toBe("[]");
    const weights = create(EmbedSparseResponseSchema, { embeddings: [{}, { tokens: [{}] }] });
    expect(jsonCodec(EmbedSparseResponseSchema).encode(weights)).toBe('[[],[{"index":0,"value":0}]]');
  });

  test.each([
    [
      "texts and tokens mixed",
      EmbedRequestSchema,
      '{"inputs":["a",[1]]}',
      "inputs[1]",
      "inputs[1]: expected a string, got an array",
    ],
    [
      "a sentence alone",
      SimilarityRequestSchema,
      '{"inputs":"a"}',
      "inputs",
      "inputs: expected an object, got a string",
    ],
    [
      "truncate as the end",
      EmbedRequestSchema,
      '{"inputs":"a","truncate":"END"}',
      "truncate",
      "truncate: expected a boolean, got a string",
    ],
  ])("refuses %s", (_, desc: DescMessage, json, param, message) => {
    expect(thrownBy(() => jsonCodec(desc).decode(parseJson(json), "lenient"))).toEqual({
      kind: "invalid_request",
      param,
      message,
    });
  });

  test.each<[string, DescMessage, unknown, string[]]>([
    ["no inputs", EmbedRequestSchema, {}, ["inputs: value is required"]],
    ["an empty text", EmbedRequestSchema, { inputs: "" }, ["inputs: must be at least 1 characters"]],
    [
      "an empty text of several",
      EmbedSparseRequestSchema,
      { inputs: ["a", ""] },
      ["inputs: an input must not be an empty string"],
    ],
    [
      "2049 texts",
      EmbedRequestSchema,
      { inputs: Array(2049).fill("a") },
      ["inputs: at most 2048 inputs in one request"],
    ],
    [
      "2047 sentences",
      SimilarityRequestSchema,
      { inputs: { source_sentence: "a", sentences: Array(2047).fill("b") } },
      [],
    ],
    [
      "no sentences",
      SimilarityRequestSchema,
      { inputs: {} },
      ["inputs.source_sentence: value is required", "inputs.sentences: must contain at least 1 item(s)"],
    ],
  ])("bounds: %s", (_, desc, body, expected) => {
    expect(violations(desc, body)).toEqual(expected);
  });
});

function floats(): number[] {
  return JSON.parse(fixture("response-float")).data[0].embedding;
}

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
