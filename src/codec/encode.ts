import { LoquiError } from "../errors.ts";
import { appendRest, fixedNames, knownNames } from "./encode-rest.ts";
import { fieldWriter, type MessageWriter, type ValueWriter } from "./encode-values.ts";
import type { Fields, OneofValue } from "./fields.ts";
import type { FieldPlan, MemberPlan, MessagePlan, TaggedPlan } from "./plan.ts";
import { inlinePlan, isEmpty } from "./plan-checks.ts";

/**
 * How a member is printed. Records in a loop instead of a closure each: most
 * members of a message are absent, and those cost no call.
 */
interface MemberWriter {
  /** The property that holds the value. */
  readonly local: string;
  /** What it holds when it is absent, beside undefined. */
  readonly zero: unknown;
  /** What stands before the value. */
  readonly name: Opening;
  /** What is printed for an absent value: null under its name, or nothing. */
  readonly absent: Opening | undefined;
  readonly write: ValueWriter;
  /** Prints the member with its name where it is more than that. */
  readonly append: Append | undefined;
  /** Of a string: the last one with its name. */
  readonly memo: Memo | undefined;
}

/** Text of a member, as the first in its object (`{"name":`) and elsewhere (`,"name":`). */
interface Opening {
  readonly first: string;
  readonly next: string;
}

/**
 * The chunks of a stream repeat their id, model and object: one flat string is
 * cheaper than its three parts. Kept only for texts of these lengths.
 */
interface Memo {
  value: string;
  first: string;
  next: string;
}

const minMemo = 12;
const maxMemo = 128;

/** Appends to the text of an object that is still open, empty at first. */
type Append = (out: string, value: unknown, message: Fields) => string;

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
        const out = writeMembers("", members, message);
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
      let write: ValueWriter = () => undefined;
      const writer = register(plan, (message) => write(message[local] as never) ?? "null");
      write = chosenWriter(shape.union.alternatives);
      return writer;
    }
  }
}

function register(plan: MessagePlan, writer: MessageWriter): MessageWriter {
  writers.set(plan, writer);
  return writer;
}

function writeMembers(start: string, members: readonly MemberWriter[], message: Fields): string {
  let out = start;
  for (let i = 0; i < members.length; i++) {
    const member = members[i] as MemberWriter;
    const value = message[member.local];
    let opening: Opening | undefined = member.absent;
    let text = "";
    if (value !== undefined && value !== member.zero) {
      if (member.memo !== undefined && isMemorable(value as string)) {
        opening = remember(member.memo, member.name, value as string);
      } else if (member.append !== undefined) {
        out = member.append(out, value, message);
        continue;
      } else {
        const written = member.write(value as never);
        if (written !== undefined) {
          opening = member.name;
          text = written;
        }
      }
    }
    if (opening !== undefined) out = (out === "" ? opening.first : out + opening.next) + text;
  }
  return out;
}

function isMemorable(value: string): boolean {
  return value.length >= minMemo && value.length <= maxMemo;
}

function remember(memo: Memo, name: Opening, value: string): Memo {
  if (value === memo.value) return memo;
  const text = JSON.stringify(value);
  memo.value = value;
  memo.first = [name.first, text].join("");
  memo.next = [name.next, text].join("");
  return memo;
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
      return { ...named(member.name, member.local), write: chosenWriter(member.alternatives) };
    case "tagged":
      return { ...named(member.tag, member.local), append: appendTagged(member, fixedNames(siblings)) };
    case "rest":
      return {
        ...named("", member.field.local),
        zero: "",
        append: appendRest(member.field, knownNames(siblings, outer)),
      };
  }
}

function named(name: string, local: string): MemberWriter {
  return {
    local,
    zero: undefined,
    name: opening(name),
    absent: undefined,
    write: () => undefined,
    append: undefined,
    memo: undefined,
  };
}

