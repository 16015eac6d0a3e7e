import { type Decimal, decimalOf, parseDecimal } from "./decimal.ts";
import { integerFormats, openFormats, stringFormats } from "./formats.ts";
import { type JsonText, parseJsonText, quoted } from "./json-text.ts";
import type { Budget } from "./limits.ts";
import type { Bound } from "./numbers.ts";

/** JSON's types; an integer is a number. */
export type TypeName = "null" | "boolean" | "number" | "string" | "array" | "object";

/** A schema that has not been read yet. */
export interface Unread {
  readonly value: JsonText;
  readonly place: string;
}

/** One schema object, its keywords read and checked. What is absent says nothing. */
export interface Schema {
  /** Number of the schema in its document, in the order in which they are read. */
  readonly id: number;
  /** JSON pointer as a URI fragment: `#/properties/name`. */
  readonly place: string;
  /** The schema `false`: nothing is valid. */
  readonly impossible: boolean;
  /** Types that `type` lists; `integer` is in {@link integer}. */
  readonly types: ReadonlySet<TypeName> | undefined;
  /** Numbers must be integers: `type` has `integer` and not `number`. */
  readonly integer: boolean;
  /** Types that the keywords are about. */
  readonly hints: ReadonlySet<TypeName>;
  /** `enum`, or `const` as an enum of one; both where both are there. */
  readonly values: readonly (readonly JsonText[])[];
  readonly min: readonly Bound[];
  readonly max: readonly Bound[];
  readonly multipleOf: Decimal | undefined;
  readonly minLength: number;
  readonly maxLength: number | undefined;
  readonly pattern: string | undefined;
  /** A string format that has an expression. */
  readonly format: string | undefined;
  readonly minItems: number | undefined;
  readonly maxItems: number | undefined;
  readonly uniqueItems: boolean;
  readonly prefixItems: readonly Unread[] | undefined;
  readonly items: Unread | undefined;
  readonly properties: ReadonlyMap<string, Unread> | undefined;
  readonly patternProperties: readonly (readonly [pattern: string, schema: Unread])[];
  readonly additionalProperties: Unread | undefined;
  readonly propertyNames: Unread | undefined;
  readonly required: readonly string[];
  readonly minProperties: number;
  readonly maxProperties: number | undefined;
  readonly ref: Unread | undefined;
  readonly allOf: readonly Unread[];
  readonly anyOf: readonly Unread[] | undefined;
  readonly oneOf: readonly Unread[] | undefined;
}

/** A schema's text, parsed. */
export interface SchemaDocument {
  readonly root: Unread;
  /** Reads a schema; the same {@link Schema} for the same place. */
  read(schema: Unread): Schema;
  /** An error about a place in the schema. */
  refuse(place: string, message: string): Error;
}

/** Keywords that say nothing about which values are valid, and what is not read because only `$ref` leads there. */
const annotations: ReadonlySet<string> = new Set([
  "title",
  "description",
  "default",
  "example",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$schema",
  "$comment",
  "$defs",
  "definitions",
  // OpenAPI: which branch to look at first. It changes no validity.
  "discriminator",
  "externalDocs",
]);

const keywordTypes: Readonly<Record<string, TypeName>> = {
  minimum: "number",
  maximum: "number",
  exclusiveMinimum: "number",
  exclusiveMaximum: "number",
  multipleOf: "number",
  minLength: "string",
  maxLength: "string",
  pattern: "string",
  minItems: "array",
  maxItems: "array",
  uniqueItems: "array",
  prefixItems: "array",
  items: "array",
  properties: "object",
  patternProperties: "object",
  additionalProperties: "object",
  propertyNames: "object",
  required: "object",
  minProperties: "object",
  maxProperties: "object",
};

/** Keywords without a type of their own. */
const others: ReadonlySet<string> = new Set([
  "$id",
  "$ref",
  "type",
  "nullable",
  "enum",
  "const",
  "format",
  "allOf",
  "anyOf",
  "oneOf",
  "not",
]);

const typeNames: readonly string[] = ["null", "boolean", "number", "string", "array", "object"];

/**
 * Parses a JSON Schema (2020-12, and what older drafts and OpenAPI 3.0 spell
 * alike). Every reachable keyword is one that can be honoured and has a value
 * of the right type; else the budget's `invalid_request` names its place.
 */
