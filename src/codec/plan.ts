import { type DescField, type DescMessage, type DescOneof, ScalarType } from "@bufbuild/protobuf";
import { descName, type EnumTable, enumTable, fieldJson, oneofJson, SchemaError } from "./annotations.ts";
import { checkObject } from "./plan-checks.ts";
import { emptyDispatch, type UnionDispatch, unionDispatch } from "./union.ts";

/** What a single value is, apart from being repeated or keyed. */
export type ValuePlan =
  | { readonly kind: "string" }
  | { readonly kind: "bool" }
  | { readonly kind: "float"; readonly max: number }
  | { readonly kind: "int"; readonly min: number; readonly max: number }
  | {
      readonly kind: "long";
      readonly min: bigint;
      readonly max: bigint;
      /** Printed as a JSON number. */
      readonly asNumber: boolean;
      /** A string in the message (`jstype = JS_STRING`). */
      readonly asText: boolean;
    }
  | { readonly kind: "bytes" }
  | { readonly kind: "raw" }
  | { readonly kind: "enum"; readonly table: EnumTable }
  | { readonly kind: "message"; readonly message: MessagePlan };

export interface FieldPlan {
  readonly desc: DescField;
  /** The JSON member's name. */
  readonly name: string;
  readonly local: string;
  readonly cardinality: "one" | "list" | "map";
  readonly value: ValuePlan;
  /** The plan of a map's keys. */
  readonly key: ValuePlan | undefined;
  /** Absent is a state of its own: `optional`, message-typed, or in a oneof. */
  readonly presence: boolean;
  /** The oneof's property where the field stands in one. */
  readonly oneof: string | undefined;
  readonly aliases: readonly string[];
  readonly emitAliases: boolean;
  readonly nullWhenAbsent: boolean;
  readonly emitEmpty: boolean;
  readonly oneOrList: boolean;
  readonly flatten: boolean;
  readonly tagValue: string;
  readonly has: string;
}

export interface UntaggedPlan {
  readonly kind: "untagged";
  readonly desc: DescOneof;
  readonly name: string;
  readonly local: string;
  readonly alternatives: readonly FieldPlan[];
  /** Set last: telling members apart needs the shapes of all of them. */
  dispatch: UnionDispatch;
}

export interface TaggedPlan {
  readonly kind: "tagged";
  readonly style: "inline" | "adjacent";
  readonly desc: DescOneof;
  readonly local: string;
  readonly tag: string;
  readonly defaultTag: string | undefined;
  /** By tag value, in the order of declaration. */
  readonly alternatives: ReadonlyMap<string, FieldPlan>;
}

export type MemberPlan =
  | { readonly kind: "field"; readonly field: FieldPlan }
  | UntaggedPlan
  | TaggedPlan
  /** Collects unknown members; `open`: they are content, neither listed nor refused. */
  | { readonly kind: "rest"; readonly field: FieldPlan; readonly open: boolean };

export type ShapePlan =
  | { readonly kind: "object"; readonly members: readonly MemberPlan[] }
  /** The JSON of the message is the JSON of its only field. */
  | { readonly kind: "flat"; readonly field: FieldPlan }
  /** The JSON of the message is the JSON of the member that is set in its only oneof. */
  | { readonly kind: "union"; readonly union: UntaggedPlan }
  /** google.api.HttpBody: bytes with a media type of their own, never JSON. */
  | { readonly kind: "http_body" };

export interface MessagePlan {
  readonly desc: DescMessage;
  readonly shape: ShapePlan;
}

/** A plan while it is being made: recursive messages refer to it before it has a shape. */
interface OpenPlan {
  desc: DescMessage;
  shape: ShapePlan;
}

const plans = new WeakMap<DescMessage, MessagePlan>();

/**
 * What the annotations make of a message and of all that it reaches: the
 * intermediate form from which encoder, decoder and JSON Schema are compiled.
 * Throws {@link SchemaError} on ambiguous or contradictory annotations.
 */
export function planOf(desc: DescMessage): MessagePlan {
  const known = plans.get(desc);
  if (known !== undefined) return known;
  const made = new Map<DescMessage, OpenPlan>();
  const plan = openPlan(desc, made);
  // Kinds and names can be compared only when every message reached has its shape.
  for (const { shape } of made.values()) {
    const members = shape.kind === "object" ? shape.members : shape.kind === "union" ? [shape.union] : [];
    for (const member of members) {
      if (member.kind === "untagged") member.dispatch = unionDispatch(member.desc, member.alternatives);
    }
    if (shape.kind === "object") checkObject(shape.members);
  }
  for (const [message, finished] of made) plans.set(message, finished);
  return plan;
}

