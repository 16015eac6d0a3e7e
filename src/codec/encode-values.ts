import type { DescField } from "@bufbuild/protobuf";
import { LoquiError } from "../errors.ts";
import type { Fields } from "./fields.ts";
import type { FieldPlan, MessagePlan, ValuePlan } from "./plan.ts";
import { quote } from "./quote.ts";

/** JSON text of a value; undefined for an enum value without one. */
export type ValueWriter = (value: never) => string | undefined;

/** JSON text of a message. */
export type MessageWriter = (message: Fields) => string;

/** The writer of a whole field: a single value, a list or a map. */
export function fieldWriter(field: FieldPlan, messageWriter: (plan: MessagePlan) => MessageWriter): ValueWriter {
  const write = valueWriter(field.desc, field.value, messageWriter);
  if (field.cardinality === "map") return mapWriter(write);
  if (field.cardinality === "one") return write;
  const list = listWriter(field, write);
  if (!field.oneOrList) return list;
  return (values: never[]) => (values.length === 1 ? write(values[0] as never) : undefined) ?? list(values as never);
}

function valueWriter(
  desc: DescField,
  plan: ValuePlan,
  messageWriter: (plan: MessagePlan) => MessageWriter,
): ValueWriter {
  switch (plan.kind) {
    case "string":
      return quote;
    case "bool":
      return (value: boolean) => (value ? "true" : "false");
    case "int":
      return (value: number) => `${value}`;
    case "float":
      return (value: number) => (Number.isFinite(value) ? `${value}` : notFinite(desc, value));
    case "long":
      return plan.asNumber ? (value: bigint | string) => `${value}` : (value: bigint | string) => `"${value}"`;
    case "bytes":
      return (value: Uint8Array) =>
        `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64")}"`;
    case "raw":
      return (value: string) => checkRaw(desc, value);
    case "enum": {
      const quoted: (string | undefined)[] = [];
      for (const [number, name] of plan.table.byNumber) quoted[number] = JSON.stringify(name);
      return (value: number) => quoted[value];
    }
    case "message":
      return messageWriter(plan.message);
  }
}

/** Numbers and strings of a list all at once: JSON.stringify writes those as this codec does. */
function listWriter(field: FieldPlan, write: ValueWriter): ValueWriter {
  switch (field.value.kind) {
    case "float":
      return (values: number[]) => {
        for (const value of values) if (!Number.isFinite(value)) notFinite(field.desc, value);
        return JSON.stringify(values);
      };
    case "string":
    case "bool":
    case "int":
      return JSON.stringify;
    default:
      return (values: never[]) => {
        let out = "";
        for (let i = 0; i < values.length; i++) {
          const text = write(values[i] as never);
          if (text !== undefined) out += out === "" ? `[${text}` : `,${text}`;
        }
        return out === "" ? "[]" : `${out}]`;
      };
  }
}

function mapWriter(write: ValueWriter): ValueWriter {
  return (map: Record<string, never>) => {
    let out = "";
    for (const key of Object.keys(map)) {
      const text = write(map[key] as never);
      if (text !== undefined) out += `${out === "" ? "{" : ","}${quote(key)}:${text}`;
    }
    return out === "" ? "{}" : `${out}}`;
  };
}

function notFinite(desc: DescField, value: number): never {
  throw new LoquiError("internal", `${desc.parent.name}.${desc.name}: ${value} has no JSON`, { param: desc.name });
}

/** What was read from JSON is valid, what came as Protobuf perhaps not: one broken value would break the whole text. */
export function checkRaw(desc: DescField, text: string): string {
  parseRaw(desc, text);
  return text;
}

/** The value of a raw_json field. Throws `invalid_request` where it is not JSON. */
export function parseRaw(desc: DescField, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LoquiError("invalid_request", `${desc.parent.name}.${desc.name}: not valid JSON`, {
      param: desc.name,
      code: "invalid_json",
      cause,
    });
  }
}
