import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  AdjacentDefaultSchema,
  AdjacentSchema,
  AnythingSchema,
  ChoiceSchema,
  Color,
  DocumentSchema,
  DocumentsSchema,
  InlineDefaultSchema,
  InlineSchema,
  ListsSchema,
  MapsSchema,
  OptionalSchema,
  OptionsSchema,
  PlainSchema,
  SeparateSchema,
  Switch,
  TrapsSchema,
  UntaggedSchema,
  ValueSchema,
} from "./gen/codec_test_pb.ts";
import { decode, encode } from "./support.ts";

/** A message and its JSON: printed exactly so, and read back as the same message. */
interface Row {
  name: string;
  desc: DescMessage;
  init: MessageInitShape<DescMessage>;
  json: string;
  /** What reading it lists as not understood. */
  ignored?: string[];
}

function row<D extends DescMessage>(
  name: string,
  desc: D,
  init: MessageInitShape<D>,
  json: string,
  ignored: string[] = [],
): Row {
  return { name, desc, init: init as MessageInitShape<DescMessage>, json, ignored };
}

const blob = new Uint8Array([0xfb, 0xff, 0x00, 0x41]);
const always = '"index":0,"data":[],"counts":{},"switch":"off"';

describe("both ways", () => {
  test.each<Row>([
    row("nothing", PlainSchema, {}, "{}"),
    row(
      "every scalar",
      PlainSchema,
      {
        doubleValue: 0.1,
        floatValue: 1.5,
        int32Value: -2147483648,
        uint32Value: 4294967295,
        int64Value: -9223372036854775808n,
        uint64Value: 18446744073709551615n,
        sint32Value: 2147483647,
        fixed32Value: 7,
        sfixed64Value: 9007199254740993n,
        boolValue: true,
        stringValue: "a",
        bytesValue: blob,
        color: Color.DARK_BLUE,
        child: { stringValue: "b", child: {} },
      },
      '{"double_value":0.1,"float_value":1.5,"int32_value":-2147483648,"uint32_value":4294967295,' +
        '"int64_value":"-9223372036854775808","uint64_value":"18446744073709551615","sint32_value":2147483647,' +
        '"fixed32_value":7,"sfixed64_value":"9007199254740993","bool_value":true,"string_value":"a",' +
        '"bytes_value":"+/8AQQ==","color":"dark-blue","child":{"string_value":"b","child":{}}}',
    ),
    row(
      "optional fields at zero",
      OptionalSchema,
      {
        doubleValue: 0,
        int32Value: 0,
        int64Value: 0n,
        boolValue: false,
        stringValue: "",
        bytesValue: new Uint8Array(),
        switch: Switch.OFF,
      },
      '{"double_value":0,"int32_value":0,"int64_value":"0","bool_value":false,"string_value":"","bytes_value":"","switch":"off"}',
    ),
    row("a large double", PlainSchema, { doubleValue: 1e21 }, '{"double_value":1e+21}'),
    row("a small double", PlainSchema, { doubleValue: 5e-324 }, '{"double_value":5e-324}'),
    row(
      "an escaped string",
      PlainSchema,
      { stringValue: 'a"\\\n\u0000\u007f\u2028é😀' },
      '{"string_value":"a\\"\\\\\\n\\u0000\u007f\u2028é😀"}',
    ),
    row(
      "a long escaped string",
      PlainSchema,
      { stringValue: '"'.repeat(60) },
      `{"string_value":"${'\\"'.repeat(60)}"}`,
    ),
    row(
      "lists",
      ListsSchema,
      {
        doubles: [1, 0.5, -0.25, 1e-7],
        ints: [0, 4294967295],
        longs: [1n, -1n],
        bools: [true, false],
        strings: ["", 'b"', "c"],
        blobs: [blob, new Uint8Array()],
        colors: [Color.RED, Color.DARK_BLUE],
        messages: [{}, { int32Value: 1 }],
        raws: ['{"b":1, "a":2}', "null", "[1e400]"],
        numbers: [9007199254740993n, 2n],
      },
      '{"doubles":[1,0.5,-0.25,1e-7],"ints":[0,4294967295],"longs":["1","-1"],"bools":[true,false],' +
        '"strings":["","b\\"","c"],"blobs":["+/8AQQ==",""],"colors":["red","dark-blue"],' +
        '"messages":[{},{"int32_value":1}],"raws":[{"b":1, "a":2},null,[1e400]],"numbers":[9007199254740993,2]}',
    ),
    row(
      "maps",
      MapsSchema,
      {
        strings: { a: "1", "": "2", 'q"': "3", ["__proto__"]: "4", constructor: "5" },
        byUint: { 7: 0.5, 4294967295: -1 },
        byLong: { "-9223372036854775808": true },
        byBool: { true: Color.RED, false: Color.DARK_BLUE },
        messages: { x: { boolValue: false } },
        raws: { r: "[1, 2]", n: "null" },
      },
      '{"strings":{"a":"1","":"2","q\\"":"3","__proto__":"4","constructor":"5"},"by_uint":{"7":0.5,"4294967295":-1},' +
        '"by_long":{"-9223372036854775808":true},"by_bool":{"true":"red","false":"dark-blue"},' +
        '"messages":{"x":{"bool_value":false}},"raws":{"r":[1, 2],"n":null}}',
    ),
    row("options, nothing set", OptionsSchema, {}, `{"maybe":null,"list":null,${always},"color":null}`),
    row(
      "options, all set",
      OptionsSchema,
      {
        maybe: "",
        list: [""],
        index: 1,
        data: [0],
        counts: { a: 0 },
        switch: Switch.ON,
        seed: 9007199254740993n,
        schema: '{ "b" : 12345678901234567890,\n"a":1.0 }',
        limit: 0,
        thought: "t",
        stop: ["x"],
        color: Color.RED,
        digits: "18446744073709551615",
      },
      '{"maybe":"","list":[""],"index":1,"data":[0],"counts":{"a":0},"switch":"on","seed":9007199254740993,' +
        '"schema":{ "b" : 12345678901234567890,\n"a":1.0 },"limit":0,"thought":"t","reasoning":"t","stop":"x",' +
        '"color":"red","digits":"18446744073709551615"}',
    ),
    row(
      "one_or_list with two",
      OptionsSchema,
      { stop: ["x", "y"] },
      `{"maybe":null,"list":null,${always},"stop":["x","y"],"color":null}`,
    ),
    row("untagged: a string", UntaggedSchema, { input: { case: "text", value: "" } }, '{"input":""}'),
    row("untagged: a number", UntaggedSchema, { input: { case: "number", value: 0 } }, '{"input":0}'),
    row("untagged: a boolean", UntaggedSchema, { input: { case: "flag", value: false } }, '{"input":false}'),
    row(
      "untagged: strings, between its neighbours",
      UntaggedSchema,
      { before: "a", input: { case: "texts", value: { values: ["x", "y"] } }, after: "b" },
      '{"before":"a","input":["x","y"],"after":"b"}',
    ),
    row(
      "untagged: numbers",
      UntaggedSchema,
      { input: { case: "tokens", value: { values: [1, 2] } } },
      '{"input":[1,2]}',
    ),
    row(
      "untagged: lists of numbers",
      UntaggedSchema,
      { input: { case: "tokenLists", value: { lists: [{ values: [1] }, { values: [] }, { values: [2, 3] }] } } },
      '{"input":[[1],[],[2,3]]}',
    ),
    row(
      "untagged: an empty array is the first of them",
      UntaggedSchema,
      { input: { case: "texts", value: {} } },
      '{"input":[]}',
    ),
    row(
      "untagged: the object with the discriminator",
      UntaggedSchema,
      { input: { case: "circle", value: { radius: 1, labels: ["a"] } } },
      '{"input":{"radius":1,"labels":["a"]}}',
    ),
    row(
      "untagged: the other object",
      UntaggedSchema,
      { input: { case: "point", value: { x: 1 } } },
      '{"input":{"x":1,"y":0}}',
    ),
    row(
      "untagged: objects",
      UntaggedSchema,
      { input: { case: "points", value: { points: [{ x: 1 }] } } },
      '{"input":[{"x":1,"y":0}]}',
    ),
    row("a message that is its oneof: an enum", ChoiceSchema, { choice: { case: "color", value: Color.RED } }, '"red"'),
    row(
      "a message that is its oneof: an object",
      ChoiceSchema,
      { choice: { case: "point", value: {} } },
      '{"x":0,"y":0}',
    ),
    row(
      "the fallback: a string has its own member",
      AnythingSchema,
      { value: { case: "text", value: "1" } },
      '{"value":"1"}',
    ),
    row(
      "the fallback: an object",
      AnythingSchema,
      { value: { case: "json", value: '{"a": 1}' } },
      '{"value":{"a": 1}}',
    ),
    row("the fallback: a number", AnythingSchema, { value: { case: "json", value: "1.50" } }, '{"value":1.50}'),
    row(
      "tagged inline",
      InlineSchema,
      { id: "i", shape: { case: "circle", value: { radius: 2 } }, note: "n" },
      '{"id":"i","type":"shape.circle","radius":2,"note":"n"}',
    ),
    row(
      "tagged inline, the tag first",
      InlineSchema,
      { shape: { case: "point", value: { x: 1 } } },
      '{"type":"point","x":1,"y":0}',
    ),
    row("tagged inline, Empty", InlineSchema, { shape: { case: "nothing", value: {} } }, '{"type":"nothing"}'),
    row(
      "tagged inline with unknown members",
      InlineSchema,
      { shape: { case: "point", value: {} }, extra: '{"radius":3,"z":{"b": 1}}' },
      '{"type":"point","x":0,"y":0,"radius":3,"z":{"b": 1}}',
      ["radius", "z"],
    ),
    row(
      "tagged inline with a default",
      InlineDefaultSchema,
      { shape: { case: "point", value: {} } },
      '{"type":"point","x":0,"y":0}',
    ),
    row(
      "tagged adjacent",
      AdjacentSchema,
      { id: "i", part: { case: "text", value: "" } },
      '{"id":"i","type":"text","text":""}',
    ),
    row(
      "tagged adjacent with a tag_value",
      AdjacentSchema,
      { part: { case: "imageUrl", value: { choice: { case: "color", value: Color.RED } } } },
      '{"type":"image","image_url":"red"}',
    ),
    row("tagged adjacent, Empty", AdjacentSchema, { part: { case: "auto", value: {} } }, '{"type":"auto"}'),
    row(
      "tagged adjacent, another's member is unknown",
      AdjacentSchema,
      { part: { case: "text", value: "a" }, extra: '{"point":{"x":1}}' },
      '{"type":"text","text":"a","point":{"x":1}}',
      ["point"],
    ),
    row("tagged adjacent, unset", AdjacentDefaultSchema, {}, '{"index":0}'),
    row("a oneof as in ProtoJSON: text", SeparateSchema, { value: { case: "text", value: "" } }, '{"text":""}'),
    row(
      "a oneof as in ProtoJSON: message",
      SeparateSchema,
      { value: { case: "point", value: {} } },
      '{"point":{"x":0,"y":0}}',
    ),
    row(
      "a oneof as in ProtoJSON: enum",
      SeparateSchema,
      { value: { case: "color", value: Color.RED } },
      '{"color":"red"}',
    ),
    row(
      "content of its own",
      DocumentSchema,
      { text: "t", others: '{"a":1,"b":[ 2 ]}' },
      '{"text":"t","a":1,"b":[ 2 ]}',
    ),
    row("content alone", DocumentSchema, { others: '{"a":1}' }, '{"a":1}'),
    row(
      "wrappers in lists",
      DocumentsSchema,
      {
        documents: [{ others: '{"a":1}' }],
        parts: [{ part: { case: "text", value: "a" } }, { part: { case: "auto", value: {} } }],
        choices: [{ choice: { case: "color", value: Color.RED } }, { choice: { case: "point", value: {} } }],
        numbers: [{}, { value: 0 }, { value: 1.5 }],
        nested: [{ lists: [{ values: [1] }] }, {}],
        words: {},
        document: {},
        extra: '{"x":"y"}',
      },
      '{"documents":[{"a":1}],"parts":[{"type":"text","text":"a"},{"type":"auto"}],"choices":["red",{"x":0,"y":0}],' +
        '"numbers":[null,0,1.5],"nested":[[[1]],[]],"words":[],"document":{},"x":"y"}',
      ["x"],
    ),
    row(
      "a recursive value",
      ValueSchema,
      {
        kind: {
          case: "object",
          value: {
            members: {
              a: { kind: { case: "values", value: { values: [{ kind: { case: "flag", value: true } }] } } },
              b: { kind: { case: "object", value: {} } },
            },
          },
        },
      },
      '{"a":[true],"b":{}}',
    ),
    row(
      "names that mean something to JavaScript",
      TrapsSchema,
      { constructor$: "a", toString$: "b", valueOf$: "c", Proto: "d", extra: '{"hasOwnProperty":1,"toString":2}' },
      '{"constructor":"a","to_string":"b","valueOf":"c","__proto__":"d","hasOwnProperty":1,"toString":2}',
      ["hasOwnProperty", "toString"],
    ),
  ])("$name", ({ desc, init, json, ignored }) => {
    expect(encode(desc, init)).toBe(json);
    const decoded = decode(desc, json);
    expect(decoded.message).toEqual(create(desc, init));
    expect(decoded.ignored).toEqual(ignored);
  });
});