export function readDocument(source: string, budget: Budget): SchemaDocument {
  const document = parseJsonText(source, budget);
  const schemas = new Map<JsonText, Schema>();
  const refuse = (place: string, message: string) => budget.refuse(`the schema at ${place} ${message}`);

  const resolve = (ref: string, place: string): Unread => {
    const fail = (why: string) => refuse(place, `has the \`$ref\` ${quoted(ref)}, ${why}`);
    if (ref !== "#" && !ref.startsWith("#/"))
      throw fail("but only references to #/… in the same schema can be followed");
    let path: string;
    try {
      path = decodeURIComponent(ref.slice(1));
    } catch {
      throw fail("whose percent-encoding is malformed");
    }
    let at: JsonText | undefined = document;
    let where = "#";
    for (const token of path.split("/").slice(1)) {
      const name = token.replaceAll("~1", "/").replaceAll("~0", "~");
      where += `/${pointerToken(name)}`;
      if (at.kind === "object") at = at.members.get(name);
      else if (at.kind === "array") at = /^(?:0|[1-9][0-9]*)$/.test(name) ? at.items[Number(name)] : undefined;
      else at = undefined;
      if (at === undefined) throw fail("which leads nowhere");
    }
    return { value: at, place: where };
  };

  const readAt = ({ value, place }: Unread, id: number): Schema => {
    if (value.kind === "boolean") return { ...blank, id, place, impossible: !value.value };
    if (value.kind !== "object") throw refuse(place, `is ${kindOf(value)} instead of a schema: an object or a boolean`);
    const { members } = value;
    const ill = (name: string, expected: string) => refuse(`${place}/${pointerToken(name)}`, `must be ${expected}`);

    const get = <K extends JsonText["kind"]>(name: string, kind: K, expected: string) => {
      const member = members.get(name);
      if (member === undefined) return undefined;
      if (member.kind !== kind) throw ill(name, expected);
      return member as Extract<JsonText, { kind: K }>;
    };
    const schema = (name: string): Unread | undefined => {
      const member = members.get(name);
      return member && { value: member, place: `${place}/${name}` };
    };
    const list = (name: string): readonly Unread[] | undefined => {
      const items = get(name, "array", "an array of schemas")?.items;
      if (items?.length === 0) throw ill(name, "an array of at least one schema");
      return items?.map((item, i) => ({ value: item, place: `${place}/${name}/${i}` }));
    };
    const entries = (name: string): [string, Unread][] =>
      [...(get(name, "object", "an object of schemas")?.members ?? [])].map(([key, member]) => [
        key,
        { value: member, place: `${place}/${name}/${pointerToken(key)}` },
      ]);
    const decimal = (name: string): Decimal | undefined => {
      const text = get(name, "number", "a number")?.text;
      if (text === undefined) return undefined;
      const found = parseDecimal(text);
      if (found === undefined) throw ill(name, "a number within the range of a double");
      return found;
    };
    const size = (name: string): number | undefined => {
      const found = decimal(name);
      if (found === undefined) return undefined;
      if (found.negative || found.scale > 0) throw ill(name, "an integer of 0 or more");
      if (found.digits > BigInt(Number.MAX_SAFE_INTEGER)) throw ill(name, `at most ${Number.MAX_SAFE_INTEGER}`);
      return Number(found.digits);
    };
    const strings = (name: string): string[] =>
      (get(name, "array", "an array of strings")?.items ?? []).map((item) => {
        if (item.kind !== "string") throw ill(name, "an array of strings");
        return item.value;
      });

    for (const name of members.keys()) {
      if (Object.hasOwn(keywordTypes, name) || annotations.has(name) || others.has(name) || name.startsWith("x-"))
        continue;
      throw refuse(
        `${place}/${pointerToken(name)}`,
        `is the keyword ${quoted(name)}, which can't be expressed as a grammar`,
      );
    }
    // A $id below the root would change what the references inside it mean.
    if (place !== "#" && members.has("$id")) throw refuse(`${place}/$id`, "can only stand at the root");

    const types = readTypes(members, ill);
    const limits: { min: Bound[]; max: Bound[] } = { min: [], max: [] };
    for (const [name, side, exclusive] of bounds) {
      const bound = decimal(name);
      if (bound !== undefined) limits[side].push({ value: bound, exclusive });
    }
    const multipleOf = decimal("multipleOf");
    if (multipleOf !== undefined && (multipleOf.negative || multipleOf.digits === 0n)) {
      throw ill("multipleOf", "a number above 0");
    }
    const formatName = get("format", "string", "a string")?.value;
    const format = formatName !== undefined && Object.hasOwn(stringFormats, formatName) ? formatName : undefined;
    const integers =
      formatName !== undefined && Object.hasOwn(integerFormats, formatName) ? integerFormats[formatName] : undefined;
    if (integers !== undefined) {
      limits.min.push({ value: decimalOf(integers.min), exclusive: false });
      limits.max.push({ value: decimalOf(integers.max), exclusive: false });
    } else if (formatName !== undefined && format === undefined && !openFormats.has(formatName)) {
      throw refuse(`${place}/format`, `is the format ${quoted(formatName)}, which can't be expressed as a grammar`);
    }
    const values: JsonText[][] = [];
    const listed = get("enum", "array", "an array of values");
    if (listed?.items.length === 0) throw ill("enum", "an array of at least one value");
    if (listed !== undefined) values.push([...listed.items]);
    const constant = members.get("const");
    if (constant !== undefined) values.push([constant]);
    const not = members.get("not");
    if (not !== undefined && !isTrivial(not)) throw refuse(`${place}/not`, "can't be expressed as a grammar");
    const properties = members.has("properties") ? new Map(entries("properties")) : undefined;
    const ref = get("$ref", "string", "a string")?.value;
    if (members.get("items")?.kind === "array") {
      throw ill("items", "a schema; an array of schemas is written as `prefixItems`");
    }

    return {
      id,
      place,
      impossible: not !== undefined && !(not.kind === "boolean" && !not.value),
      types: types.types,
      integer: types.integer || integers !== undefined,
      hints: new Set(
        [...members.keys()]
          .flatMap((name) => (Object.hasOwn(keywordTypes, name) ? (keywordTypes[name] ?? []) : []))
          .concat(format === undefined ? [] : "string", integers === undefined ? [] : "number"),
      ),
      values,
      ...limits,
      multipleOf,
      minLength: size("minLength") ?? 0,
      maxLength: size("maxLength"),
      pattern: get("pattern", "string", "a regular expression")?.value,
      format,
      minItems: size("minItems"),
      maxItems: size("maxItems"),
      uniqueItems: get("uniqueItems", "boolean", "a boolean")?.value ?? false,
      prefixItems: list("prefixItems"),
      items: schema("items"),
      properties,
      patternProperties: entries("patternProperties"),
      additionalProperties: schema("additionalProperties"),
      propertyNames: schema("propertyNames"),
      required: [...new Set(strings("required"))],
      minProperties: size("minProperties") ?? 0,
      maxProperties: size("maxProperties"),
      ref: ref === undefined ? undefined : resolve(ref, place),
      allOf: list("allOf") ?? [],
      anyOf: list("anyOf"),
      oneOf: list("oneOf"),
    };
  };

  return {
    root: { value: document, place: "#" },
    refuse,
    read(schema) {
      let found = schemas.get(schema.value);
      if (found === undefined) {
        found = readAt(schema, schemas.size);
        schemas.set(schema.value, found);
      }
      return found;
    },
  };
}

