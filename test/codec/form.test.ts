import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { assignText, type FormFile, jsonCodec } from "../../src/codec/codec.ts";
import {
  AdjacentSchema,
  Color,
  FormSchema,
  InlineSchema,
  OptionalSchema,
  PlainSchema,
  UntaggedSchema,
} from "./gen/codec_test_pb.ts";
import { thrownBy } from "./support.ts";

type Entries = [string, string | FormFile][];

const file: FormFile = { content: new Uint8Array([1, 2]), filename: "a.wav", contentType: "audio/wav" };
const form = jsonCodec(FormSchema);

describe("a form", () => {
  test.each<[string, Entries, MessageInitShape<typeof FormSchema>, string[]]>([
    ["nothing", [], {}, []],
    [
      "texts by the types of their fields",
      [
        ["model", "5"],
        ["temperature", "0.5"],
        ["stream", "true"],
        ["seed", "9007199254740993"],
        ["schema", ' {"b":1,"a":12345678901234567890} '],
      ],
      {
        model: "5",
        temperature: 0.5,
        stream: true,
        seed: 9007199254740993n,
        schema: '{"b":1,"a":12345678901234567890}',
      },
      [],
    ],
    ["an empty text", [["model", ""]], {}, []],
    [
      "a file as a message",
      [["file", file]],
      { file: { content: file.content, filename: "a.wav", contentType: "audio/wav" } },
      [],
    ],
    ["a file as bytes", [["blob", file]], { blob: file.content }, []],
    ["base64 as bytes", [["blob", "AQI="]], { blob: file.content }, []],
    [
      "repeated names",
      [
        ["colors", "red"],
        ["words", "a"],
        ["ints", "1"],
        ["colors", "dark-blue"],
        ["words", "[b]"],
        ["ints", "2"],
      ],
      { colors: [Color.RED, Color.DARK_BLUE], words: ["a", "[b]"], ints: [1, 2] },
      [],
    ],
    [
      "aliases and brackets of one field",
      [
        ["colors[]", "red"],
        ["colors", "dark-blue"],
        ["words[]", "a"],
      ],
      { colors: [Color.RED, Color.DARK_BLUE], words: ["a"] },
      [],
    ],
    ["one for a list", [["words", "a"]], { words: ["a"] }, []],
    ["a JSON array for a list of numbers", [["ints", "[1,2]"]], { ints: [1, 2] }, []],
    ["a JSON array for a list of messages", [["points", '[{"x":1},{"y":2}]']], { points: [{ x: 1 }, { y: 2 }] }, []],
    [
      "JSON objects for a list of messages",
      [
        ["points", '{"x":1}'],
        ["points", '{"y":2}'],
      ],
      { points: [{ x: 1 }, { y: 2 }] },
      [],
    ],
    [
      "dotted names",
      [
        ["nested.int32_value", "1"],
        ["nested.bool_value", "false"],
        ["nested.color", "red"],
      ],
      { nested: { int32Value: 1, boolValue: false, color: Color.RED } },
      [],
    ],
    ["names in brackets", [["nested[string_value]", "a"]], { nested: { stringValue: "a" } }, []],
    [
      "JSON for a message",
      [["nested", '{"int64_value":9007199254740993}']],
      { nested: { int64Value: 9007199254740993n } },
      [],
    ],
    ["JSON for a map", [["metadata", '{"a":"b"}']], { metadata: { a: "b" } }, []],
    ["a union: an enum", [["strategy", "red"]], { strategy: { case: "mode", value: Color.RED } }, []],
    ["a union: an object", [["strategy", '{"radius":1}']], { strategy: { case: "circle", value: { radius: 1 } } }, []],
    [
      "a union: the object's members",
      [["strategy[radius]", "1"]],
      { strategy: { case: "circle", value: { radius: 1 } } },
      [],
    ],
    ["a union: a JSON array", [["strategy", '["a"]']], { strategy: { case: "names", value: { values: ["a"] } } }, []],
    [
      "a union: repeated names",
      [
        ["strategy", "a"],
        ["strategy", "b"],
      ],
      { strategy: { case: "names", value: { values: ["a", "b"] } } },
      [],
    ],
    [
      "what it doesn't know",
      [
        ["foo", "1"],
        ["__proto__", "x"],
        ["nested.bar", "y"],
        ["a.b", "z"],
        ["foo", "2"],
        ["upload", file],
      ],
      { extra: '{"foo":["1","2"],"__proto__":"x","nested.bar":"y","a.b":"z","upload":null}' },
      ["foo", "__proto__", '["nested.bar"]', '["a.b"]', "upload"],
    ],
  ])("of %s", (_, entries, init, ignored) => {
    const decoded = form.decodeForm(entries, "lenient");
    expect(decoded.message).toEqual(create(FormSchema, init));
    expect([...decoded.ignored].sort()).toEqual(ignored.sort());
  });

  test("of a tagged oneof", () => {
    const inline: Entries = [
      ["x", "1"],
      ["type", "point"],
      ["id", "i"],
    ];
    expect(jsonCodec(InlineSchema).decodeForm(inline, "strict").message).toEqual(
      create(InlineSchema, { id: "i", shape: { case: "point", value: { x: 1 } } }),
    );
    const adjacent: Entries = [
      ["type", "point"],
      ["point.y", "2"],
    ];
    expect(jsonCodec(AdjacentSchema).decodeForm(adjacent, "strict").message).toEqual(
      create(AdjacentSchema, { part: { case: "point", value: { y: 2 } } }),
    );
  });

  test.each<[string, string, MessageInitShape<typeof UntaggedSchema>]>([
    ["a number", "1e3", { input: { case: "number", value: 1000 } }],
    ["no JSON number", "0x10", { input: { case: "text", value: "0x10" } }],
    ["a boolean", "true", { input: { case: "flag", value: true } }],
    ["a string in quotes", '"a"', { input: { case: "text", value: '"a"' } }],
    ["broken JSON", "[1,", { input: { case: "text", value: "[1," } }],
    [
      "lists of numbers",
      "[[1],[2]]",
      { input: { case: "tokenLists", value: { lists: [{ values: [1] }, { values: [2] }] } } },
    ],
  ])("takes %s in a union of everything", (_, text, init) => {
    expect(jsonCodec(UntaggedSchema).decodeForm([["input", text]], "strict").message).toEqual(
      create(UntaggedSchema, init),
    );
  });

  test.each<[string, Entries, string, string]>([
    ["a number in words", [["temperature", "hot"]], "temperature", 'temperature: expected a number, got "hot"'],
    ["an empty number", [["temperature", ""]], "temperature", 'temperature: expected a number, got ""'],
    ["a boolean in words", [["stream", "yes"]], "stream", 'stream: expected true or false, got "yes"'],
    ["a fraction of an integer", [["ints", "1.5"]], "ints[0]", "ints[0]: 1.5 is not an integer"],
    [
      "an unknown enum value",
      [
        ["colors[]", "red"],
        ["colors[]", "green"],
      ],
      "colors[1]",
      'colors[1]: "green" is not one of red, dark-blue',
    ],
    [
      "one value given twice",
      [
        ["model", "a"],
        ["model", "b"],
      ],
      "model",
      "model: given more than once",
    ],
    ["text for a message", [["nested", "a"]], "nested", 'nested: expected JSON, got "a"'],
    [
      "broken JSON for a message",
      [["nested", "{"]],
      "nested",
      "nested: not valid JSON: expected a member name in double quotes, got the end of the text at position 1 (line 1, column 2)",
    ],
    ["deep JSON", [["schema", "[".repeat(65)]], "schema", "schema: nested deeper than 64 levels at position 64"],
    [
      "a message twice",
      [
        ["nested", "{}"],
        ["nested.color", "red"],
      ],
      "nested",
      "nested: given both as a whole and by its members",
    ],
    [
      "a message twice, the other way",
      [
        ["nested.color", "red"],
        ["nested", "{}"],
      ],
      "nested",
      "nested: given both as a whole and by its members",
    ],
    ["a file for text", [["model", file]], "model", "model: expected a text, got a file"],
    ["a file for a message of another kind", [["nested", file]], "nested", "nested: expected a text, got a file"],
  ])("refuses %s", (_, entries, param, message) => {
    const error = thrownBy(() => form.decodeForm(entries, "lenient"));
    expect([error.kind, error.param, error.message]).toEqual(["invalid_request", param, message]);
  });

  test("refuses unknown names in strict mode", () => {
    expect(thrownBy(() => form.decodeForm([["foo", "1"]], "strict")).message).toBe("unknown parameter: foo");
  });

  test("of one name a million levels deep is an unknown name", () => {
    const name = "child.".repeat(200_000);
    expect(jsonCodec(PlainSchema).decodeForm([[name, ""]], "lenient").ignored).toHaveLength(1);
  });
});