function opening(name: string, text = ""): Opening {
  const quoted = JSON.stringify(name);
  return { first: `{${quoted}:${text}`, next: `,${quoted}:${text}` };
}

function fieldMember(field: FieldPlan): MemberWriter {
  const { oneof } = field;
  const write = oneof === undefined ? withoutEmpty(field, fieldWriter(field, messageWriter)) : chosenWriter([field]);
  const isText = oneof === undefined && field.cardinality === "one" && field.value.kind === "string";
  return {
    local: oneof ?? field.local,
    zero: oneof === undefined && !field.emitEmpty ? zeroOf(field) : undefined,
    name: opening(field.name),
    absent: field.nullWhenAbsent ? opening(field.name, "null") : undefined,
    write,
    append: field.emitAliases ? appendAliases(field, write) : undefined,
    memo: isText && !field.emitAliases ? { value: "", first: "", next: "" } : undefined,
  };
}

/** The value that says a field without presence is absent; of lists, maps and bytes see {@link withoutEmpty}. */
function zeroOf({ presence, cardinality, value }: FieldPlan): unknown {
  if (presence || cardinality !== "one") return undefined;
  switch (value.kind) {
    case "string":
    case "raw":
      return "";
    case "bool":
      return false;
    case "long":
      return value.asText ? "0" : 0n;
    case "int":
    case "float":
    case "enum":
      return 0;
    default:
      return undefined;
  }
}

function withoutEmpty(field: FieldPlan, write: ValueWriter): ValueWriter {
  if (field.presence || field.emitEmpty) return write;
  if (field.cardinality === "list" || (field.cardinality === "one" && field.value.kind === "bytes")) {
    return (value: ArrayLike<unknown>) => (value.length === 0 ? undefined : write(value as never));
  }
  if (field.cardinality === "one") return write;
  return (value: Fields) => (Object.keys(value).length === 0 ? undefined : write(value as never));
}

/** The writer of a oneof's value: of the member that is set, if it is one of these. */
function chosenWriter(alternatives: readonly FieldPlan[]): ValueWriter {
  const writes = new Map<string | undefined, ValueWriter>();
  for (const field of alternatives) writes.set(field.local, fieldWriter(field, messageWriter));
  return ({ case: name, value }: OneofValue) => writes.get(name)?.(value as never);
}

function appendAliases(field: FieldPlan, write: ValueWriter): Append {
  const { first, next } = opening(field.name);
  const others = field.aliases.map((alias) => opening(alias).next);
  return (out, value) => {
    const text = write(value as never);
    if (text === undefined) return out;
    let more = (out === "" ? first : out + next) + text;
    for (const other of others) more += other + text;
    return more;
  };
}

function appendTagged(plan: TaggedPlan, outer: ReadonlySet<string>): Append {
  const appends = new Map<string | undefined, (out: string, value: unknown) => string>();
  for (const [tagValue, field] of plan.alternatives) {
    const { first, next } = opening(plan.tag, JSON.stringify(tagValue));
    const body = plan.style === "inline" ? inlineBody(field, outer) : adjacentBody(field);
    appends.set(field.local, (out, value) => body(out === "" ? first : out + next, value));
  }
  return (out, oneof) => {
    const { case: name, value } = oneof as OneofValue;
    return appends.get(name)?.(out, value) ?? out;
  };
}

function inlineBody(field: FieldPlan, outer: ReadonlySet<string>): (out: string, value: unknown) => string {
  const { shape } = inlinePlan(field);
  const members = shape.kind === "object" ? objectMembers(shape.members, outer) : [];
  return (out, value) => writeMembers(out, members, value as Fields);
}

function adjacentBody(field: FieldPlan): (out: string, value: unknown) => string {
  if (isEmpty(field)) return (out) => out;
  const { next } = opening(field.name);
  const write = fieldWriter(field, messageWriter);
  return (out, value) => {
    const text = write(value as never);
    return text === undefined ? out : out + next + text;
  };
}
