import { create } from "@bufbuild/protobuf";
import { type DecodeContext, fail, failKind, ignore, type ReadValue, skipped, sourceText } from "./decode-context.ts";
import { fieldReader, isObject } from "./decode-values.ts";
import type { Fields, OneofValue } from "./fields.ts";
import { quoteShort } from "./path.ts";
import type { FieldPlan, MemberPlan, MessagePlan, TaggedPlan, UntaggedPlan } from "./plan.ts";
import { inlinePlan, isEmpty } from "./plan-checks.ts";
import { describeDispatch, describeKind, selectMember } from "./union.ts";

/** Reads a member, not null, into its message; `object` is the JSON object it stands in. */
type MemberReader = (
  message: Fields,
  json: unknown,
  context: DecodeContext,
  depth: number,
  object: Record<string, unknown>,
) => void;

/** Members by JSON name. */
type MemberTable = ReadonlyMap<string, MemberReader>;

/** Where unknown members go, if anywhere. */
interface Rest {
  readonly local: string;
  /** They are content: neither listed nor refused. */
  readonly open: boolean;
}

const readers = new WeakMap<MessagePlan, ReadValue>();

/** The decoder of a message, compiled to closures on first use. */
export function messageReader(plan: MessagePlan): ReadValue {
  return readers.get(plan) ?? compileMessage(plan);
}

function compileMessage(plan: MessagePlan): ReadValue {
  const { shape, desc } = plan;
  switch (shape.kind) {
    case "http_body":
      return register(plan, (_, context, depth) => fail(context, depth, "google.api.HttpBody is never JSON"));
    case "object": {
      // Registered before its members are compiled: they may hold this very message.
      let readMembers: ReadMembers = () => {};
      const reader = register(plan, (json, context, depth) => {
        if (!isObject(json)) return failKind(context, depth, "an object", json);
        const message = create(desc) as unknown as Fields;
        readMembers(message, json, context, depth);
        return message;
      });
      readMembers = objectReader(shape.members);
      return reader;
    }
    case "flat":
    case "union": {
      let read: MemberReader = () => {};
      // As it is printed: in a list, where nothing can be left out.
      const nullIsAbsent = shape.kind === "flat" && shape.field.presence && shape.field.value.kind !== "raw";
      const reader = register(plan, (json, context, depth) => {
        const message = create(desc) as unknown as Fields;
        if (json !== null || !nullIsAbsent) read(message, json, context, depth, {});
        return message;
      });
      read = shape.kind === "flat" ? setField(shape.field) : untaggedMember(shape.union);
      return reader;
    }
  }
}

function register(plan: MessagePlan, reader: ReadValue): ReadValue {
  readers.set(plan, reader);
  return reader;
}

type ReadMembers = (message: Fields, json: Record<string, unknown>, context: DecodeContext, depth: number) => void;

function objectReader(members: readonly MemberPlan[]): ReadMembers {
  const table = memberTable(members);
  const rest = restOf(members);
  const tagged = members.find((member) => member.kind === "tagged");
  if (tagged !== undefined) return taggedObjectReader(tagged, table, rest);
  return (message, json, context, depth) => {
    let unknown = "";
    for (const name of Object.keys(json)) {
      const read = table.get(name);
      const value = json[name];
      context.steps[depth] = name;
      if (read === undefined) unknown = addUnknown(unknown, name, value, rest, context, depth + 1);
      else if (value !== null) read(message, value, context, depth + 1, json);
    }
    if (unknown !== "" && rest !== undefined) message[rest.local] = `${unknown}}`;
  };
}

function memberTable(members: readonly MemberPlan[]): Map<string, MemberReader> {
  const table = new Map<string, MemberReader>();
  for (const member of members) {
    if (member.kind === "field") {
      const read = setField(member.field);
      const names = [member.field.name, ...member.field.aliases];
      for (const name of names) table.set(name, names.length === 1 ? read : oneName(name, names, read));
    } else if (member.kind === "untagged") table.set(member.name, untaggedMember(member));
  }
  return table;
}

function restOf(members: readonly MemberPlan[]): Rest | undefined {
  const member = members.find(({ kind }) => kind === "rest");
  return member?.kind === "rest" ? { local: member.field.local, open: member.open } : undefined;
}

/** Lists a member that nothing has taken, and adds its source to the object of those where a field collects it. */
function addUnknown(
  unknown: string,
  name: string,
  json: unknown,
  rest: Rest | undefined,
  context: DecodeContext,
  depth: number,
): string {
  if (rest?.open !== true) ignore(context, depth);
  if (rest === undefined) return unknown;
  return `${unknown === "" ? "{" : `${unknown},`}${JSON.stringify(name)}:${sourceText(context, depth, json)}`;
}

/** A field under one of its names. The same value under two names is what we print ourselves with emit_aliases. */
function oneName(name: string, names: readonly string[], read: MemberReader): MemberReader {
  const others = names.filter((other) => other !== name);
  const canonical = names[0] as string;
  return (message, json, context, depth, object) => {
    for (const other of others) {
      if (own(object, other) === null) continue;
      if (context.mode === "upstream") {
        if (other === canonical) return;
      } else if (JSON.stringify(object[other]) !== JSON.stringify(json)) {
        fail(context, depth, `given twice, with another value as ${other}`);
      }
    }
    read(message, json, context, depth, object);
  };
}

