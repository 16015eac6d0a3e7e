import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { DecodeMode } from "../../src/codec/codec.ts";
import {
  AdjacentDefaultSchema,
  AdjacentSchema,
  AnythingSchema,
  ChoiceSchema,
  Color,
  DocumentsSchema,
  InlineDefaultSchema,
  InlineSchema,
  IntListsSchema,
  ListsSchema,
  MapsSchema,
  OptionalSchema,
  OptionsSchema,
  PlainSchema,
  SeparateSchema,
  TrapsSchema,
  UntaggedSchema,
} from "./gen/codec_test_pb.ts";
import { decode, encode, thrownBy } from "./support.ts";

interface Row {
  name: string;
  desc: DescMessage;
  json: string;
  init: MessageInitShape<DescMessage>;
  ignored: string[];
  mode: DecodeMode;
}

function row<D extends DescMessage>(
  name: string,
  desc: D,
  json: string,
  init: MessageInitShape<D>,
  ignored: string[] = [],
  mode: DecodeMode = "lenient",
): Row {
  return { name, desc, json, init: init as MessageInitShape<DescMessage>, ignored, mode };
}

const max = 9223372036854775807n;

describe("reads", () => {
  test.each<Row>([
    row("null as absent", PlainSchema, '{"double_value":null,"child":null,"color":null,"bytes_value":null}', {}),
    row("null as an absent list, map and oneof", DocumentsSchema, '{"documents":null,"words":null}', {}),
    row("null in a map as no entry", MapsSchema, '{"strings":{"a":null,"b":"c"}}', { strings: { b: "c" } }),
    row("null as an absent untagged oneof", UntaggedSchema, '{"input":null,"after":"a"}', { after: "a" }),
    row("null as an absent raw value", OptionsSchema, '{"schema":null}', {}),
    row("the last of two members of one name", PlainSchema, '{"int32_value":1,"int32_value":2}', { int32Value: 2 }),
    row("the last of two raw members of one name", OptionsSchema, '{"schema":{"a":1},"schema":{"a": 2}}', {
      schema: '{"a": 2}',
    }),
    row("whitespace around raw values", OptionsSchema, '{"schema" :\n\t[ 1 , 2 ] \n}', { schema: "[ 1 , 2 ]" }),
    row("raw scalars", ListsSchema, '{"raws":[1.50, "a\\u0041" ,true,null , -0]}', {
      raws: ["1.50", '"a\\u0041"', "true", "null", "-0"],
    }),
    row("a raw member with an escaped name", OptionsSchema, '{"sch\\u0065ma":[1.0]}', { schema: "[1.0]" }),
    row("64 bits from a string", OptionalSchema, `{"int64_value":"${max}"}`, { int64Value: max }),
    row("64 bits from a number, every digit", OptionalSchema, `{"int64_value": ${max} }`, { int64Value: max }),
    row("64 bits from a number with an exponent", OptionalSchema, '{"int64_value":1e3}', { int64Value: 1000n }),
    row("an integer written as a fraction", PlainSchema, '{"int32_value":5.0}', { int32Value: 5 }),
    row("base64 for URLs, without padding", PlainSchema, '{"bytes_value":"-_8AQQ"}', {
      bytesValue: new Uint8Array([251, 255, 0, 65]),
    }),
    row("base64 with too little padding", PlainSchema, '{"bytes_value":"-_8AQQ="}', {
      bytesValue: new Uint8Array([251, 255, 0, 65]),
    }),
    row("an alias", OptionsSchema, '{"max":3}', { limit: 3 }),
    row("an alias beside a null", OptionsSchema, '{"limit":null,"max":3}', { limit: 3 }),
    row("one value under two names", OptionsSchema, '{"reasoning":"a","thought":"a"}', { thought: "a" }),
    row(
      "an upstream's two values: the field's own name wins",
      OptionsSchema,
      '{"thought":"a","reasoning":"b"}',
      { thought: "a" },
      [],
      "upstream",
    ),
    row("one for a list", OptionsSchema, '{"stop":"a"}', { stop: ["a"] }),
    row("a list of one", OptionsSchema, '{"stop":["a"]}', { stop: ["a"] }),
    row("an empty list", OptionsSchema, '{"stop":[]}', {}),
    row("a missing tag: the only member says it", AdjacentSchema, '{"text":"a"}', {
      part: { case: "text", value: "a" },
    }),
    row("a missing tag: nulls don't count", AdjacentSchema, '{"text":"a","point":null}', {
      part: { case: "text", value: "a" },
    }),
    row("nulls of the other members", AdjacentSchema, '{"type":"text","text":"a","point":null}', {
      part: { case: "text", value: "a" },
    }),
    row("a tag of null", AdjacentSchema, '{"type":null,"text":"a"}', { part: { case: "text", value: "a" } }),
    row("the tag last", InlineSchema, '{"x":1,"type":"point"}', { shape: { case: "point", value: { x: 1 } } }),
    row("a missing tag: the default", InlineDefaultSchema, '{"x":1}', { shape: { case: "point", value: { x: 1 } } }),
    row("a missing tag: the default, adjacent", AdjacentDefaultSchema, '{"point":{"x":1}}', {
      part: { case: "point", value: { x: 1 } },
    }),
    row("a missing tag: a member is better than the default", AdjacentDefaultSchema, '{"text":"a"}', {
      part: { case: "text", value: "a" },
    }),
    row("nothing of an oneof with a default", AdjacentDefaultSchema, '{"index":2}', { index: 2 }),
    row("an empty oneof member under its own name", AdjacentSchema, '{"type":"auto","auto":{}}', {
      part: { case: "auto", value: {} },
    }),
    row(
      "unknown members",
      PlainSchema,
      '{"foo":1,"int32_value":2,"child":{"bar":[{}]}}',
      { int32Value: 2, child: {} },
      ["foo", "child.bar"],
    ),
    row("unknown members with odd names", PlainSchema, '{"a b":1,"":2,"\\ud800":3,"__proto__":4}', {}, [
      '["a b"]',
      '[""]',
      '["\ufffd"]',
      "__proto__",
    ]),
    row(
      "unknown members of an inline member",
      InlineDefaultSchema,
      '{"type":"circle","x":1}',
      { shape: { case: "circle", value: {} } },
      ["x"],
    ),
    row(
      "unknown members of elements",
      DocumentsSchema,
      '{"parts":[{"text":"a","y": {"z":1} }]}',
      { parts: [{ part: { case: "text", value: "a" }, extra: '{"y":{"z":1}}' }] },
      ["parts[0].y"],
    ),
    row("members called like methods", MapsSchema, '{"toString":1,"hasOwnProperty":2}', {}, [
      "toString",
      "hasOwnProperty",
    ]),
    row("a constructor that is not there", TrapsSchema, "{}", {}),
    row("an upstream's unknown members", PlainSchema, '{"foo":1}', {}, ["foo"], "upstream"),
    row(
      "an upstream's unknown enum value",
      OptionalSchema,
      '{"color":"green","int32_value":1}',
      { int32Value: 1 },
      ["color"],
      "upstream",
    ),
    row(
      "an upstream's unknown enum values in a list",
      ListsSchema,
      '{"colors":["red","green"]}',
      { colors: [Color.RED] },
      ["colors[1]"],
      "upstream",
    ),
    row("an upstream's unknown enum value in a union", ChoiceSchema, '"green"', {}, [""], "upstream"),
    row(
      "an upstream's unknown tag",
      AdjacentSchema,
      '{"id":"i","type":"video","video":{}}',
      { id: "i", extra: '{"video":{}}' },
      ["type", "video"],
      "upstream",
    ),
    row("an upstream without a tag", InlineSchema, '{"id":"i"}', { id: "i" }, [], "upstream"),
    row("an upstream's tag without its member", AdjacentSchema, '{"type":"text"}', {}, [], "upstream"),
    row(
      "an upstream's two members of one oneof",
      SeparateSchema,
      '{"text":"a","color":"red"}',
      { value: { case: "text", value: "a" } },
      ["color"],
      "upstream",
    ),
    row("what is known, strictly", PlainSchema, '{"int32_value":2,"child":null}', { int32Value: 2 }, [], "strict"),
  ])("$name", ({ desc, json, init, ignored, mode }) => {
    const decoded = decode(desc, json, mode);
    expect(decoded.message).toEqual(create(desc, init));
    expect(decoded.ignored).toEqual(ignored);
  });
});

