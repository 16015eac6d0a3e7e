import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { field as fieldOption, json_value } from "../../gen/loqui/rest/v1/annotations_pb.ts";

/** A request's members before they are decoded: by name, undefined where there is none. `null` counts as none. */
export type MemberLookup = (name: string) => unknown;

/** When a request goes to a variant of a method. */
export interface Condition {
  readonly source: string;
  /** The field that it looks at. */
  readonly field: DescField;
  /** The JSON value that it asks for; undefined for `has(…)`. */
  readonly literal: boolean | number | string | undefined;
  matches(lookup: MemberLookup): boolean;
}

const pattern = /^(?:has\(([a-z_][a-z_0-9]*)\)|([a-z_][a-z_0-9]*)=(\S+))$/;

/**
 * Compiles the `when` option of a variant: `has(texts)`, `stream=true` or
 * `stream_format=sse`. The member must be a field of the variant's request, and
 * the value one that the field can hold. Throws otherwise.
 */
export function parseCondition(source: string, input: DescMessage): Condition {
  const match = pattern.exec(source);
  if (match === null) throw new Error(`when: ${JSON.stringify(source)} is neither name=value nor has(name)`);
  const name = match[1] ?? match[2];
  const field = input.fields.find((candidate) => candidate.name === name);
  if (field === undefined) throw new Error(`when: ${input.typeName} has no field ${name}`);
  const names = [field.name, ...(hasOption(field, fieldOption) ? getOption(field, fieldOption).aliases : [])];
  const given = (lookup: MemberLookup): unknown => {
    for (const name of names) {
      const value = lookup(name);
      if (value !== undefined && value !== null) return value;
    }
    return undefined;
  };
  const text = match[3];
  if (text === undefined) {
    return { source, field, literal: undefined, matches: (lookup) => given(lookup) !== undefined };
  }
  const literal = literalOf(field, text);
  return {
    source,
    field,
    literal,
    // A form gives text where JSON gives a value.
    matches: (lookup) => {
      const value = given(lookup);
      return value === literal || (typeof value === "string" && formText(value, literal) === text);
    },
  };
}

/** Forms spell booleans as their language does: Python sends `True`. */
function formText(value: string, literal: unknown): string {
  if (typeof literal !== "boolean") return value;
  return value === "1" ? "true" : value.toLowerCase();
}

function literalOf(field: DescField, text: string): boolean | number | string {
  if (field.fieldKind === "enum") {
    const known = field.enum.values.some(
      (value) => hasOption(value, json_value) && getOption(value, json_value) === text,
    );
    if (!known) throw new Error(`when: ${field.enum.typeName} has no value ${text}`);
    return text;
  }
  if (field.fieldKind !== "scalar") throw new Error(`when: ${field.name} is not a scalar`);
  if (field.scalar === ScalarType.STRING) return text;
  if (field.scalar === ScalarType.BOOL) {
    if (text !== "true" && text !== "false") throw new Error(`when: ${field.name} is true or false, not ${text}`);
    return text === "true";
  }
  const number = Number(text);
  if (field.scalar === ScalarType.BYTES || Number.isNaN(number)) {
    throw new Error(`when: ${field.name} can't be ${text}`);
  }
  return number;
}