function setField(field: FieldPlan): MemberReader {
  const { local, oneof, name } = field;
  const read = fieldReader(field, messageReader);
  if (oneof === undefined) {
    return (message, json, context, depth) => {
      const value = read(json, context, depth);
      if (value !== skipped) message[local] = value;
    };
  }
  const siblings = ("oneof" in field.desc ? field.desc.oneof?.fields : undefined) ?? [];
  return (message, json, context, depth) => {
    const set = (message[oneof] as OneofValue).case;
    if (set !== undefined && set !== local) {
      if (context.mode === "upstream") return ignore(context, depth);
      const other = siblings.find(({ localName }) => localName === set)?.name;
      fail(context, depth, `only one of ${other} and ${name} can be given`);
    }
    const value = read(json, context, depth);
    if (value !== skipped) message[oneof] = { case: local, value };
  };
}

function untaggedMember(union: UntaggedPlan): MemberReader {
  const { dispatch, local } = union;
  const reads = new Map(union.alternatives.map((field) => [field, fieldReader(field, messageReader)]));
  const expected = describeDispatch(dispatch);
  return (message, json, context, depth) => {
    const field = selectMember(dispatch, json);
    const read = field === undefined ? undefined : reads.get(field);
    if (field === undefined || read === undefined) {
      fail(context, depth, `expected ${expected}, got ${describeKind(json)}`);
    }
    const value = read(json, context, depth);
    if (value !== skipped) message[local] = { case: field.local, value };
  };
}

/** A member of a tagged oneof, ready to be read. */
interface Alternative {
  readonly field: FieldPlan;
  readonly tagValue: string;
  /** Inline: the members beside the tag. */
  readonly table: MemberTable;
  readonly rest: Rest | undefined;
  /** Adjacent: the member under its own name. */
  readonly read: ReadValue;
  /** What the alternative is when nothing but the tag is given; undefined: that is too little. */
  readonly createEmpty: (() => unknown) | undefined;
}

function alternatives(plan: TaggedPlan): Map<string, Alternative> {
  const byTag = new Map<string, Alternative>();
  for (const [tagValue, field] of plan.alternatives) {
    const inline = plan.style === "inline" ? inlinePlan(field) : undefined;
    const members = inline?.shape.kind === "object" ? inline.shape.members : [];
    byTag.set(tagValue, {
      field,
      tagValue,
      table: memberTable(members),
      rest: restOf(members),
      read: fieldReader(field, messageReader),
      createEmpty: emptyOf(field, plan.style),
    });
  }
  return byTag;
}

function emptyOf(field: FieldPlan, style: TaggedPlan["style"]): (() => unknown) | undefined {
  const { value } = field;
  if (value.kind !== "message" || (style === "adjacent" && !isEmpty(field))) return undefined;
  return () => create(value.message.desc);
}

function taggedObjectReader(plan: TaggedPlan, table: MemberTable, outerRest: Rest | undefined): ReadMembers {
  const { local } = plan;
  const byTag = alternatives(plan);
  const inline = plan.style === "inline";
  const adjacentNames = new Set(inline ? [] : [...byTag.values()].map(({ field }) => field.name));
  return (message, json, context, depth) => {
    const { chosen, given } = chooseAlternative(plan, byTag, json, context, depth);
    const inlineRest = inline ? chosen?.rest : undefined;
    const rest = inlineRest ?? outerRest;
    let value = inline ? chosen?.createEmpty?.() : undefined;
    let unknown = "";
    for (const name of Object.keys(json)) {
      if (name === plan.tag) continue;
      const member = json[name];
      const read = table.get(name) ?? (inline ? chosen?.table.get(name) : undefined);
      context.steps[depth] = name;
      if (read !== undefined) {
        if (member === null) continue;
        const target = table.has(name) ? message : (value as Fields);
        read(target, member, context, depth + 1, json);
      } else if (!inline && name === chosen?.field.name) {
        if (member !== null) value = chosen.read(member, context, depth + 1);
      } else if (member !== null || !adjacentNames.has(name)) {
        unknown = addUnknown(unknown, name, member, rest, context, depth + 1);
      }
    }
    if (unknown !== "" && rest !== undefined) {
      const target = inlineRest === undefined ? message : (value as Fields);
      target[rest.local] = `${unknown}}`;
    }
    if (chosen === undefined) return;
    if (value === undefined) value = chosen.createEmpty?.();
    if (value === skipped) return;
    if (value !== undefined) message[local] = { case: chosen.field.local, value };
    else if (given && context.mode !== "upstream") {
      context.steps[depth] = chosen.field.name;
      fail(context, depth + 1, `missing, with ${plan.tag} ${quoteShort(chosen.tagValue)}`);
    }
  };
}

/** The alternative that an object is, and whether it says so itself instead of leaving it to the default. */
function chooseAlternative(
  plan: TaggedPlan,
  byTag: ReadonlyMap<string, Alternative>,
  json: Record<string, unknown>,
  context: DecodeContext,
  depth: number,
): { chosen: Alternative | undefined; given: boolean } {
  const tag = own(json, plan.tag);
  const tolerant = context.mode === "upstream";
  context.steps[depth] = plan.tag;
  if (typeof tag === "string") {
    const chosen = byTag.get(tag);
    if (chosen === undefined) {
      if (tolerant) ignore(context, depth + 1);
      else fail(context, depth + 1, `${quoteShort(tag)} is not one of ${[...byTag.keys()].join(", ")}`);
    }
    return { chosen, given: true };
  }
  if (tag !== null) failKind(context, depth + 1, "a string", tag);
  if (plan.style === "adjacent") {
    const present = [...byTag.values()].filter(({ field }) => own(json, field.name) !== null);
    if (present.length === 1) return { chosen: present[0], given: false };
  }
  if (plan.defaultTag !== undefined) return { chosen: byTag.get(plan.defaultTag), given: false };
  if (!tolerant) fail(context, depth + 1, `missing, expected one of ${[...byTag.keys()].join(", ")}`);
  return { chosen: undefined, given: false };
}

/** A member's value; null where there is none. */
function own(json: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(json, name) ? json[name] : null;
}
