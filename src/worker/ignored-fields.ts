import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { Path } from "@bufbuild/protobuf/reflect";
import { jsonPath } from "../codec/path.ts";
import { requestFields, type Treatment } from "./request-fields.ts";

/** Paths listed of one request at most: the header has no room for more. */
const maxPaths = 128;

/** Looks at a message, whose place is on the stack, and lists what is ignored in it. */
type Look = (message: Readonly<Record<string, unknown>>, stack: Path[number][], found: string[]) => void;

/**
 * The fields of a request that ask for something and have no effect on a local
 * model's answer, as paths, e.g. `store`, `messages[0].content[1].prompt_cache_breakpoint`.
 * Costs a look at the few fields that can be such.
 */
export function ignoredFields<D extends DescMessage>(desc: D, request: Message): readonly string[] {
  const found: string[] = [];
  lookAt(desc)?.(request as unknown as Readonly<Record<string, unknown>>, [], found);
  return found;
}

/** What a field's row says; undefined where its message has no table. */
export function treatmentOf(field: DescField): Treatment | undefined {
  const table = requestFields.get(field.parent.typeName) as Readonly<Record<string, unknown>> | undefined;
  if (table === undefined) return undefined;
  if (field.oneof === undefined) return table[field.localName] as Treatment | undefined;
  return (table[field.oneof.localName] as Readonly<Record<string, Treatment>> | undefined)?.[field.localName];
}

const looks = new WeakMap<DescMessage, Look | undefined>();

/** Undefined where nothing of a message can be ignored. The messages of requests don't hold themselves. */
function lookAt(desc: DescMessage): Look | undefined {
  if (looks.has(desc)) return looks.get(desc);
  const parts = desc.fields.flatMap((field) => lookAtField(field) ?? []);
  const look: Look | undefined =
    parts.length === 0
      ? undefined
      : (message, stack, found) => {
          for (const part of parts) part(message, stack, found);
        };
  looks.set(desc, look);
  return look;
}

function lookAtField(field: DescField): Look | undefined {
  const treatment = treatmentOf(field);
  switch (treatment?.kind) {
    case "ignored":
      return (message, stack, found) => {
        const value = setValue(message, field);
        if (value === undefined || treatment.asks?.(value) === false) return;
        if (found.length < maxPaths) found.push(jsonPath([...stack, field]));
      };
    case "members":
      return (message, stack, found) => {
        const value = message[field.localName];
        if (typeof value !== "string") return;
        for (const name of namesIn(value)) {
          if (found.length >= maxPaths) return;
          found.push(jsonPath([...stack, { kind: "map_sub", key: name }]));
        }
      };
    case "honoured":
      return field.message === undefined ? undefined : lookInto(field, field.message);
    default:
      return undefined;
  }
}

function lookInto(field: DescField, desc: DescMessage): Look | undefined {
  const look = lookAt(desc);
  if (look === undefined) return undefined;
  const inside = (value: unknown, stack: Path[number][], found: string[]) =>
    look(value as Readonly<Record<string, unknown>>, stack, found);
  return (message, stack, found) => {
    const value = setValue(message, field);
    if (value === undefined) return;
    stack.push(field);
    if (field.fieldKind === "list") {
      for (const [index, item] of (value as readonly unknown[]).entries()) {
        stack.push({ kind: "list_sub", index });
        inside(item, stack, found);
        stack.pop();
      }
    } else inside(value, stack, found);
    stack.pop();
  };
}

/** A field's value; undefined where it isn't set. */
function setValue(message: Readonly<Record<string, unknown>>, field: DescField): unknown {
  if (field.oneof === undefined) return message[field.localName];
  const chosen = message[field.oneof.localName] as { readonly case: string | undefined; readonly value?: unknown };
  return chosen.case === field.localName ? chosen.value : undefined;
}

/** The names of a JSON object's members; over gRPC anything may stand there. */
function namesIn(json: string): string[] {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : ["extra"];
  } catch {
    return ["extra"];
  }
}
