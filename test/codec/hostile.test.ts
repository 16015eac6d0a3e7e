import { describe, expect, test } from "vitest";
import { jsonCodec } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";
import {
  DocumentsSchema,
  MapsSchema,
  OptionsSchema,
  PlainSchema,
  TrapsSchema,
  ValueSchema,
} from "./gen/codec_test_pb.ts";
import { decode, thrownBy } from "./support.ts";

const million = 1_000_000;

describe("hostile JSON", () => {
  test.each([
    ["arrays, open", "[".repeat(100_000)],
    ["arrays, closed", "[".repeat(100_000) + "]".repeat(100_000)],
    ["objects", '{"a":'.repeat(100_000)],
    ["arrays within a raw value", `{"schema":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
  ])("is not parsed when it is 100,000 deep: %s", (_, body) => {
    expect(thrownBy(() => parseJson(body)).message).toMatch(/^the body is nested deeper than 64 levels at position/);
  });

  test("64 levels of a recursive message are read", () => {
    const json = `${'{"child":'.repeat(63)}{}${"}".repeat(63)}`;
    expect(jsonCodec(PlainSchema).encode(decode(PlainSchema, json, "strict").message)).toBe(json);
  });

  test("5 MB of one string", () => {
    const text = 'é"\\'.repeat((5 * million) / 4);
    const json = JSON.stringify({ strings: { a: text } });
    const { message } = jsonCodec(MapsSchema).decode(parseJson(Buffer.from(json)), "strict");
    expect(message.strings.a === text).toBe(true);
    expect(jsonCodec(MapsSchema).encode(message) === json).toBe(true);
  });

  test("quotes behind backslashes: found in linear time", () => {
    const raw = JSON.stringify('\\"'.repeat(million));
    expect(decode(OptionsSchema, `{"schema":${raw}}`).message.schema === raw).toBe(true);
    const even = JSON.stringify("\\".repeat(million));
    expect(decode(OptionsSchema, `{"schema":${even}}`).message.schema === even).toBe(true);
  });

  test("raw values in a hundred thousand elements: found in linear time", () => {
    const documents = Array.from({ length: 100_000 }, (_, i) => `{"id":${i}.0}`);
    const { message, ignored } = decode(DocumentsSchema, `{"documents":[${documents.join(",")}]}`);
    expect(ignored).toEqual([]);
    expect(message.documents.at(-1)?.others).toBe('{"id":99999.0}');
  });

  test("a hundred thousand unknown members: the first 256 are listed, all are kept", () => {
    const members = Array.from({ length: 100_000 }, (_, i) => `"x${i}":${i}`).join(",");
    const { message, ignored } = decode(DocumentsSchema, `{${members}}`);
    expect(ignored).toHaveLength(256);
    expect(message.extra).toBe(`{${members}}`);
  });

  test("a long unknown name is cut where it is listed", () => {
    const name = "n".repeat(million);
    expect(decode(PlainSchema, `{"${name}":1}`).ignored).toEqual([`["${name.slice(0, 128)}…"]`]);
    expect(thrownBy(() => decode(PlainSchema, `{"${name}":1}`, "strict")).message.length).toBeLessThan(200);
  });

  test("a million numbers in a string of digits", () => {
    expect(thrownBy(() => decode(PlainSchema, `{"int64_value":"${"9".repeat(million)}"}`)).message.length).toBeLessThan(
      250,
    );
    expect(thrownBy(() => decode(PlainSchema, `{"int64_value":${"9".repeat(100)}}`)).param).toBe("int64_value");
  });

  test("no name reaches a prototype", () => {
    const json = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}';
    const { message } = decode(
      MapsSchema,
      `{"strings":{"__proto__":"a"},"messages":{"__proto__":{"int32_value":1}},"raws":${json}}`,
    );
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(Object.getPrototypeOf(message.strings)).toBe(Object.prototype);
    expect(Object.keys(message.messages)).toEqual(["__proto__"]);
    expect(Object.entries(message.raws)).toEqual([
      ["__proto__", '{"polluted":1}'],
      ["constructor", '{"prototype":{"polluted":1}}'],
    ]);
    expect(decode(PlainSchema, json).ignored).toEqual(["__proto__", "constructor"]);
    expect(decode(TrapsSchema, '{"__proto__":"a","toString":1}').message).toMatchObject({ Proto: "a" });
    expect(decode(ValueSchema, json).message.kind.case).toBe("object");
  });

  test("a value that its text does not have is written anew", () => {
    const value = { schema: { a: [1] }, zz: "y" };
    const { message } = jsonCodec(OptionsSchema).decode({ text: "{}", value }, "lenient");
    expect(message.schema).toBe('{"a":[1]}');
  });
});