describe("refuses", () => {
  test.each<[string, DescMessage, string, string | undefined, string]>([
    ["no object", PlainSchema, "[]", undefined, "request: expected an object, got an array"],
    ["null", PlainSchema, "null", undefined, "request: expected an object, got null"],
    [
      "a string for a double",
      PlainSchema,
      '{"double_value":"1"}',
      "double_value",
      "double_value: expected a number, got a string",
    ],
    [
      "a number for a string",
      PlainSchema,
      '{"string_value":1}',
      "string_value",
      "string_value: expected a string, got a number",
    ],
    [
      "a string for a boolean",
      PlainSchema,
      '{"bool_value":"true"}',
      "bool_value",
      "bool_value: expected a boolean, got a string",
    ],
    ["an object for a list", ListsSchema, '{"ints":{}}', "ints", "ints: expected an array, got an object"],
    ["an array for an object", MapsSchema, '{"strings":[]}', "strings", "strings: expected an object, got an array"],
    ["an array for a message", PlainSchema, '{"child":[{}]}', "child", "child: expected an object, got an array"],
    ["null in a list", ListsSchema, '{"strings":["a",null]}', "strings[1]", "strings[1]: expected a string, got null"],
    [
      "a fraction for an integer",
      PlainSchema,
      '{"child":{"int32_value":1.5}}',
      "child.int32_value",
      "child.int32_value: 1.5 is not an integer",
    ],
    [
      "a large int32",
      PlainSchema,
      '{"int32_value":2147483648}',
      "int32_value",
      "int32_value: 2147483648 is above the maximum 2147483647",
    ],
    [
      "a negative uint32",
      PlainSchema,
      '{"uint32_value":-1}',
      "uint32_value",
      "uint32_value: -1 is below the minimum 0",
    ],
    ["an endless number", PlainSchema, '{"double_value":-1e999}', "double_value", "double_value: -1e999 is too large"],
    ["a double for a float", PlainSchema, '{"float_value":3.5e38}', "float_value", "float_value: 3.5e38 is too large"],
    [
      "a large int64",
      PlainSchema,
      '{"int64_value":9223372036854775808}',
      "int64_value",
      "int64_value: 9223372036854775808 is above the maximum 9223372036854775807",
    ],
    [
      "a negative uint64",
      PlainSchema,
      '{"uint64_value":"-1"}',
      "uint64_value",
      "uint64_value: -1 is below the minimum 0",
    ],
    [
      "a fraction for an int64",
      PlainSchema,
      '{"int64_value":0.5}',
      "int64_value",
      "int64_value: 0.5 is not an integer",
    ],
    [
      "an exponent beyond 2^53",
      PlainSchema,
      '{"int64_value":1e17}',
      "int64_value",
      'int64_value: "1e17" is not an integer of up to 20 digits',
    ],
    [
      "words for an int64",
      PlainSchema,
      '{"int64_value":"0x1"}',
      "int64_value",
      'int64_value: "0x1" is not an integer of up to 20 digits',
    ],
    [
      "a boolean for an int64",
      PlainSchema,
      '{"int64_value":true}',
      "int64_value",
      "int64_value: expected an integer, got a boolean",
    ],
    ["bytes that are no base64", PlainSchema, '{"bytes_value":"a b="}', "bytes_value", "bytes_value: not valid base64"],
    [
      "base64 of an impossible length",
      PlainSchema,
      '{"bytes_value":"AAAAA"}',
      "bytes_value",
      "bytes_value: not valid base64",
    ],
    [
      "half a surrogate pair",
      PlainSchema,
      '{"string_value":"a\\ud83d"}',
      "string_value",
      "string_value: holds half of a surrogate pair: no Unicode text",
    ],
    [
      "half a surrogate pair as a key",
      MapsSchema,
      '{"strings":{"\\udc00":"a"}}',
      'strings["\ufffd"]',
      'strings["\ufffd"]: the name holds half of a surrogate pair: no Unicode text',
    ],
    [
      "an unknown enum value",
      ListsSchema,
      '{"colors":["red","green"]}',
      "colors[1]",
      'colors[1]: "green" is not one of red, dark-blue',
    ],
    ["an enum value by its number", PlainSchema, '{"color":1}', "color", "color: expected a string, got a number"],
    [
      "an enum value without a json_value",
      PlainSchema,
      '{"color":"COLOR_SECRET"}',
      "color",
      'color: "COLOR_SECRET" is not one of red, dark-blue',
    ],
    [
      "a long enum value",
      PlainSchema,
      `{"color":"${"x".repeat(5000)}"}`,
      "color",
      `color: "${"x".repeat(128)}…" is not one of red, dark-blue`,
    ],
    ["a key that is no number", MapsSchema, '{"by_uint":{"01":1}}', "by_uint.01", 'by_uint.01: "01" is not an integer'],
    [
      "a key out of range",
      MapsSchema,
      '{"by_uint":{"4294967296":1}}',
      "by_uint.4294967296",
      "by_uint.4294967296: 4294967296 is above the maximum 4294967295",
    ],
    [
      "a key that is no boolean",
      MapsSchema,
      '{"by_bool":{"yes":"red"}}',
      "by_bool.yes",
      'by_bool.yes: "yes" is not true or false',
    ],
    [
      "a map's wrong value",
      MapsSchema,
      '{"messages":{"a b":{"int32_value":""}}}',
      'messages["a b"].int32_value',
      'messages["a b"].int32_value: expected an integer, got a string',
    ],
    [
      "two values under two names",
      OptionsSchema,
      '{"limit":1,"max":2}',
      "limit",
      "limit: given twice, with another value as max",
    ],
    ["a wrong value under an alias", OptionsSchema, '{"max":"1"}', "max", "max: expected an integer, got a string"],
    ["a wrong one for a list", OptionsSchema, '{"stop":1}', "stop", "stop: expected a string, got a number"],
    [
      "what is no member of a union",
      UntaggedSchema,
      '{"input":[true]}',
      "input",
      "input: expected a string, a number, a boolean, an object, an array of strings, an array of numbers, an array of objects or an array of arrays, got an array of booleans",
    ],
    [
      "another kind among the elements",
      UntaggedSchema,
      '{"input":["a",1]}',
      "input[1]",
      "input[1]: expected a string, got a number",
    ],
    [
      "an element of a nested array",
      UntaggedSchema,
      '{"input":[[1],[2,-1]]}',
      "input[1][1]",
      "input[1][1]: -1 is below the minimum 0",
    ],
    ["null as an element of a nested array", IntListsSchema, "[[1],null]", "[1]", "[1]: expected an array, got null"],
    [
      "a member of a message that is its oneof",
      DocumentsSchema,
      '{"choices":["red",5]}',
      "choices[1]",
      "choices[1]: expected a string or an object, got a number",
    ],
    [
      "an unknown tag",
      AdjacentSchema,
      '{"type":"video"}',
      "type",
      'type: "video" is not one of text, image, auto, point',
    ],
    ["a tag of another kind", AdjacentSchema, '{"type":1}', "type", "type: expected a string, got a number"],
    ["no tag", InlineSchema, '{"x":1}', "type", "type: missing, expected one of point, shape.circle, nothing"],
    [
      "no tag and two members",
      AdjacentSchema,
      '{"text":"a","point":{}}',
      "type",
      "type: missing, expected one of text, image, auto, point",
    ],
    [
      "a tag without its member",
      DocumentsSchema,
      '{"parts":[{"type":"image"}]}',
      "parts[0].image_url",
      'parts[0].image_url: missing, with type "image"',
    ],
    [
      "a tag with its member null",
      AdjacentSchema,
      '{"type":"text","text":null}',
      "text",
      'text: missing, with type "text"',
    ],
    [
      "two members of one oneof",
      SeparateSchema,
      '{"words":"a","point":{}}',
      "point",
      "point: only one of text and point can be given",
    ],
    ["text for an inline member", InlineSchema, '{"type":"point","x":"1"}', "x", "x: expected a number, got a string"],
  ])("%s", (_, desc, json, param, message) => {
    const error = thrownBy(() => decode(desc, json));
    expect([error.kind, error.param, error.message]).toEqual(["invalid_request", param, message]);
  });

  test("unknown members in strict mode, by name", () => {
    const error = thrownBy(() => decode(PlainSchema, '{"foo":1,"child":{"bar":2}}', "strict"));
    expect([error.code, error.param, error.message]).toEqual([
      "unknown_parameter",
      "foo",
      "unknown parameters: foo, child.bar",
    ]);
    expect(thrownBy(() => decode(PlainSchema, '{"a b":1}', "strict")).message).toBe('unknown parameter: ["a b"]');
  });

  test("unknown members of an open message never", () => {
    const { message, ignored } = decode(DocumentsSchema, '{"documents":[{"title":"a"}]}', "strict");
    expect(message.documents[0]?.others).toBe('{"title":"a"}');
    expect(ignored).toEqual([]);
  });
});

