import { describe, expect, it } from "vitest";
import { LoquiError } from "../../../src/errors.ts";
import { compileJsonSchema } from "../../../src/worker/grammar/json-schema.ts";
import { grammarLimits } from "../../../src/worker/grammar/limits.ts";

function refusal(source: string, strict = false): LoquiError {
  try {
    compileJsonSchema(source, { param: "json_schema", strict });
  } catch (error) {
    if (error instanceof LoquiError) return error;
    throw error;
  }
  throw new Error(`${source} was compiled`);
}

const unsupported = "which can't be expressed as a grammar";

describe("what a grammar can't hold is refused with its place", () => {
  it.each<[unknown, string]>([
    [{ not: { type: "string" } }, "the schema at #/not can't be expressed as a grammar"],
    [{ properties: { a: { not: { const: 1 } } } }, "the schema at #/properties/a/not can't be expressed as a grammar"],
    [{ if: {} }, `the schema at #/if is the keyword "if", ${unsupported}`],
    [{ type: "array", contains: {} }, `the schema at #/contains is the keyword "contains", ${unsupported}`],
    [{ dependentRequired: {} }, `the schema at #/dependentRequired is the keyword "dependentRequired", ${unsupported}`],
    [
      { unevaluatedProperties: false },
      `the schema at #/unevaluatedProperties is the keyword "unevaluatedProperties", ${unsupported}`,
    ],
    [{ "a/b~c": 1 }, `the schema at #/a~1b~0c is the keyword "a/b~c", ${unsupported}`],
    [{ items: { $anchor: "x" } }, `the schema at #/items/$anchor is the keyword "$anchor", ${unsupported}`],
    [{ type: "string", format: "regex" }, `the schema at #/format is the format "regex", ${unsupported}`],
    [{ type: "string", format: "constructor" }, `the schema at #/format is the format "constructor", ${unsupported}`],
    [
      { type: "array", items: { type: "string" }, uniqueItems: true },
      "the schema at # has `uniqueItems`, which can be held only for items of an `enum` of at most 8 values",
    ],
    [
      { type: "array", items: { enum: [1, 2, 3, 4, 5, 6, 7, 8, 9] }, uniqueItems: true },
      "the schema at # has `uniqueItems`, which can be held only for items of an `enum` of at most 8 values",
    ],
    [
      { type: "object", additionalProperties: {}, minProperties: 2 },
      "the schema at # has `minProperties`, which can't be held where names aren't listed: they may be equal",
    ],
    [
      { type: "object", patternProperties: { a: {}, b: {}, c: {}, d: {}, e: {} } },
      "the schema at # has more than 4 patterns in `patternProperties`",
    ],
    [
      { type: "string", pattern: "(?=a)" },
      'lookahead can\'t be expressed as a grammar: at character 0 of the regular expression "(?=a)" in the schema at #',
    ],
    [
      { type: "number", exclusiveMaximum: 0.1234567890123456 },
      "the schema at # has an exclusive bound of more than 15 digits, which can't be expressed",
    ],
    [
      { type: "integer", multipleOf: 1001 },
      "the schema at # has `multipleOf` above 1000 units of its last digit, which can't be expressed",
    ],
    [
      { type: "number", multipleOf: 1e-30 },
      "the schema at # has `multipleOf` with more than 20 decimals, which can't be expressed",
    ],
    [{ properties: { a: { $id: "x" } } }, "the schema at #/properties/a/$id can only stand at the root"],
  ])("%j", (schema, message) => {
    const error = refusal(JSON.stringify(schema));
    expect(error.kind).toBe("invalid_request");
    expect(error.param).toBe("json_schema");
    expect(error.message).toBe(message);
  });
});

