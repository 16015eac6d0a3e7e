import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import { LoquiError } from "../errors.ts";
import { messageReader } from "./decode.ts";
import type { DecodeContext } from "./decode-context.ts";
import { fieldReader } from "./decode-values.ts";
import type { Fields, OneofValue } from "./fields.ts";
import { textPart } from "./form.ts";
import { type FieldPlan, type MessagePlan, planOf } from "./plan.ts";
import { fieldForms } from "./union.ts";

/**
 * Sets the field at a dotted path from text: a variable of a path template.
 * Throws `invalid_request` for a text that the field can't be, and `internal`
 * for a path that the message doesn't have: check templates at boot.
 */
export function assignText(desc: DescMessage, message: Message, path: string, text: string): void {
  const steps = path.split(".");
  let plan = planOf(desc);
  let target = message as unknown as Fields;
  for (const [index, step] of steps.entries()) {
    const field = findField(plan, step);
    if (field === undefined) break;
    if (index === steps.length - 1) {
      const { value, source } = textPart(fieldForms(field), text, steps);
      const context: DecodeContext = { mode: "strict", steps, ignored: [], source: () => source };
      setField(target, field, fieldReader(field, messageReader)(value, context, steps.length));
      return;
    }
    if (field.value.kind !== "message" || field.cardinality !== "one") break;
    plan = field.value.message;
    const nested = getField(target, field) ?? create(plan.desc);
    setField(target, field, nested);
    target = nested as Fields;
  }
  throw new LoquiError("internal", `${desc.typeName} has no field ${path}`);
}

function findField({ shape }: MessagePlan, name: string): FieldPlan | undefined {
  if (shape.kind !== "object") return undefined;
  for (const member of shape.members) {
    const fields =
      member.kind === "field" ? [member.field] : member.kind === "rest" ? [] : [...member.alternatives.values()];
    const found = fields.find((field) => field.name === name);
    if (found !== undefined) return found;
  }
  return undefined;
}

function getField(message: Fields, field: FieldPlan): unknown {
  if (field.oneof === undefined) return message[field.local];
  const set = message[field.oneof] as OneofValue;
  return set.case === field.local ? set.value : undefined;
}

function setField(message: Fields, field: FieldPlan, value: unknown): void {
  if (field.oneof === undefined) message[field.local] = value;
  else message[field.oneof] = { case: field.local, value };
}