describe("encode", () => {
  test("leaves out what has no json_value", () => {
    expect(encode(PlainSchema, { color: Color.SECRET })).toBe("{}");
    expect(encode(OptionalSchema, { color: 77 as Color })).toBe("{}");
    expect(encode(ListsSchema, { colors: [Color.RED, Color.SECRET, 77 as Color] })).toBe('{"colors":["red"]}');
    expect(encode(MapsSchema, { byBool: { true: Color.SECRET } })).toBe('{"by_bool":{}}');
    expect(encode(SeparateSchema, { value: { case: "color", value: Color.SECRET } })).toBe("{}");
    expect(encode(ChoiceSchema, {})).toBe("null");
  });

  test.each<[string, () => string, string, string | undefined, string]>([
    [
      "NaN",
      () => encode(PlainSchema, { child: { doubleValue: Number.NaN } }),
      "internal",
      "double_value",
      "Plain.double_value: NaN has no JSON",
    ],
    [
      "an infinity",
      () => encode(PlainSchema, { floatValue: Number.POSITIVE_INFINITY }),
      "internal",
      "float_value",
      "Plain.float_value: Infinity has no JSON",
    ],
    [
      "an infinity in a list",
      () => encode(ListsSchema, { doubles: [1, Number.NEGATIVE_INFINITY] }),
      "internal",
      "doubles",
      "Lists.doubles: -Infinity has no JSON",
    ],
    [
      "NaN in a map",
      () => encode(MapsSchema, { byUint: { 1: Number.NaN } }),
      "internal",
      "by_uint",
      "Maps.by_uint: NaN has no JSON",
    ],
    [
      "raw text that is no JSON",
      () => encode(OptionsSchema, { schema: '{"a":1},"b":2' }),
      "invalid_request",
      "schema",
      "Options.schema: not valid JSON",
    ],
    [
      "empty raw text",
      () => encode(ListsSchema, { raws: [""] }),
      "invalid_request",
      "raws",
      "Lists.raws: not valid JSON",
    ],
    [
      "unknown members that are no JSON",
      () => encode(InlineSchema, { extra: "}" }),
      "invalid_request",
      "extra",
      "Inline.extra: not valid JSON",
    ],
    [
      "unknown members that are no object",
      () => encode(InlineSchema, { extra: "[1]" }),
      "invalid_request",
      "extra",
      "Inline.extra: not a JSON object",
    ],
    [
      "an unknown member that is a field",
      () => encode(InlineSchema, { extra: '{"\\u0069d":"x"}' }),
      "invalid_request",
      "extra",
      'Inline.extra: "id" has a field of its own',
    ],
    [
      "an unknown member that is the tag",
      () => encode(InlineSchema, { extra: '{"type":"x"}' }),
      "invalid_request",
      "extra",
      'Inline.extra: "type" has a field of its own',
    ],
    [
      "an unknown member that is an inline field",
      () => encode(InlineSchema, { shape: { case: "point", value: {} }, extra: '{"x":1}' }),
      "invalid_request",
      "extra",
      'Inline.extra: "x" has a field of its own',
    ],
    [
      "HttpBody",
      () => encode(ChoiceSchema, { choice: { case: "body", value: {} } }),
      "internal",
      undefined,
      "google.api.HttpBody is sent as it is, not as JSON",
    ],
  ])("refuses %s", (_, action, kind, param, message) => {
    const error = thrownBy(action);
    expect([error.kind, error.param, error.message]).toEqual([kind, param, message]);
  });

  test("prints no members of an empty object of unknown members", () => {
    expect(encode(InlineSchema, { extra: " { } " })).toBe("{}");
    expect(encode(AnythingSchema, {})).toBe("{}");
  });
});
