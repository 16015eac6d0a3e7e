import {
  create,
  type DescField,
  type DescMessage,
  type DescOneof,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { enumTable, fieldJson, oneofJson } from "../../src/codec/annotations.ts";

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * A random message whose JSON says all of it. What JSON can't say is left out:
 * a flattened or tagged oneof that is not set, an empty list in an untagged
 * oneof (it is the first list member), `null` or a string as raw JSON where they
 * mean something else, enum values without a json_value, -0.
 */
export function randomMessage<D extends DescMessage>(desc: D, random: () => number): MessageShape<D> {
  return message(desc, random, 0) as MessageShape<D>;
}

/** Deeper messages are left out where they can be. */
const maxDepth = 5;

function message(desc: DescMessage, random: () => number, depth: number): Record<string, unknown> {
  const result = create(desc) as unknown as Record<string, unknown>;
  const only = desc.members.length === 1;
  for (const member of desc.members) {
    if (member.kind === "oneof") {
      const needed = only || oneofJson(member).styleName === "inline" || oneofJson(member).styleName === "adjacent";
      const set = needed || random() < 0.7 ? alternative(member, random, depth) : undefined;
      if (set !== undefined) result[member.localName] = set;
      continue;
    }
    const value = fieldValue(member, random, depth, fieldJson(member).flatten);
    if (value !== undefined) result[member.localName] = value;
  }
  return result;
}

function alternative(oneof: DescOneof, random: () => number, depth: number) {
  const json = oneof.fields.filter((field) => field.message?.typeName !== "google.api.HttpBody");
  const plain = json.filter((field) => field.message === undefined);
  const choices = depth > maxDepth && plain.length > 0 ? plain : json;
  const field = choices[Math.floor(random() * choices.length)];
  if (field === undefined) return undefined;
  const untagged = oneofJson(oneof).styleName === "untagged";
  const raw = fieldJson(field).rawJson;
  const value = untagged && raw ? "[1.0, 2]" : single(field, random, depth);
  if (untagged && field.message !== undefined)
    fillLists(field.message, value as Record<string, unknown>, random, depth);
  return { case: field.localName, value };
}

/** A list in an untagged oneof needs an element that shows its kind. */
function fillLists(desc: DescMessage, value: Record<string, unknown>, random: () => number, depth: number): void {
  const [field] = desc.fields;
  if (field?.fieldKind !== "list" || !fieldJson(field).flatten) return;
  const list = value[field.localName] as unknown[];
  if (list.length === 0) list.push(single(field, random, depth));
  const [first] = list;
  if (field.message !== undefined) fillLists(field.message, first as Record<string, unknown>, random, depth);
}

function fieldValue(field: DescField, random: () => number, depth: number, needed: boolean): unknown {
  const many = Math.floor(random() * 4);
  switch (field.fieldKind) {
    case "list":
      return Array.from({ length: depth > maxDepth && field.message !== undefined ? 0 : many }, () =>
        single(field, random, depth),
      );
    case "map":
      return Object.fromEntries(
        Array.from({ length: depth > maxDepth ? 0 : many }, () => [
          key(field.mapKey, random),
          single(field, random, depth),
        ]),
      );
    default: {
      if (!needed && (random() < 0.4 || (depth > maxDepth && field.message !== undefined))) return undefined;
      return single(field, random, depth);
    }
  }
}

/** A value, an element or a map's value. */
function single(field: DescField, random: () => number, depth: number): unknown {
  if (field.message !== undefined) return message(field.message, random, depth + 1);
  if (field.enum !== undefined) {
    const numbers = [...enumTable(field.enum).byNumber.keys()];
    return numbers[Math.floor(random() * numbers.length)];
  }
  const json = fieldJson(field);
  if (json.unknownMembers) return `{"zz_${Math.floor(random() * 100)}":${rawJson(random)},"zz":[ ]}`;
  if (json.rawJson) return rawJson(random);
  const value = scalar(field.scalar as ScalarType, random);
  return "longAsString" in field && field.longAsString ? String(value) : value;
}

function scalar(type: ScalarType, random: () => number): unknown {
  switch (type) {
    case ScalarType.STRING:
      return text(random);
    case ScalarType.BOOL:
      return random() < 0.5;
    case ScalarType.BYTES:
      return Uint8Array.from({ length: Math.floor(random() * 9) }, () => random() * 256);
    case ScalarType.DOUBLE:
      return double(random);
    case ScalarType.FLOAT:
      return Math.fround((random() - 0.5) * 1e6);
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return Math.floor((random() - 0.5) * 2 ** 32);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return random() < 0.5 ? Math.floor(random() * 5) : Math.floor(random() * 2 ** 32);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return BigInt.asIntN(64, bits(random));
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return BigInt.asUintN(64, bits(random));
  }
}

function bits(random: () => number): bigint {
  const high = BigInt(Math.floor(random() * 2 ** 32));
  return random() < 0.3 ? high : (high << 32n) | BigInt(Math.floor(random() * 2 ** 32));
}

function double(random: () => number): number {
  const value = random() < 0.3 ? Math.floor(random() * 10) : (random() - 0.5) * 10 ** Math.floor(random() * 600 - 300);
  return value === 0 ? 0 : value;
}

const pieces = [
  "a",
  "B ",
  "é",
  "😀",
  '"',
  "\\",
  "\n",
  "\u0000",
  "\u2028",
  "</script>",
  "null",
  "1",
  "__proto__",
  "x".repeat(60),
];

function text(random: () => number): string {
  return Array.from({ length: Math.floor(random() * 4) }, () => pieces[Math.floor(random() * pieces.length)]).join("");
}

/** Without what JSON escapes: V8 13.6 (Node 24) at times takes a name that begins with one escape for another. */
function key(type: ScalarType, random: () => number): string {
  if (type === ScalarType.STRING) return text(random).replace(/["\\\n\0]/g, "'");
  return String(scalar(type, random));
}

function rawJson(random: () => number): string {
  const values = [
    "{}",
    "[ ]",
    '{"b": 1,\t"a":12345678901234567890}',
    "[1.50,-0, 1e400]",
    '{"a":{"b":["\\u0041]}"]}}',
    "12345678901234567890",
    "false",
  ];
  return values[Math.floor(random() * values.length)] ?? "{}";
}