const bounds: readonly (readonly [name: string, side: "min" | "max", exclusive: boolean])[] = [
  ["minimum", "min", false],
  ["exclusiveMinimum", "min", true],
  ["maximum", "max", false],
  ["exclusiveMaximum", "max", true],
];

/** The schema `true`. */
const blank: Omit<Schema, "id" | "place"> = {
  impossible: false,
  types: undefined,
  integer: false,
  hints: new Set(),
  values: [],
  min: [],
  max: [],
  multipleOf: undefined,
  minLength: 0,
  maxLength: undefined,
  pattern: undefined,
  format: undefined,
  minItems: undefined,
  maxItems: undefined,
  uniqueItems: false,
  prefixItems: undefined,
  items: undefined,
  properties: undefined,
  patternProperties: [],
  additionalProperties: undefined,
  propertyNames: undefined,
  required: [],
  minProperties: 0,
  maxProperties: undefined,
  ref: undefined,
  allOf: [],
  anyOf: undefined,
  oneOf: undefined,
};

/** `type` and OpenAPI's `nullable`. */
function readTypes(
  members: ReadonlyMap<string, JsonText>,
  ill: (name: string, expected: string) => Error,
): { types: Set<TypeName> | undefined; integer: boolean } {
  const type = members.get("type");
  const nullable = members.get("nullable");
  if (nullable !== undefined && nullable.kind !== "boolean") throw ill("nullable", "a boolean");
  if (type === undefined) {
    if (nullable?.value) throw ill("nullable", "beside a `type`");
    return { types: undefined, integer: false };
  }
  const items = type.kind === "array" ? type.items : [type];
  const names = items.map((item) => (item.kind === "string" ? item.value : ""));
  if (names.length === 0 || !names.every((name) => name === "integer" || isTypeName(name))) {
    throw ill("type", `one of integer, ${typeNames.join(", ")}, or a list of them`);
  }
  const types = new Set<TypeName>(names.map((name) => (isTypeName(name) ? name : "number")));
  if (nullable?.value) types.add("null");
  return { types, integer: names.includes("integer") && !names.includes("number") };
}

function isTypeName(name: string): name is TypeName {
  return typeNames.includes(name);
}

/** Whether a `not` says no more than `true` or `false`. */
function isTrivial(not: JsonText): boolean {
  return not.kind === "boolean" || (not.kind === "object" && not.members.size === 0);
}

function kindOf(value: JsonText): string {
  return value.kind === "null" ? "null" : `${value.kind === "array" ? "an" : "a"} ${value.kind}`;
}

/** A member's name in a JSON pointer (RFC 6901), cut where it is long. */
function pointerToken(name: string): string {
  const token = name.replaceAll("~", "~0").replaceAll("/", "~1");
  return token.length > 64 ? `${token.slice(0, 64)}…` : token;
}
