import { type DecodeContext, fail, failKind, ignore, type ReadValue, skipped, sourceText } from "./decode-context.ts";
import { type Fields, setKey } from "./fields.ts";
import { quoteShort } from "./path.ts";
import type { FieldPlan, MessagePlan, ValuePlan } from "./plan.ts";

/** The reader of a whole field: a single value, a list or a map. */
export function fieldReader(field: FieldPlan, messageReader: (plan: MessagePlan) => ReadValue): ReadValue {
  const read = valueReader(field.value, messageReader);
  if (field.cardinality === "one") return read;
  if (field.cardinality === "list") return listReader(read, field.oneOrList);
  return mapReader(read, field.key as ValuePlan, field.value.kind === "raw");
}

/** The reader of one value. */
export function valueReader(plan: ValuePlan, messageReader: (plan: MessagePlan) => ReadValue): ReadValue {
  switch (plan.kind) {
    case "string":
      return readString;
    case "bool":
      return (json, context, depth) => (typeof json === "boolean" ? json : failKind(context, depth, "a boolean", json));
    case "float":
      return floatReader(plan.max);
    case "int":
      return intReader(plan.min, plan.max);
    case "long":
      return longReader(plan);
    case "bytes":
      return readBytes;
    case "raw":
      return (json, context, depth) => sourceText(context, depth, json);
    case "enum":
      return enumReader(plan);
    case "message":
      return messageReader(plan.message);
  }
}

const readString: ReadValue = (json, context, depth) => {
  if (typeof json !== "string") return failKind(context, depth, "a string", json);
  if (!json.isWellFormed()) return fail(context, depth, "holds half of a surrogate pair: no Unicode text");
  return json;
};

function floatReader(max: number): ReadValue {
  return (json, context, depth) => {
    if (typeof json !== "number") return failKind(context, depth, "a number", json);
    if (json > max || json < -max) return fail(context, depth, `${sourceText(context, depth, json)} is too large`);
    return json;
  };
}

function intReader(min: number, max: number): ReadValue {
  return (json, context, depth) => {
    if (typeof json !== "number") return failKind(context, depth, "an integer", json);
    if (json < min) return fail(context, depth, `${json} is below the minimum ${min}`);
    if (json > max) return fail(context, depth, `${json} is above the maximum ${max}`);
    if (!Number.isInteger(json)) return fail(context, depth, `${json} is not an integer`);
    return json + 0; // never -0
  };
}

const digits = /^-?[0-9]{1,20}$/;

/** Numbers beyond 2^53 are read from their source text, digit by digit. */
function longReader({ min, max, asText }: Extract<ValuePlan, { kind: "long" }>): ReadValue {
  return (json, context, depth) => {
    let value: bigint;
    if (typeof json === "number" && Number.isSafeInteger(json)) value = BigInt(json);
    else if (typeof json === "number" || typeof json === "string") {
      const text = typeof json === "string" ? json : sourceText(context, depth, json);
      if (typeof json === "number" && !Number.isInteger(json)) return fail(context, depth, `${json} is not an integer`);
      if (!digits.test(text)) return fail(context, depth, `${quoteShort(text)} is not an integer of up to 20 digits`);
      value = BigInt(text);
    } else return failKind(context, depth, "an integer", json);
    if (value < min) return fail(context, depth, `${value} is below the minimum ${min}`);
    if (value > max) return fail(context, depth, `${value} is above the maximum ${max}`);
    return asText ? String(value) : value;
  };
}

const base64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/** Bytes of a form's file; in JSON they are base64, standard or url-safe, padded or not. */
export class FileBytes {
  readonly content: Uint8Array;

  constructor(content: Uint8Array) {
    this.content = content;
  }
}

const readBytes: ReadValue = (json, context, depth) => {
  if (json instanceof FileBytes) return json.content;
  if (typeof json !== "string") return failKind(context, depth, "a base64 string", json);
  const length = json.endsWith("==") ? json.length - 2 : json.endsWith("=") ? json.length - 1 : json.length;
  if (!base64.test(json) || length % 4 === 1) return fail(context, depth, "not valid base64");
  const buffer = Buffer.from(json, "base64");
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
};

function enumReader({ table }: Extract<ValuePlan, { kind: "enum" }>): ReadValue {
  const names = [...table.byName.keys()].join(", ");
  return (json, context, depth) => {
    if (typeof json !== "string") return failKind(context, depth, "a string", json);
    const value = table.byName.get(json);
    if (value !== undefined) return value;
    if (context.mode !== "upstream") return fail(context, depth, `${quoteShort(json)} is not one of ${names}`);
    ignore(context, depth);
    return skipped;
  };
}

function listReader(read: ReadValue, oneOrList: boolean): ReadValue {
  return (json, context, depth) => {
    const values: unknown[] = [];
    if (!Array.isArray(json)) {
      if (!oneOrList) return failKind(context, depth, "an array", json);
      const value = read(json, context, depth);
      return value === skipped ? values : [value];
    }
    for (let i = 0; i < json.length; i++) {
      context.steps[depth] = i;
      const value = read(json[i], context, depth + 1);
      if (value !== skipped) values.push(value);
    }
    return values;
  };
}

/** Null is an absent entry, but in a map of raw_json. */
function mapReader(read: ReadValue, key: ValuePlan, raw: boolean): ReadValue {
  return (json, context, depth) => {
    if (!isObject(json)) return failKind(context, depth, "an object", json);
    const map: Fields = {};
    for (const name of Object.keys(json)) {
      if (json[name] === null && !raw) continue;
      context.steps[depth] = name;
      checkKey(key, name, context, depth + 1);
      const value = read(json[name], context, depth + 1);
      if (value !== skipped) setKey(map, name, value);
    }
    return map;
  };
}

const integerKey = /^(?:0|-?[1-9][0-9]{0,19})$/;

function checkKey(key: ValuePlan, name: string, context: DecodeContext, depth: number): void {
  if (key.kind === "string") {
    if (!name.isWellFormed()) fail(context, depth, "the name holds half of a surrogate pair: no Unicode text");
  } else if (key.kind === "bool") {
    if (name !== "true" && name !== "false") fail(context, depth, `${quoteShort(name)} is not true or false`);
  } else if (key.kind === "int" || key.kind === "long") {
    if (!integerKey.test(name)) fail(context, depth, `${quoteShort(name)} is not an integer`);
    const value = BigInt(name);
    if (value < key.min) fail(context, depth, `${name} is below the minimum ${key.min}`);
    if (value > key.max) fail(context, depth, `${name} is above the maximum ${key.max}`);
  }
}

/** Whether a JSON value is an object; not an array, not null. */
export function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