describe("assignText", () => {
  test.each<[string, string, MessageInitShape<typeof PlainSchema>]>([
    ["string_value", "a/b", { stringValue: "a/b" }],
    ["uint32_value", "7", { uint32Value: 7 }],
    ["int64_value", "9007199254740993", { int64Value: 9007199254740993n }],
    ["bool_value", "true", { boolValue: true }],
    ["color", "dark-blue", { color: Color.DARK_BLUE }],
    ["child.child.string_value", "c", { child: { child: { stringValue: "c" } } }],
  ])("sets %s", (path, text, init) => {
    const message = create(PlainSchema);
    assignText(PlainSchema, message, path, text);
    expect(message).toEqual(create(PlainSchema, init));
  });

  test("sets beside what is there, and in oneofs", () => {
    const message = create(AdjacentSchema, { id: "i", part: { case: "point", value: { x: 1 } } });
    assignText(AdjacentSchema, message, "point.y", "2");
    expect(message).toEqual(create(AdjacentSchema, { id: "i", part: { case: "point", value: { x: 1, y: 2 } } }));
    assignText(AdjacentSchema, message, "text", "t");
    expect(message).toEqual(create(AdjacentSchema, { id: "i", part: { case: "text", value: "t" } }));
  });

  test.each([
    ["child.uint32_value", "-1", "invalid_request", "child.uint32_value: -1 is below the minimum 0"],
    ["color", "green", "invalid_request", 'color: "green" is not one of red, dark-blue'],
    ["bool_value", "1", "invalid_request", 'bool_value: expected true or false, got "1"'],
    ["nothing", "1", "internal", "loqui.codectest.v1.Plain has no field nothing"],
    ["string_value.length", "1", "internal", "loqui.codectest.v1.Plain has no field string_value.length"],
  ])("refuses %s = %s", (path, text, kind, message) => {
    const error = thrownBy(() => assignText(PlainSchema, create(PlainSchema), path, text));
    expect([error.kind, error.message]).toEqual([kind, message]);
  });

  test("keeps an optional field's zero", () => {
    const message = create(OptionalSchema);
    assignText(OptionalSchema, message, "int32_value", "0");
    expect(message.int32Value).toBe(0);
  });
});
