import type { DescField, DescOneof } from "@bufbuild/protobuf";
import { SchemaError } from "./annotations.ts";
import type { FieldPlan, MemberPlan, MessagePlan, TaggedPlan } from "./plan.ts";
import { fieldForms } from "./union.ts";

/**
 * Refuses an object whose members can't be told apart, or that this codec has
 * no way to read. Throws {@link SchemaError}.
 */
export function checkObject(members: readonly MemberPlan[]): void {
  const tagged = members.filter((member) => member.kind === "tagged");
  const [first, second] = tagged;
  if (second !== undefined) throw new SchemaError(second.desc, "a message can have one tagged oneof");
  const own = takeNames({ names: new Map(), rest: false }, members);
  if (first?.style !== "inline") return;
  for (const alternative of first.alternatives.values()) {
    const inner = inlinePlan(alternative);
    if (inner.shape.kind !== "object") throw new SchemaError(alternative.desc, "an inline member must be an object");
    if (inner.shape.members.some((member) => member.kind === "tagged")) {
      throw new SchemaError(alternative.desc, "an inline member can't have a tagged oneof itself");
    }
    takeNames({ names: new Map(own.names), rest: own.rest }, inner.shape.members);
  }
}

/** The message of a member of an inline oneof. Throws {@link SchemaError} where it is none. */
export function inlinePlan(alternative: FieldPlan): MessagePlan {
  if (alternative.value.kind !== "message")
    throw new SchemaError(alternative.desc, "an inline member must be a message");
  return alternative.value.message;
}

/** Whether a member is a google.protobuf.Empty, of which an adjacent oneof prints only the tag. */
export function isEmpty(field: FieldPlan): boolean {
  return field.value.kind === "message" && field.value.message.desc.typeName === "google.protobuf.Empty";
}

/** The JSON members of an object that are spoken for. */
interface Taken {
  /** By JSON name, what it is. */
  readonly names: Map<string, string>;
  /** Whether something collects unknown members. */
  rest: boolean;
}

function takeNames(taken: Taken, members: readonly MemberPlan[]): Taken {
  for (const member of members) {
    switch (member.kind) {
      case "field":
        take(taken, member.field.desc, [member.field.name, ...member.field.aliases]);
        checkOneOrList(member.field);
        break;
      case "untagged":
        take(taken, member.desc, [member.name]);
        break;
      case "tagged":
        take(taken, member.desc, taggedNames(member));
        break;
      case "rest":
        if (taken.rest) throw new SchemaError(member.field.desc, "a second unknown_members in one JSON object");
        taken.rest = true;
        break;
    }
  }
  return taken;
}

function taggedNames(member: TaggedPlan): string[] {
  if (member.style === "inline") return [member.tag];
  return [member.tag, ...[...member.alternatives.values()].map(({ name }) => name)];
}

function take(taken: Taken, desc: DescField | DescOneof, names: readonly string[]): void {
  for (const name of names) {
    const other = taken.names.get(name);
    if (other !== undefined) throw new SchemaError(desc, `the JSON member ${name} is ${other} already`);
    taken.names.set(name, `${desc.parent.name}.${desc.name}`);
  }
}

function checkOneOrList(field: FieldPlan): void {
  if (!field.oneOrList) return;
  const bare = fieldForms({ ...field, cardinality: "one" });
  if (bare.some(({ kind }) => kind === "array" || kind === "any")) {
    throw new SchemaError(field.desc, "one_or_list: an element can be an array itself");
  }
}
