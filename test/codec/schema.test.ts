import type { DescMessage } from "@bufbuild/protobuf";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { HttpBodySchema } from "../../gen/google/api/httpbody_pb.ts";
import { componentName, componentSchemas, type Direction, type JsonSchema, jsonCodec } from "../../src/codec/codec.ts";
import {
  AdjacentDefaultSchema,
  AdjacentSchema,
  ChoiceSchema,
  DocumentSchema,
  DocumentsSchema,
  InlineSchema,
  MapsSchema,
  OptionsSchema,
  PlainSchema,
  RulesSchema,
  SeparateSchema,
  StringsSchema,
  ValueSchema,
} from "./gen/codec_test_pb.ts";

function schemaOf(desc: DescMessage, direction: Direction, comments?: ReadonlyMap<string, string>): JsonSchema {
  return componentSchemas([desc], direction, comments)[componentName(desc, direction)] ?? {};
}

const uint32 = { minimum: 0, maximum: 4294967295 };
const strings = { type: "array", items: { type: "string" } };
const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });

describe("a request's schema", () => {
  test("carries the rules of protovalidate", () => {
    const stop = {
      anyOf: [
        { type: "string", minLength: 1 },
        { type: "array", items: { type: "string", minLength: 1 }, minItems: 1, maxItems: 4, uniqueItems: true },
      ],
    };
    expect(schemaOf(RulesSchema, "request")).toEqual({
      type: "object",
      properties: {
        model: { type: "string", minLength: 1 },
        name: { type: "string", minLength: 2, maxLength: 8, pattern: "^[a-z]+$" },
        short: { type: ["string", "null"], maxLength: 16 },
        temperature: { type: ["number", "null"], minimum: 0, maximum: 2 },
        above: { type: ["integer", "null"], exclusiveMinimum: 1, exclusiveMaximum: 9 },
        stop,
        stops: { description: "The same as `stop`.", ...stop },
        bias: {
          type: ["object", "null"],
          additionalProperties: { type: "number", minimum: -100, maximum: 100 },
          propertyNames: { pattern: "^[0-9]+$" },
          maxProperties: 3,
        },
        color: { type: "string", enum: ["red", "dark-blue"] },
        blob: {
          type: ["string", "null"],
          contentEncoding: "base64",
          minLength: 2,
          maxLength: 16,
          description: "Base64 of at least 1, at most 10 bytes.",
        },
        kind: { type: ["string", "null"], enum: ["a", "b", null] },
        outside: { type: ["integer", "null"], ...uint32 },
        input: { anyOf: [{ type: "string", minLength: 1 }, strings] },
        old: { type: ["integer", "null"], ...uint32, deprecated: true },
      },
      required: ["model", "name", "color", "input"],
      allOf: [
        {
          anyOf: [
            { properties: { stop: {} }, required: ["stop"] },
            { properties: { stops: {} }, required: ["stops"] },
          ],
        },
      ],
    });
  });

  test("accepts aliases, nulls and bare values", () => {
    expect(schemaOf(OptionsSchema, "request").properties).toMatchObject({
      maybe: { type: ["string", "null"] },
      index: { type: ["integer", "null"], ...uint32 },
      seed: { type: ["integer", "string", "null"], pattern: "^-?[0-9]+$" },
      schema: {},
      max: { description: "The same as `limit`.", type: ["integer", "null"], ...uint32 },
      stop: { anyOf: [{ type: "string" }, strings, { type: "null" }] },
      switch: { type: ["string", "null"], enum: ["off", "on", null] },
    });
    expect(schemaOf(OptionsSchema, "request").required).toBeUndefined();
  });

  test("of a tagged oneof with a default needs no tag", () => {
    expect(schemaOf(AdjacentDefaultSchema, "request").oneOf).toEqual([
      { properties: { type: { const: "point" }, point: ref("PointInput") } },
      { properties: { type: { const: "text" }, text: { type: "string" } }, required: ["type", "text"] },
    ]);
  });

  test("of a required oneof needs one of its members", () => {
    const { allOf } = schemaOf(SeparateSchema, "request");
    expect(allOf?.[0]?.anyOf?.map(({ required }) => required)).toEqual([["text"], ["words"], ["point"], ["color"]]);
  });
});