describe("a oneOf whose branches may both hold is refused", () => {
  it.each<[unknown[]]>([
    [[{ type: "integer" }, { type: "number" }]],
    [[{ type: "string" }, { type: "string", format: "date" }]],
    [
      [
        { type: "string", pattern: "^a" },
        { type: "string", pattern: "b$" },
      ],
    ],
    [
      [
        { type: "object", properties: { a: {} } },
        { type: "object", properties: { b: {} } },
      ],
    ],
    [[{ type: "object", properties: { a: {} }, required: ["a"] }, { type: "object" }]],
    [[{ const: 1 }, { minimum: 0 }]],
    [[{ const: 1 }, { const: 1.0 }]],
    [
      [
        { type: "array", items: { type: "string" } },
        { type: "array", items: { type: "integer" } },
      ],
    ],
    [[true, { type: "null" }]],
  ])("%j", (oneOf) => {
    expect(refusal(JSON.stringify({ oneOf })).message).toBe(
      "the schema at #/oneOf has branches 0 and 1, which a value may satisfy both; use `anyOf`, or tell them apart by a required member with a `const`",
    );
  });
});

describe("a malformed schema is refused with its place", () => {
  it.each<[string, string]>([
    ["", "the schema is not valid JSON: a value is missing at character 0"],
    ["{", "the schema is not valid JSON: a string is missing at character 1"],
    ['{"a":1,}', "the schema is not valid JSON: a string is missing at character 7"],
    ['{"a" 1}', 'the schema is not valid JSON: ":" is missing at character 5'],
    ["[1 2]", 'the schema is not valid JSON: "]" is missing at character 3'],
    ["01", "the schema is not valid JSON: more text after the value at character 1"],
    ['{"type":"\\q"}', "the schema is not valid JSON: a malformed string at character 8"],
    [
      '{"type":"string","type":"null"}',
      'the schema is not valid JSON: the member "type" comes twice before the value at character 23',
    ],
    ["[".repeat(70) + "]".repeat(70), "the schema nests deeper than 64"],
    ["3", "the schema at # is a number instead of a schema: an object or a boolean"],
    ["null", "the schema at # is null instead of a schema: an object or a boolean"],
    ['{"items":[]}', "the schema at #/items must be a schema; an array of schemas is written as `prefixItems`"],
    ['{"items":3}', "the schema at #/items is a number instead of a schema: an object or a boolean"],
    ['{"required":3}', "the schema at #/required must be an array of strings"],
    ['{"required":[3]}', "the schema at #/required must be an array of strings"],
    ['{"properties":[]}', "the schema at #/properties must be an object of schemas"],
    [
      '{"properties":{"a b":1}}',
      "the schema at #/properties/a b is a number instead of a schema: an object or a boolean",
    ],
    [
      '{"type":"text"}',
      "the schema at #/type must be one of integer, null, boolean, number, string, array, object, or a list of them",
    ],
    [
      '{"type":[]}',
      "the schema at #/type must be one of integer, null, boolean, number, string, array, object, or a list of them",
    ],
    ['{"nullable":true}', "the schema at #/nullable must be beside a `type`"],
    ['{"nullable":1,"type":"null"}', "the schema at #/nullable must be a boolean"],
    ['{"enum":[]}', "the schema at #/enum must be an array of at least one value"],
    ['{"enum":3}', "the schema at #/enum must be an array of values"],
    ['{"anyOf":[]}', "the schema at #/anyOf must be an array of at least one schema"],
    ['{"allOf":{}}', "the schema at #/allOf must be an array of schemas"],
    ['{"minLength":-1}', "the schema at #/minLength must be an integer of 0 or more"],
    ['{"maxItems":1.5}', "the schema at #/maxItems must be an integer of 0 or more"],
    ['{"maxLength":1e300}', "the schema at #/maxLength must be at most 9007199254740991"],
    ['{"minimum":"1"}', "the schema at #/minimum must be a number"],
    ['{"exclusiveMinimum":true}', "the schema at #/exclusiveMinimum must be a number"],
    ['{"maximum":1e999}', "the schema at #/maximum must be a number within the range of a double"],
    ['{"multipleOf":0}', "the schema at #/multipleOf must be a number above 0"],
    ['{"multipleOf":-2}', "the schema at #/multipleOf must be a number above 0"],
    ['{"pattern":1}', "the schema at #/pattern must be a regular expression"],
    ['{"uniqueItems":"yes"}', "the schema at #/uniqueItems must be a boolean"],
    ['{"$ref":1}', "the schema at #/$ref must be a string"],
    [
      '{"$ref":"other.json"}',
      'the schema at # has the `$ref` "other.json", but only references to #/… in the same schema can be followed',
    ],
    ['{"$ref":"#/$defs/a"}', 'the schema at # has the `$ref` "#/$defs/a", which leads nowhere'],
    ['{"$ref":"#/%zz"}', 'the schema at # has the `$ref` "#/%zz", whose percent-encoding is malformed'],
    ['{"$ref":"#"}', "the schema at # applies itself to the same value again"],
    ['{"anyOf":[{"$ref":"#"},{"type":"null"}]}', "the schema at # applies itself to the same value again"],
    [
      '{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"oneOf":[{"$ref":"#/$defs/a"}]}}}',
      "the schema at #/$defs/a applies itself to the same value again",
    ],
  ])("%s", (source, message) => {
    expect(refusal(source).message).toBe(message);
  });
});

