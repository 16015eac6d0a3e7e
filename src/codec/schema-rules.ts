import { type DescField, type DescOneof, getOption } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import {
  type FieldRules,
  Ignore,
  oneof as oneofRulesOption,
  field as rulesOption,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import type { JsonSchema } from "./json-schema.ts";
import type { ValuePlan } from "./plan.ts";

/** The protovalidate rules of a field. */
export function fieldRules(field: DescField): FieldRules {
  return getOption(field, rulesOption);
}

/** Whether one member of a oneof must be set. */
export function isOneofRequired(oneof: DescOneof): boolean {
  return getOption(oneof, oneofRulesOption).required;
}

/** Whether a request must give a field: by rule, or because its zero value breaks a rule. */
export function isRequired(field: DescField): boolean {
  const rules = fieldRules(field);
  if (rules.ignore === Ignore.ALWAYS) return false;
  if (rules.required) return true;
  if (field.presence !== FeatureSet_FieldPresence.IMPLICIT || rules.ignore === Ignore.IF_ZERO_VALUE) return false;
  const { min = 0, gt, notIn = [] } = zeroBounds(rules);
  return min > 0 || (gt !== undefined && gt >= 0) || notIn.includes(0);
}

function zeroBounds(rules: FieldRules): { min?: number; gt?: number | undefined; notIn?: readonly unknown[] } {
  const { type } = rules;
  switch (type.case) {
    case "string":
      return {
        min: Math.max(...["len", "minLen", "lenBytes", "minBytes"].map((name) => given(type.value, name) ?? 0)),
      };
    case "bytes":
      return { min: Math.max(given(type.value, "len") ?? 0, given(type.value, "minLen") ?? 0) };
    case "repeated":
      return { min: given(type.value, "minItems") ?? 0 };
    case "map":
      return { min: given(type.value, "minPairs") ?? 0 };
    case "enum":
      return { notIn: type.value.notIn };
    case undefined:
      return {};
    default: {
      const { lower } = numberRules(type.value);
      return lower?.case === "gte" ? { min: lower.value } : { gt: lower?.value };
    }
  }
}

/** The keywords of a value's rules; lists and maps have theirs in {@link listKeywords} and {@link mapKeywords}. */
export function valueKeywords(plan: ValuePlan, rules: FieldRules | undefined): JsonSchema {
  // The rules of a raw_json field are about its text, not about the value.
  if (rules === undefined || plan.kind === "raw") return {};
  const { type } = rules;
  switch (type.case) {
    case "string":
      return stringKeywords(type.value);
    case "bytes":
      return bytesKeywords(given(type.value, "minLen"), given(type.value, "maxLen"));
    case "enum":
      return plan.kind === "enum" ? enumKeywords(plan, type.value) : {};
    case undefined:
    case "bool":
    case "repeated":
    case "map":
    case "any":
    case "duration":
    case "fieldMask":
    case "timestamp":
      return {};
    default:
      return plan.kind === "long" && !plan.asNumber ? {} : numberKeywords(type.value);
  }
}

export function listKeywords({ type, required }: FieldRules): JsonSchema {
  if (type.case !== "repeated") return required ? { minItems: 1 } : {};
  return {
    ...some("minItems", given(type.value, "minItems") ?? (required ? 1 : undefined)),
    ...some("maxItems", given(type.value, "maxItems")),
    ...(type.value.unique && { uniqueItems: true }),
  };
}

export function mapKeywords({ type }: FieldRules): JsonSchema {
  if (type.case !== "map") return {};
  const keys = valueKeywords({ kind: "string" }, type.value.keys);
  return {
    ...some("minProperties", given(type.value, "minPairs")),
    ...some("maxProperties", given(type.value, "maxPairs")),
    ...(Object.keys(keys).length > 0 && { propertyNames: keys }),
  };
}

/** A string's length is in code points on both sides; a bound in bytes holds for code points too. */
function stringKeywords(rules: Extract<FieldRules["type"], { case: "string" }>["value"]): JsonSchema {
  const length = given(rules, "len");
  const minBytes = given(rules, "minBytes") ?? given(rules, "lenBytes");
  return {
    ...(Object.hasOwn(rules, "const") && { const: rules.const }),
    ...some("minLength", length ?? given(rules, "minLen") ?? (minBytes && Math.ceil(minBytes / 4))),
    ...some("maxLength", length ?? given(rules, "maxLen") ?? given(rules, "maxBytes") ?? given(rules, "lenBytes")),
    ...(rules.pattern !== "" && isPattern(rules.pattern) && { pattern: rules.pattern }),
    ...(rules.pattern === "" && rules.prefix !== "" && { pattern: `^${escapePattern(rules.prefix)}` }),
    ...(rules.in.length > 0 && { enum: rules.in }),
    ...(rules.notIn.length > 0 && { not: { enum: rules.notIn } }),
  };
}

/** RE2 and JavaScript agree on most patterns; one that JavaScript can't read is left out. */
function isPattern(pattern: string): boolean {
  try {
    return new RegExp(pattern, "u").source !== "";
  } catch {
    return false;
  }
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

function bytesKeywords(min: number | undefined, max: number | undefined): JsonSchema {
  const words = [min && `at least ${min}`, max && `at most ${max}`].filter(Boolean).join(", ");
  return {
    ...some("minLength", min && Math.ceil((min * 4) / 3)),
    ...some("maxLength", max && Math.ceil(max / 3) * 4),
    ...(words !== "" && { description: `Base64 of ${words} bytes.` }),
  };
}

function enumKeywords(
  { table }: Extract<ValuePlan, { kind: "enum" }>,
  rules: Extract<FieldRules["type"], { case: "enum" }>["value"],
): JsonSchema {
  const allowed = [...table.byName].filter(
    ([, number]) =>
      (rules.in.length === 0 || rules.in.includes(number)) &&
      !rules.notIn.includes(number) &&
      (!Object.hasOwn(rules, "const") || rules.const === number),
  );
  return { enum: allowed.map(([name]) => name) };
}

/** What the rules of all kinds of numbers have in common. */
interface NumberRules {
  readonly lessThan?: { readonly case: string | undefined; readonly value?: unknown };
  readonly greaterThan?: { readonly case: string | undefined; readonly value?: unknown };
  readonly in?: readonly unknown[];
  readonly notIn?: readonly unknown[];
}

interface Bound {
  readonly case: string;
  readonly value: number;
}

function numberRules(rules: object): { upper: Bound | undefined; lower: Bound | undefined } {
  const { lessThan, greaterThan } = rules as NumberRules;
  return { upper: bound(lessThan), lower: bound(greaterThan) };
}

function bound(rule: NumberRules["lessThan"]): Bound | undefined {
  return rule?.case === undefined ? undefined : { case: rule.case, value: Number(rule.value) };
}

function numberKeywords(rules: object): JsonSchema {
  const { upper, lower } = numberRules(rules);
  const { in: values = [], notIn = [] } = rules as NumberRules;
  // A lower bound above the upper one means what lies outside: no keyword says that.
  const range = upper === undefined || lower === undefined || lower.value <= upper.value;
  const exact = given(rules, "const");
  return {
    ...some("const", exact),
    ...(range && lower !== undefined && { [lower.case === "gte" ? "minimum" : "exclusiveMinimum"]: lower.value }),
    ...(range && upper !== undefined && { [upper.case === "lte" ? "maximum" : "exclusiveMaximum"]: upper.value }),
    ...(values.length > 0 && { enum: values.map(Number) }),
    ...(notIn.length > 0 && { not: { enum: notIn.map(Number) } }),
  };
}

/** A number of a rule that is set; validate.proto is proto2, where unset fields have defaults on the prototype. */
function given(rules: object, name: string): number | undefined {
  return Object.hasOwn(rules, name) ? Number((rules as Record<string, unknown>)[name]) : undefined;
}

function some(keyword: keyof JsonSchema, value: number | undefined): JsonSchema {
  return value === undefined ? {} : { [keyword]: value };
}