describe("a response's schema", () => {
  test("requires what is always printed", () => {
    const { properties, required } = schemaOf(OptionsSchema, "response");
    expect(required).toEqual(["maybe", "list", "index", "data", "counts", "switch", "color"]);
    expect(properties).toMatchObject({
      maybe: { type: ["string", "null"] },
      list: { ...strings, type: ["array", "null"] },
      index: { type: "integer", ...uint32 },
      seed: { type: "integer" },
      thought: { type: "string" },
      reasoning: { type: "string", description: "The same as `thought`." },
      stop: { anyOf: [{ type: "string" }, strings] },
      digits: { type: "string", pattern: "^-?[0-9]+$" },
    });
    expect(properties).not.toHaveProperty("max");
  });

  test.each<[string, DescMessage, JsonSchema]>([
    [
      "scalars",
      PlainSchema,
      {
        type: "object",
        properties: {
          double_value: { type: "number" },
          float_value: { type: "number" },
          int32_value: { type: "integer", minimum: -2147483648, maximum: 2147483647 },
          uint32_value: { type: "integer", ...uint32 },
          int64_value: { type: "string", pattern: "^-?[0-9]+$" },
          uint64_value: { type: "string", pattern: "^-?[0-9]+$" },
          sint32_value: { type: "integer", minimum: -2147483648, maximum: 2147483647 },
          fixed32_value: { type: "integer", ...uint32 },
          sfixed64_value: { type: "string", pattern: "^-?[0-9]+$" },
          bool_value: { type: "boolean" },
          string_value: { type: "string" },
          bytes_value: { type: "string", contentEncoding: "base64" },
          color: { type: "string", enum: ["red", "dark-blue"] },
          child: ref("Plain"),
        },
      },
    ],
    [
      "maps",
      MapsSchema,
      {
        type: "object",
        properties: {
          strings: { type: "object", additionalProperties: { type: "string" } },
          by_uint: {
            type: "object",
            additionalProperties: { type: "number" },
            propertyNames: { pattern: "^-?[0-9]+$" },
          },
          by_long: {
            type: "object",
            additionalProperties: { type: "boolean" },
            propertyNames: { pattern: "^-?[0-9]+$" },
          },
          by_bool: { type: "object", additionalProperties: { type: "string", enum: ["red", "dark-blue"] } },
          messages: { type: "object", additionalProperties: ref("Optional") },
          raws: { type: "object", additionalProperties: {} },
        },
      },
    ],
    [
      "an inline oneof among others",
      InlineSchema,
      {
        type: "object",
        properties: { id: { type: "string" }, note: { type: "string" } },
        additionalProperties: true,
        oneOf: [
          { allOf: [ref("Point"), { type: "object", properties: { type: { const: "point" } }, required: ["type"] }] },
          {
            allOf: [
              ref("Circle"),
              { type: "object", properties: { type: { const: "shape.circle" } }, required: ["type"] },
            ],
          },
          { properties: { type: { const: "nothing" } }, required: ["type"] },
          { not: { properties: { type: {} }, required: ["type"] } },
        ],
      },
    ],
    [
      "an adjacent oneof",
      AdjacentSchema,
      {
        type: "object",
        properties: { id: { type: "string" } },
        additionalProperties: true,
        oneOf: [
          { properties: { type: { const: "text" }, text: { type: "string" } }, required: ["type", "text"] },
          { properties: { type: { const: "image" }, image_url: ref("Choice") }, required: ["type", "image_url"] },
          { properties: { type: { const: "auto" } }, required: ["type"] },
          { properties: { type: { const: "point" }, point: ref("Point") }, required: ["type", "point"] },
          { not: { properties: { type: {} }, required: ["type"] } },
        ],
      },
    ],
    [
      "a message that is its oneof",
      ChoiceSchema,
      { anyOf: [{ type: "string", enum: ["red", "dark-blue"] }, ref("Point")] },
    ],
    ["a message that is its list", StringsSchema, { type: "array", items: { type: "string" } }],
    [
      "open content",
      DocumentSchema,
      { type: "object", properties: { text: { type: "string" } }, additionalProperties: true },
    ],
    ["raw bytes", HttpBodySchema, { type: "string", contentMediaType: "application/octet-stream" }],
    [
      "a recursive value",
      ValueSchema,
      {
        anyOf: [
          { type: "string" },
          { type: "number" },
          { type: "boolean" },
          { type: "array", items: ref("Value") },
          { type: "object", additionalProperties: ref("Value") },
        ],
      },
    ],
  ])("of %s", (_, desc, schema) => {
    expect(schemaOf(desc, "response")).toEqual(schema);
    expect(jsonCodec(desc).schema).toEqual(schema);
  });

  test("writes wrappers in place", () => {
    expect(schemaOf(DocumentsSchema, "response").properties).toEqual({
      documents: { type: "array", items: ref("Document") },
      parts: { type: "array", items: ref("Adjacent") },
      choices: { type: "array", items: ref("Choice") },
      numbers: { type: "array", items: { type: ["number", "null"] } },
      nested: {
        type: "array",
        items: { type: "array", items: { type: "array", items: { type: "integer", ...uint32 } } },
      },
      words: strings,
      document: ref("Document"),
    });
  });
});

