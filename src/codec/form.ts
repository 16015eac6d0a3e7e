import { LoquiError } from "../errors.ts";
import type { FormFile } from "./codec.ts";
import { FileBytes } from "./decode-values.ts";
import { type Fields, setKey } from "./fields.ts";
import { maxJsonDepth, parseJson } from "./json-source.ts";
import { formatPath, quoteShort } from "./path.ts";
import type { FieldPlan, MemberPlan, MessagePlan, UntaggedPlan, ValuePlan } from "./plan.ts";
import { inlinePlan } from "./plan-checks.ts";
import { compositeNode, leafNode, type SourceNode, sourceTree } from "./raw-spans.ts";
import { type Form, fieldForms } from "./union.ts";

/** A JSON value put together from text, with the source that raw_json fields are cut from. */
export interface FormPart {
  readonly value: unknown;
  readonly source: SourceNode;
}

/** What a form says about one member: its entries, or entries of members below it. */
type Slot =
  | { readonly kind: "entries"; readonly member: FormMember | undefined; readonly entries: (string | FormFile)[] }
  | { readonly kind: "object"; readonly slots: Map<string, Slot> };

/** A member that a form can name: a field, an untagged oneof, or the tag of a tagged one. */
type FormMember = FieldPlan | UntaggedPlan | "tag";

/**
 * The JSON object that a form stands for: its texts become the JSON kinds that
 * their fields want. Throws `invalid_request` for a text that its field can't be.
 */
export function formPart(plan: MessagePlan, fields: Iterable<readonly [string, string | FormFile]>): FormPart {
  const slots = new Map<string, Slot>();
  for (const [name, entry] of fields) addEntry(slots, plan, [], name, entry);
  return objectPart(slots, []);
}

function addEntry(
  slots: Map<string, Slot>,
  plan: MessagePlan,
  path: readonly string[],
  name: string,
  entry: string | FormFile,
): void {
  const member = findMember(plan, name);
  const parts = member === undefined && path.length < maxJsonDepth ? splitName(name) : undefined;
  const parent = parts === undefined ? undefined : findMember(plan, parts.head);
  if (parts !== undefined && parent !== undefined) {
    const head = memberName(parent) ?? parts.head;
    if (parts.rest === "") {
      addEntry(slots, plan, path, parts.head, entry);
      return;
    }
    const nested = nestedPlan(parent, parts.rest);
    if (nested !== undefined) {
      const slot = slots.get(head) ?? { kind: "object", slots: new Map() };
      if (slot.kind !== "object") throw formError([...path, head], "given both as a whole and by its members");
      slots.set(head, slot);
      addEntry(slot.slots, nested, [...path, head], parts.rest, entry);
      return;
    }
  }
  const key = memberName(member) ?? name;
  const slot = slots.get(key) ?? { kind: "entries", member, entries: [] };
  if (slot.kind !== "entries") throw formError([...path, key], "given both as a whole and by its members");
  slot.entries.push(entry);
  slots.set(key, slot);
}

/** `a.b`, `a[b]` (as OpenAI's SDKs write it) and `a[]`: what stands before and in the first step. */
function splitName(name: string): { head: string; rest: string } | undefined {
  const parts = /^([^.[\]]+)(?:\.(.+)|\[([^\]]*)\](.*))$/s.exec(name);
  if (parts === null) return undefined;
  const [, head = "", dotted, bracketed = "", more = ""] = parts;
  return { head, rest: dotted ?? `${bracketed}${more}` };
}

/** Aliases go by the member's own name, so that entries under several names come together. */
function memberName(member: FormMember | undefined): string | undefined {
  return member === undefined || member === "tag" ? undefined : member.name;
}

/** The message below a member that has a member for the rest of a name. */
function nestedPlan(member: FormMember, rest: string): MessagePlan | undefined {
  if (member === "tag") return undefined;
  const fields = "alternatives" in member ? member.alternatives : [member];
  for (const { cardinality, value } of fields) {
    if (cardinality !== "one" || value.kind !== "message") continue;
    const { message } = value;
    const alternatives = message.shape.kind === "union" ? message.shape.union.alternatives : [];
    for (const alternative of alternatives) {
      const nested = nestedPlan(alternative, rest);
      if (nested !== undefined) return nested;
    }
    if (findMember(message, rest) !== undefined || findMember(message, splitName(rest)?.head ?? rest)) return message;
  }
  return undefined;
}

function findMember(plan: MessagePlan, name: string): FormMember | undefined {
  return plan.shape.kind === "object" ? findIn(plan.shape.members, name) : undefined;
}