function openPlan(desc: DescMessage, made: Map<DescMessage, OpenPlan>): MessagePlan {
  const known = plans.get(desc) ?? made.get(desc);
  if (known !== undefined) return known;
  if (desc.typeName === "google.api.HttpBody") {
    const plan: OpenPlan = { desc, shape: { kind: "http_body" } };
    made.set(desc, plan);
    return plan;
  }
  if (desc.file.proto.syntax !== "proto3") throw new SchemaError(desc, "only proto3 messages have JSON here");
  if (desc.typeName.startsWith("google.protobuf.") && desc.typeName !== "google.protobuf.Empty") {
    throw new SchemaError(desc, "of the well-known types only google.protobuf.Empty has JSON here");
  }
  const plan: OpenPlan = { desc, shape: { kind: "object", members: [] } };
  made.set(desc, plan);
  plan.shape = shapePlan(desc, (message) => openPlan(message, made));
  return plan;
}

type PlanMessage = (desc: DescMessage) => MessagePlan;

function shapePlan(desc: DescMessage, planMessage: PlanMessage): ShapePlan {
  const only = desc.members.length === 1 ? desc.members[0] : undefined;
  const members: MemberPlan[] = [];
  for (const member of desc.members) {
    if (member.kind === "oneof") {
      const options = oneofJson(member);
      if (options.flatten && (options.styleName !== "untagged" || member !== only)) {
        throw new SchemaError(member, "flatten is for an untagged oneof that is all its message has");
      }
      const plans = oneofPlans(member, planMessage);
      const first = plans[0];
      if (options.flatten && first?.kind === "untagged") return { kind: "union", union: first };
      members.push(...plans);
      continue;
    }
    const options = fieldJson(member);
    const field = fieldPlan(member, planMessage);
    if (field.tagValue !== "" || field.has !== "") {
      throw new SchemaError(member, "tag_value and has belong to members of oneofs");
    }
    if (field.flatten) {
      if (member !== only) throw new SchemaError(member, "flatten is for the only field of a message");
      if (field.aliases.length > 0 || field.nullWhenAbsent || field.emitEmpty || options.unknownMembers) {
        throw new SchemaError(member, "a flattened field is no member: nothing else about a member holds for it");
      }
      return { kind: "flat", field };
    }
    if (options.unknownMembers) members.push({ kind: "rest", field, open: options.open });
    else if (options.open) throw new SchemaError(member, "open belongs to unknown_members");
    else members.push({ kind: "field", field });
  }
  return { kind: "object", members };
}

function oneofPlans(oneof: DescOneof, planMessage: PlanMessage): MemberPlan[] {
  const options = oneofJson(oneof);
  const alternatives = oneof.fields.map((field) => fieldPlan(field, planMessage));
  const tagged = options.styleName === "inline" || options.styleName === "adjacent";
  if (!tagged && (options.tag !== "" || options.defaultTag !== "")) {
    throw new SchemaError(oneof, "tag and default_tag belong to a tagged style");
  }
  for (const alternative of alternatives) {
    if (!tagged && alternative.tagValue !== "") {
      throw new SchemaError(alternative.desc, "tag_value belongs to a member of a tagged oneof");
    }
    if (options.styleName !== "untagged" && alternative.has !== "") {
      throw new SchemaError(alternative.desc, "has belongs to a member of an untagged oneof");
    }
    if (options.styleName !== "separate" && (alternative.aliases.length > 0 || alternative.nullWhenAbsent)) {
      throw new SchemaError(alternative.desc, "aliases and null_when_absent need a member of the field's own");
    }
  }
  if (options.styleName === "separate") return alternatives.map((field) => ({ kind: "field", field }));
  if (options.styleName === "untagged") {
    const { name, localName: local } = oneof;
    return [{ kind: "untagged", desc: oneof, name, local, alternatives, dispatch: emptyDispatch }];
  }
  if (options.tag === "") throw new SchemaError(oneof, "a tagged style needs a tag");
  const byTag = new Map<string, FieldPlan>();
  for (const alternative of alternatives) {
    const value = alternative.tagValue || alternative.name;
    if (byTag.has(value)) throw new SchemaError(alternative.desc, `tag_value "${value}" stands for two members`);
    byTag.set(value, alternative);
  }
  if (options.defaultTag !== "" && !byTag.has(options.defaultTag)) {
    throw new SchemaError(oneof, `default_tag "${options.defaultTag}" is none of ${[...byTag.keys()].join(", ")}`);
  }
  return [
    {
      kind: "tagged",
      style: options.styleName,
      desc: oneof,
      local: oneof.localName,
      tag: options.tag,
      defaultTag: options.defaultTag || undefined,
      alternatives: byTag,
    },
  ];
}