describe("the components", () => {
  test("are all that is reached, the two directions apart", () => {
    expect(Object.keys(componentSchemas([DocumentsSchema], "response"))).toEqual([
      "Documents",
      "Document",
      "Adjacent",
      "Choice",
      "Point",
    ]);
    expect(Object.keys(componentSchemas([DocumentsSchema, StringsSchema], "request"))).toEqual([
      "DocumentsInput",
      "StringsInput",
      "DocumentInput",
      "AdjacentInput",
      "ChoiceInput",
      "PointInput",
    ]);
  });

  test("are described by comments", () => {
    const name = "loqui.codectest.v1";
    const comments = new Map([
      [`${name}.Adjacent`, "A part."],
      [`${name}.Adjacent.id`, "Its id."],
      [`${name}.Adjacent.text`, "A text."],
      [`${name}.Options.color`, "Its color."],
      [`${name}.Color.COLOR_RED`, "Like\na rose."],
      [`${name}.Untagged.input`, "What goes in."],
      [`${name}.Rules.input`, "The text."],
    ]);
    const adjacent = schemaOf(AdjacentSchema, "request", comments);
    expect(adjacent.description).toBe("A part.");
    expect(adjacent.properties?.id?.description).toBe("Its id.");
    expect(adjacent.oneOf?.[0]?.properties?.text?.description).toBe("A text.");
    expect(schemaOf(OptionsSchema, "response", comments).properties?.color?.description).toBe(
      "Its color.\n\n- `red`: Like a rose.",
    );
    expect(schemaOf(RulesSchema, "request", comments).properties?.input?.description).toBe("The text.");
  });

  test("of one name are refused", () => {
    const { file } = StringsSchema;
    const otherFile = { ...file, proto: { ...file.proto, package: "other" } };
    const other = { ...StringsSchema, typeName: "other.Strings", file: otherFile } as DescMessage;
    expect(() => componentSchemas([StringsSchema, other], "response")).toThrow(
      "two messages have the JSON Schema Strings",
    );
  });
});

describe("ajv", () => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, keywords: ["components"] });
  ajv.addSchema({ $id: "test:request", components: { schemas: componentSchemas([RulesSchema], "request") } });
  const validate = ajv.compile({ $ref: "test:request#/components/schemas/RulesInput" });
  const valid = { model: "m", name: "ab", color: "red", stop: "x", input: "text" };

  test.each<[boolean, string, object]>([
    [true, "the least", {}],
    [true, "an alias", { stop: undefined, stops: ["a", "b"] }],
    [true, "a null", { temperature: null }],
    [true, "an unknown member", { foo: 1 }],
    [false, "a missing field", { model: undefined }],
    [false, "an empty field", { model: "" }],
    [false, "neither name", { stop: undefined }],
    [false, "too much", { temperature: 3 }],
    [false, "too long", { name: "abcdefghi" }],
    [false, "no union", { input: 1 }],
    [false, "too many", { stop: ["a", "b", "c", "d", "e"] }],
    [false, "a bad key", { bias: { a: 1 } }],
  ])("%s for %s", (expected, _, change) => {
    expect(validate(JSON.parse(JSON.stringify({ ...valid, ...change })))).toBe(expected);
  });
});