describe("a schema that allows nothing is refused", () => {
  it.each<[unknown, string]>([
    [false, "#"],
    [{ not: {} }, "#"],
    [{ type: "string", minLength: 3, maxLength: 2 }, "#"],
    [{ type: "string", pattern: "^a$", minLength: 2 }, "#"],
    [{ type: "integer", minimum: 1.2, maximum: 1.8 }, "#"],
    [{ allOf: [{ type: "string" }, { type: "null" }] }, "#"],
    [{ type: "array", prefixItems: [true], minItems: 3, maxItems: 2 }, "#"],
    [
      { type: "object", properties: { a: { type: "array", minItems: 2, maxItems: 1 } }, required: ["a"] },
      "#/properties/a",
    ],
    [{ enum: [1, 2], type: "string" }, "#"],
    [{ type: "object", properties: { a: { $ref: "#" } }, required: ["a"] }, "#"],
    [{ type: "object", required: ["a"], additionalProperties: false }, "#"],
  ])("%j", (schema, place) => {
    expect(refusal(JSON.stringify(schema)).message).toBe(`the schema at ${place} allows no value`);
  });
});

describe("what goes beyond a limit is refused by its name", () => {
  const properties = (count: number, schema: unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, schema]));
  const chain = (depth: number) => {
    const $defs = Object.fromEntries(
      Array.from({ length: depth }, (_, i) => [`d${i}`, i + 1 < depth ? { $ref: `#/$defs/d${i + 1}` } : {}]),
    );
    return { $ref: "#/$defs/d0", $defs };
  };
  it.each<[string, unknown, string]>([
    ["length", { description: "x".repeat(grammarLimits.sourceChars) }, "characters; the limit is 131072"],
    ["values", { enum: Array(grammarLimits.values).fill(1) }, "the limit of 20000 JSON values"],
    ["references in a row", chain(200), "applies to one value through more than 128 references and combinations"],
    [
      "ways through unions",
      {
        allOf: Array(12)
          .fill(0)
          .map((_, i) => ({ anyOf: [{ minimum: i }, { minLength: i }] })),
      },
      "the limit of 2000 ways through anyOf and oneOf",
    ],
    ["states", { type: "string", pattern: "^.{0,20000}$" }, "the limit of 8000 states"],
    ["nested quantifiers", { type: "string", pattern: "^(((a{100}){100}){100})$" }, "the limit of 8000 states"],
    ["exponential patterns", { type: "string", pattern: "(a|b)*a(a|b){20}" }, "the limit of 400000 steps"],
    ["rules", { type: "object", properties: properties(4000, true) }, "the limit of 5000 rules"],
    ["text", { const: "🎉".repeat(60_000) }, "the limit of 524288 characters"],
    [
      "counted members",
      { type: "object", properties: properties(2000, true), minProperties: 1000 },
      "the limit of 400000 steps",
    ],
  ])("%s", (_, schema, message) => {
    expect(refusal(JSON.stringify(schema)).message).toContain(message);
  });
});

it("reads member names as data", () => {
  const grammar = compileJsonSchema(
    '{"type":"object","properties":{"__proto__":{"type":"integer"},"constructor":{"type":"string"}},"required":["__proto__"]}',
    { param: "s" },
  );
  expect(grammar.text).toContain('"\\"__proto__\\":" " "? integer-1');
});
