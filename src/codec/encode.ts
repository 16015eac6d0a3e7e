import { LoquiError } from "../errors.ts";
import { fixedNames, knownNames, restMember } from "./encode-rest.ts";
import { fieldWriter, type MessageWriter, type ValueWriter } from "./encode-values.ts";
import type { Fields, OneofValue } from "./fields.ts";
import type { FieldPlan, MemberPlan, MessagePlan, TaggedPlan, UntaggedPlan } from "./plan.ts";
import { inlinePlan } from "./plan-checks.ts";

/** Appends members to the text of an object that is still open, empty at first. */
type MemberWriter = (out: string, message: Fields) => string;

const writers = new WeakMap<MessagePlan, MessageWriter>();

/** The encoder of a message, compiled to closures on first use. */
export function messageWriter(plan: MessagePlan): MessageWriter {
  return writers.get(plan) ?? compileMessage(plan);
}

function compileMessage(plan: MessagePlan): MessageWriter {
  const { shape } = plan;
  switch (shape.kind) {
    case "http_body":
      return register(plan, () => {
        throw new LoquiError("internal", "google.api.HttpBody is sent as it is, not as JSON");
      });
    case "object": {
      // Registered before its members are compiled: they may hold this very message.
      const members: MemberWriter[] = [];
      const writer = register(plan, (message) => {
        let out = "";
        for (let i = 0; i < members.length; i++) out = (members[i] as MemberWriter)(out, message);
        return out === "" ? "{}" : `${out}}`;
      });
      members.push(...objectMembers(shape.members));
      return writer;
    }
    case "flat": {
      const { local } = shape.field;
      let write: ValueWriter = () => undefined;
      const writer = register(plan, (message) => {
        const value = message[local];
        return (value === undefined ? undefined : write(value as never)) ?? "null";
      });
      write = fieldWriter(shape.field, messageWriter);
      return writer;
    }
    case "union": {
      const { local } = shape.union;
      const writes = new Map<string | undefined, ValueWriter>();
      const writer = register(plan, (message) => {
        const { case: name, value } = message[local] as OneofValue;
        return writes.get(name)?.(value as never) ?? "null";
      });
      for (const field of shape.union.alternatives) writes.set(field.local, fieldWriter(field, messageWriter));
      return writer;
    }
  }
}

function register(plan: MessagePlan, writer: MessageWriter): MessageWriter {
  writers.set(plan, writer);
  return writer;
}

/** `outer`: the names of the object that an inline member's fields stand in. */
function objectMembers(members: readonly MemberPlan[], outer: ReadonlySet<string> = new Set()): MemberWriter[] {
  return members.map((member) => memberWriter(member, members, outer));
}

function memberWriter(member: MemberPlan, siblings: readonly MemberPlan[], outer: ReadonlySet<string>): MemberWriter {
  switch (member.kind) {
    case "field":
      return fieldMember(member.field);
    case "untagged":
      return untaggedMember(member);
    case "tagged":
      return taggedMember(member, fixedNames(siblings));
    case "rest":
      return restMember(member.field, knownNames(siblings, outer));
  }
}

/** A member's text with what stands before it: `{"name":` where it is the first, else `,"name":`. */
function starts(name: string): { first: string; next: string } {
  return { first: `{${JSON.stringify(name)}:`, next: `,${JSON.stringify(name)}:` };
}

function fieldMember(field: FieldPlan): MemberWriter {
  const { local, oneof } = field;
  const { first, next } = starts(field.name);
  const write = fieldWriter(field, messageWriter);
  const isPresent = presence(field);
  const aliases = field.emitAliases ? field.aliases.map((alias) => starts(alias).next) : [];
  const absent = field.nullWhenAbsent ? "null" : undefined;
  if (oneof === undefined && absent === undefined && aliases.length === 0 && field.value.kind !== "enum") {
    if (field.emitEmpty) return (out, message) => (out === "" ? first : out + next) + write(message[local] as never);
    return (out, message) => {
      const value = message[local];
      return isPresent(value) ? (out === "" ? first : out + next) + write(value as never) : out;
    };
  }
  return (out, message) => {
    const value = oneof === undefined ? message[local] : oneofValue(message[oneof] as OneofValue, local);
    const text = (isPresent(value) ? write(value as never) : undefined) ?? absent;
    if (text === undefined) return out;
    let more = (out === "" ? first : out + next) + text;
    for (const alias of aliases) more += alias + text;
    return more;
  };
}

function oneofValue(oneof: OneofValue, local: string): unknown {
  return oneof.case === local ? oneof.value : undefined;
}

/** Whether a field's value is printed. */
function presence(field: FieldPlan): (value: unknown) => boolean {
  if (field.presence) return (value) => value !== undefined;
  if (field.emitEmpty) return () => true;
  if (field.cardinality === "list") return (value) => (value as unknown[]).length > 0;
  if (field.cardinality === "map") {
    return (value) => {
      for (const _ in value as Fields) return true;
      return false;
    };
  }
  switch (field.value.kind) {
    case "bytes":
      return (value) => (value as Uint8Array).length > 0;
    case "long":
      return (value) => value !== 0n && value !== "0";
    case "string":
    case "raw":
      return (value) => value !== "";
    case "bool":
      return (value) => value !== false;
    default:
      return (value) => value !== 0;
  }
}

function untaggedMember(union: UntaggedPlan): MemberWriter {
  const { local } = union;
  const { first, next } = starts(union.name);
  const writes = new Map<string | undefined, ValueWriter>();
  for (const field of union.alternatives) writes.set(field.local, fieldWriter(field, messageWriter));
  return (out, message) => {
    const { case: name, value } = message[local] as OneofValue;
    const text = name === undefined ? undefined : writes.get(name)?.(value as never);
    return text === undefined ? out : (out === "" ? first : out + next) + text;
  };
}

function taggedMember(plan: TaggedPlan, outer: ReadonlySet<string>): MemberWriter {
  const { local } = plan;
  const { first, next } = starts(plan.tag);
  const writes = new Map<string | undefined, (out: string, value: unknown) => string>();
  for (const [tagValue, field] of plan.alternatives) {
    const tag = JSON.stringify(tagValue);
    const open = first + tag;
    const more = next + tag;
    const body = plan.style === "inline" ? inlineBody(field, outer) : adjacentBody(field);
    writes.set(field.local, (out, value) => body(out === "" ? open : out + more, value));
  }
  return (out, message) => {
    const { case: name, value } = message[local] as OneofValue;
    return writes.get(name)?.(out, value) ?? out;
  };
}

function inlineBody(field: FieldPlan, outer: ReadonlySet<string>): (out: string, value: unknown) => string {
  const { shape } = inlinePlan(field);
  const members = shape.kind === "object" ? objectMembers(shape.members, outer) : [];
  return (out, value) => {
    for (const member of members) out = member(out, value as Fields);
    return out;
  };
}

function adjacentBody(field: FieldPlan): (out: string, value: unknown) => string {
  if (isEmpty(field)) return (out) => out;
  const { next } = starts(field.name);
  const write = fieldWriter(field, messageWriter);
  return (out, value) => {
    const text = write(value as never);
    return text === undefined ? out : out + next + text;
  };
}

/** Whether a member is a google.protobuf.Empty, of which an adjacent oneof prints only the tag. */
export function isEmpty(field: FieldPlan): boolean {
  return field.value.kind === "message" && field.value.message.desc.typeName === "google.protobuf.Empty";
}
