import { LoquiError } from "../errors.ts";
import { parseRaw } from "./encode-values.ts";
import type { Fields, OneofValue } from "./fields.ts";
import type { FieldPlan, MemberPlan, TaggedPlan } from "./plan.ts";
import { inlinePlan } from "./plan-checks.ts";

/** Says of a name whether a member of a message's object has it already. */
export type IsKnown = (name: string, message: Fields) => boolean;

/**
 * Prints collected unknown members as members again. Throws `invalid_request`
 * where the text is no JSON object, or one of them is a field's: of two members
 * of one name a reader takes the last, which would let one field speak for another.
 */
export function appendRest(
  { desc }: FieldPlan,
  isKnown: IsKnown,
): (out: string, text: unknown, message: Fields) => string {
  const refuse = (message: string) =>
    new LoquiError("invalid_request", `${desc.parent.name}.${desc.name}: ${message}`, { param: desc.name });
  return (out, collected, message) => {
    const text = collected as string;
    const value = parseRaw(desc, text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw refuse("not a JSON object");
    for (const name of Object.keys(value)) {
      if (isKnown(name, message)) throw refuse(`${JSON.stringify(name)} has a field of its own`);
    }
    const members = text.trim().slice(1, -1).trim();
    if (members === "") return out;
    return out === "" ? `{${members}` : `${out},${members}`;
  };
}

/** The names of an object's members; of a tagged oneof those of the member that is set. */
export function knownNames(members: readonly MemberPlan[], outer: ReadonlySet<string>): IsKnown {
  const names = new Set([...outer, ...fixedNames(members)]);
  const tagged = members.find((member) => member.kind === "tagged");
  if (tagged === undefined) return (name) => names.has(name);
  const chosen = new Map<string | undefined, ReadonlySet<string>>();
  for (const field of tagged.alternatives.values()) chosen.set(field.local, alternativeNames(tagged, field));
  return (name, message) =>
    names.has(name) || (chosen.get((message[tagged.local] as OneofValue).case)?.has(name) ?? false);
}

function alternativeNames(tagged: TaggedPlan, field: FieldPlan): ReadonlySet<string> {
  if (tagged.style === "adjacent") return new Set([field.name]);
  const { shape } = inlinePlan(field);
  return shape.kind === "object" ? fixedNames(shape.members) : new Set();
}

/** The names that an object's members have whatever is set. */
export function fixedNames(members: readonly MemberPlan[]): Set<string> {
  const names = new Set<string>();
  for (const member of members) {
    if (member.kind === "untagged") names.add(member.name);
    else if (member.kind === "tagged") names.add(member.tag);
    else if (member.kind === "field") for (const name of [member.field.name, ...member.field.aliases]) names.add(name);
  }
  return names;
}