function findIn(members: readonly MemberPlan[], name: string): FormMember | undefined {
  for (const member of members) {
    if (member.kind === "field" && (member.field.name === name || member.field.aliases.includes(name))) {
      return member.field;
    }
    if (member.kind === "untagged" && member.name === name) return member;
    if (member.kind !== "tagged") continue;
    if (member.tag === name) return "tag";
    for (const alternative of member.alternatives.values()) {
      if (member.style === "adjacent" && alternative.name === name) return alternative;
      const found = member.style === "inline" ? findMember(inlinePlan(alternative), name) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function objectPart(slots: ReadonlyMap<string, Slot>, path: readonly string[]): FormPart {
  const value: Fields = {};
  const sources = new Map<string, SourceNode>();
  for (const [name, slot] of slots) {
    const at = [...path, name];
    const part = slot.kind === "object" ? objectPart(slot.slots, at) : memberPart(slot.member, slot.entries, at);
    setKey(value, name, part.value);
    sources.set(name, part.source);
  }
  return { value, source: compositeNode(sources) };
}

function memberPart(
  member: FormMember | undefined,
  entries: readonly (string | FormFile)[],
  path: readonly string[],
): FormPart {
  const [entry = ""] = entries;
  if (member === undefined || member === "tag") {
    return entries.length === 1 ? literalPart(entry) : arrayPart(entries.map(literalPart));
  }
  if ("alternatives" in member) {
    const forms = member.alternatives.flatMap(fieldForms);
    if (entries.length === 1) return entryPart(forms, undefined, entry, path);
    const elements = forms.flatMap((form) => (form.kind === "array" ? form.elements() : []));
    if (elements.length > 0) return arrayPart(entries.map((one) => entryPart(elements, undefined, one, path)));
  } else if (member.cardinality === "list") {
    const elements = fieldForms({ ...member, cardinality: "one" });
    if (entries.length === 1 && typeof entry === "string" && entry.startsWith("[") && !takes(elements, "string")) {
      return entryPart(fieldForms(member), undefined, entry, path);
    }
    return arrayPart(entries.map((one) => entryPart(elements, member.value, one, path)));
  } else if (entries.length === 1) return entryPart(fieldForms(member), member.value, entry, path);
  throw formError(path, "given more than once");
}

function entryPart(
  forms: readonly Form[],
  value: ValuePlan | undefined,
  entry: string | FormFile,
  path: readonly string[],
): FormPart {
  if (typeof entry === "string") return textPart(forms, entry, path);
  if (value?.kind === "bytes") return { value: new FileBytes(entry.content), source: leafNode("null") };
  if (value?.kind === "message" && value.message.desc.fields.some(({ name }) => name === "content")) {
    const { content, filename, contentType } = entry;
    const file = { content: new FileBytes(content), filename, content_type: contentType };
    return { value: file, source: leafNode("null") };
  }
  throw formError(path, "expected a text, got a file");
}

const jsonNumber = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;

/**
 * A text as the first of these that its field can be: an array or object (where
 * it begins like one), a boolean, a number, a string. Throws `invalid_request`.
 */
export function textPart(forms: readonly Form[], text: string, path: readonly string[]): FormPart {
  const container = takes(forms, "object") || takes(forms, "array");
  if (takes(forms, "any") || (container && /^\s*[[{]/.test(text))) {
    try {
      const { value } = parseJson(text);
      return { value, source: sourceTree(text) };
    } catch (error) {
      if (!(error instanceof LoquiError)) throw error;
      if (!takes(forms, "string")) throw formError(path, error.message.replace("the body is ", ""));
    }
  }
  if (takes(forms, "boolean") && (text === "true" || text === "false")) {
    return { value: text === "true", source: leafNode(text) };
  }
  if (takes(forms, "number") && jsonNumber.test(text)) return { value: Number(text), source: leafNode(text) };
  if (takes(forms, "string")) return literalPart(text);
  const expected = takes(forms, "boolean") ? "true or false" : takes(forms, "number") ? "a number" : "JSON";
  throw formError(path, `expected ${expected}, got ${quoteShort(text)}`);
}

function takes(forms: readonly Form[], kind: Form["kind"]): boolean {
  return forms.some((form) => form.kind === kind);
}

function literalPart(entry: string | FormFile): FormPart {
  if (typeof entry !== "string") return { value: new FileBytes(entry.content), source: leafNode("null") };
  return { value: entry, source: leafNode(JSON.stringify(entry)) };
}

function arrayPart(parts: readonly FormPart[]): FormPart {
  return {
    value: parts.map(({ value }) => value),
    source: compositeNode(new Map(parts.map(({ source }, index) => [index, source]))),
  };
}

function formError(path: readonly string[], message: string): LoquiError {
  const param = formatPath(path);
  return new LoquiError("invalid_request", `${param}: ${message}`, { param });
}