function fieldPlan(desc: DescField, planMessage: PlanMessage): FieldPlan {
  const options = fieldJson(desc);
  const raw = options.rawJson || options.unknownMembers;
  const value = valuePlan(desc, raw, options.number, planMessage);
  const cardinality = desc.fieldKind === "list" ? "list" : desc.fieldKind === "map" ? "map" : "one";
  const inOneof = "oneof" in desc && desc.oneof !== undefined;
  const presence = cardinality === "one" && (inOneof || desc.proto.proto3Optional || desc.fieldKind === "message");
  if (raw && value.kind !== "raw") throw new SchemaError(desc, "raw_json and unknown_members are for strings");
  if (options.number && value.kind !== "long") throw new SchemaError(desc, "number is for 64-bit integers");
  if (options.unknownMembers && (cardinality !== "one" || inOneof)) {
    throw new SchemaError(desc, "unknown_members is for one string outside of oneofs");
  }
  if (options.oneOrList && cardinality !== "list") throw new SchemaError(desc, "one_or_list is for repeated fields");
  if (options.emitEmpty && presence) {
    throw new SchemaError(desc, "emit_empty is for fields without presence: this one is absent or printed");
  }
  if (options.emitEmpty && options.nullWhenAbsent) {
    throw new SchemaError(desc, "emit_empty and null_when_absent exclude each other");
  }
  if (options.emitEmpty && cardinality === "one" && value.kind === "enum" && !value.table.byNumber.has(0)) {
    throw new SchemaError(desc, `emit_empty needs a json_value of the zero value of ${descName(value.table.desc)}`);
  }
  if (options.emitAliases && options.aliases.length === 0) throw new SchemaError(desc, "emit_aliases without aliases");
  return {
    desc,
    name: desc.name,
    local: desc.localName,
    cardinality,
    value,
    key: desc.fieldKind === "map" ? scalarPlan(desc, desc.mapKey, false, false) : undefined,
    presence,
    oneof: inOneof ? desc.oneof.localName : undefined,
    aliases: options.aliases,
    emitAliases: options.emitAliases,
    nullWhenAbsent: options.nullWhenAbsent,
    emitEmpty: options.emitEmpty,
    oneOrList: options.oneOrList,
    flatten: options.flatten,
    tagValue: options.tagValue,
    has: options.has,
  };
}

function valuePlan(desc: DescField, raw: boolean, asNumber: boolean, planMessage: PlanMessage): ValuePlan {
  if (desc.message !== undefined) {
    const message = planMessage(desc.message);
    const oneof = "oneof" in desc ? desc.oneof : undefined;
    const stands = oneof !== undefined && oneofJson(oneof).flatten;
    if (message.shape.kind === "http_body" && !stands) {
      throw new SchemaError(desc, "google.api.HttpBody stands only in a flattened oneof: it is never JSON");
    }
    return { kind: "message", message };
  }
  if (desc.enum !== undefined) return { kind: "enum", table: enumTable(desc.enum) };
  if (desc.scalar === ScalarType.STRING && raw) return { kind: "raw" };
  const asText = "longAsString" in desc && desc.longAsString;
  return scalarPlan(desc, desc.scalar, asNumber, asText);
}

function scalarPlan(desc: DescField, scalar: ScalarType, asNumber: boolean, asText: boolean): ValuePlan {
  switch (scalar) {
    case ScalarType.STRING:
      return { kind: "string" };
    case ScalarType.BOOL:
      return { kind: "bool" };
    case ScalarType.BYTES:
      return { kind: "bytes" };
    case ScalarType.DOUBLE:
      return { kind: "float", max: Number.MAX_VALUE };
    case ScalarType.FLOAT:
      return { kind: "float", max: 3.4028234663852886e38 };
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return { kind: "int", min: -2147483648, max: 2147483647 };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { kind: "int", min: 0, max: 4294967295 };
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return { kind: "long", min: -9223372036854775808n, max: 9223372036854775807n, asNumber, asText };
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return { kind: "long", min: 0n, max: 18446744073709551615n, asNumber, asText };
    default:
      throw new SchemaError(desc, `unknown scalar type ${scalar satisfies never}`);
  }
}
