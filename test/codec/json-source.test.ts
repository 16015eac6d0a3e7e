import { describe, expect, test } from "vitest";
import { parseJson } from "../../src/codec/json-source.ts";
import { thrownBy } from "./support.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const nested = (depth: number) => `${'{"a":['.repeat(depth / 2)}${"]}".repeat(depth / 2)}`;

describe("parseJson", () => {
  test.each<[string, string | Uint8Array, unknown]>([
    ["text", '{"a":[1,"é😀"]}', { a: [1, "é😀"] }],
    ["ASCII bytes", utf8('{"a":1}'), { a: 1 }],
    ["UTF-8 bytes", utf8('{"a":"é😀"}'), { a: "é😀" }],
    ["bytes within a buffer", utf8("xx[1]yy").subarray(2, 5), [1]],
    ["a byte order mark", "\ufeff1", 1],
    ["a byte order mark in bytes", utf8("\ufeff1"), 1],
    ["a member given twice", '{"a":1,"a":2}', { a: 2 }],
    ["64 levels", nested(64), JSON.parse(nested(64))],
    ["more brackets than levels", `[${"[],{},".repeat(100)}"${"[".repeat(100)}\\"["]`, expect.anything()],
  ])("reads %s", (_, body, value) => {
    expect(parseJson(body).value).toEqual(value);
  });

  test("keeps the text without a byte order mark", () => {
    expect(parseJson(" 1 ").text).toBe(" 1 ");
    expect(parseJson(utf8("\ufeff1")).text).toBe("1");
    expect(parseJson("\ufeff1").text).toBe("1");
  });

  test.each<[string, string | Uint8Array, string]>([
    ["nothing", "", "expected a value, got the end of the text at position 0 (line 1, column 1)"],
    ["a word", "nul", 'expected a value, got "n" at position 0 (line 1, column 1)'],
    ["two values", "1 2", 'expected the end, got "2" at position 2 (line 1, column 3)'],
    ["a trailing comma in an array", "[1,\n ]", 'expected a value, got "]" at position 5 (line 2, column 2)'],
    [
      "a trailing comma in an object",
      '{"a":1,}',
      'expected a member name in double quotes, got "}" at position 7 (line 1, column 8)',
    ],
    ["no comma", '{"a":1 "b":2}', 'expected "," or "}", got "\\"" at position 7 (line 1, column 8)'],
    ["no colon", '{"a" 1}', 'expected ":", got "1" at position 5 (line 1, column 6)'],
    ["single quotes", "{'a':1}", 'expected a member name in double quotes, got "\'" at position 1 (line 1, column 2)'],
    ["a comment", "[1] // one", 'expected the end, got "/" at position 4 (line 1, column 5)'],
    ["an open array", '[1,{"a":[', "expected a value, got the end of the text at position 9 (line 1, column 10)"],
    [
      "an open string",
      '["abc',
      "expected the end of a string, got the end of the text at position 5 (line 1, column 6)",
    ],
    [
      "an open string behind a backslash",
      '["abc\\"',
      "expected the end of a string, got the end of the text at position 7 (line 1, column 8)",
    ],
    [
      "a line break in a string",
      '["a\nb"]',
      "unescaped control character in a string at position 3 (line 1, column 4)",
    ],
    ["an unknown escape", '["a\\x"]', "invalid escape in a string at position 3 (line 1, column 4)"],
    ["a short escape", '{"a\\u12":1}', "invalid escape in a string at position 3 (line 1, column 4)"],
    ["a leading zero", "[01]", 'expected "," or "]", got "1" at position 2 (line 1, column 3)'],
    ["NaN", "[NaN]", 'expected a value, got "N" at position 1 (line 1, column 2)'],
    ["a wrong closer", '{"a":[1}', 'expected "," or "]", got "}" at position 7 (line 1, column 8)'],
    ["a pair of surrogates", "😀", 'expected a value, got "😀" at position 0 (line 1, column 1)'],
  ])("refuses %s", (_, body, message) => {
    const error = thrownBy(() => parseJson(body));
    expect([error.kind, error.code, error.message]).toEqual([
      "invalid_request",
      "invalid_json",
      `the body is not valid JSON: ${message}`,
    ]);
  });

  test.each<[string, string | Uint8Array, string]>([
    ["a stray byte", new Uint8Array([0x22, 0xff, 0x22]), "the body is not valid UTF-8"],
    ["a cut sequence", utf8('"é"').subarray(0, 2), "the body is not valid UTF-8"],
    ["a surrogate in UTF-8", new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22]), "the body is not valid UTF-8"],
    ["half a surrogate pair", '"\ud800"', "the body holds half of a surrogate pair: no Unicode text"],
    ["66 levels", nested(66), "the body is nested deeper than 64 levels at position 192"],
    [
      "65 levels of brackets that are strings too",
      `["[[[",${"[".repeat(64)}`,
      "the body is nested deeper than 64 levels at position 70",
    ],
  ])("refuses %s", (_, body, message) => {
    expect(thrownBy(() => parseJson(body)).message).toBe(message);
  });
});
