import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { Path } from "@bufbuild/protobuf/reflect";
import type { ChatMessage } from "../../gen/loqui/v1/chat_pb.ts";
import { jsonPath } from "../codec/path.ts";
import type { Shown } from "./chat-template.ts";
import { requestFields, type Treatment } from "./request-fields.ts";

/** Paths listed of one request at most: the header has no room for more. */
const maxPaths = 128;

/** Looks at a message, whose place is on the stack, and lists what is ignored in it. */
type Look = (message: Readonly<Record<string, unknown>>, found: Found) => void;

/** What is ignored so far, and where the look is. */
interface Found {
  readonly paths: string[];
  readonly stack: Path[number][];
  readonly shown: Shown;
}

/**
 * The fields of a request that ask for something and have no effect on a local
 * model's answer, as paths, e.g. `store`, `messages[0].content[1].prompt_cache_breakpoint`.
 * Costs a look at the few fields that can be such. `shown`: by the model's template.
 */
export function ignoredFields(desc: DescMessage, request: Message, shown: Shown): readonly string[] {
  const paths: string[] = [];
  lookAt(desc)?.(request as unknown as Readonly<Record<string, unknown>>, { paths, stack: [], shown });
  return paths;
}

/** What a field's row says; undefined where its message has no table. */
export function treatmentOf(field: DescField): Treatment | undefined {
  const table = requestFields.get(field.parent.typeName) as Readonly<Record<string, unknown>> | undefined;
  if (table === undefined) return undefined;
  if (field.oneof === undefined) return table[field.localName] as Treatment | undefined;
  return (table[field.oneof.localName] as Readonly<Record<string, Treatment>> | undefined)?.[field.localName];
}

const words = new WeakMap<Shown, ReadonlySet<string>>();

/** The words of a template: looked for one by one, the variables of one request could take a third of a second. */
function wordsOf(shown: Shown): ReadonlySet<string> {
  let known = words.get(shown);
  if (known === undefined) {
    known = new Set(shown.source.match(/\w+/g));
    words.set(shown, known);
  }
  return known;
}

const looks = new WeakMap<DescMessage, Look | undefined>();

/** Undefined where nothing of a message can be ignored. The messages of requests don't hold themselves. */
function lookAt(desc: DescMessage): Look | undefined {
  if (looks.has(desc)) return looks.get(desc);
  const parts = desc.fields.flatMap((field) => lookAtField(field) ?? []);
  const look: Look | undefined =
    parts.length === 0
      ? undefined
      : (message, found) => {
          for (const part of parts) part(message, found);
        };
  looks.set(desc, look);
  return look;
}

function lookAtField(field: DescField): Look | undefined {
  const treatment = treatmentOf(field);
  switch (treatment?.kind) {
    case "ignored":
      return (message, found) => {
        const value = setValue(message, field);
        if (value !== undefined && treatment.asks?.(value) !== false) add(found, field);
      };
    case "members":
      return (message, found) => {
        const value = message[field.localName];
        if (typeof value === "string")
          for (const key of namesIn(value) ?? [field.name]) add(found, { kind: "map_sub", key });
      };
    case "variables":
      return (message, found) => {
        const value = message[field.localName];
        if (typeof value !== "string") return;
        // A word that the template holds for another reason is taken for the variable.
        const unnamed = (namesIn(value) ?? []).filter((name) => !wordsOf(found.shown).has(name));
        found.stack.push(field);
        for (const key of unnamed) add(found, { kind: "map_sub", key });
        found.stack.pop();
      };
    case "shown": {
      const inside = field.message === undefined ? undefined : lookInto(field, field.message);
      return (message, found) => {
        if (setValue(message, field) === undefined) return;
        if (treatment.by(found.shown, message as unknown as ChatMessage)) inside?.(message, found);
        else add(found, field);
      };
    }
    case "honoured":
      return field.message === undefined ? undefined : lookInto(field, field.message);
    default:
      return undefined;
  }
}

function add({ paths, stack }: Found, step: Path[number]): void {
  if (paths.length < maxPaths) paths.push(jsonPath([...stack, step]));
}

function lookInto(field: DescField, desc: DescMessage): Look | undefined {
  const look = lookAt(desc);
  if (look === undefined) return undefined;
  const inside = (value: unknown, found: Found) => look(value as Readonly<Record<string, unknown>>, found);
  return (message, found) => {
    const value = setValue(message, field);
    if (value === undefined) return;
    const { stack } = found;
    stack.push(field);
    if (field.fieldKind === "list") {
      for (const [index, item] of (value as readonly unknown[]).entries()) {
        stack.push({ kind: "list_sub", index });
        inside(item, found);
        stack.pop();
      }
    } else inside(value, found);
    stack.pop();
  };
}

/** A field's value; undefined where it isn't set. */
function setValue(message: Readonly<Record<string, unknown>>, field: DescField): unknown {
  if (field.oneof === undefined) {
    const value = message[field.localName];
    return Array.isArray(value) && value.length === 0 ? undefined : value;
  }
  const chosen = message[field.oneof.localName] as { readonly case: string | undefined; readonly value?: unknown };
  return chosen.case === field.localName ? chosen.value : undefined;
}

/** The names of a JSON object's members; undefined where it is none: over gRPC anything may stand there. */
function namesIn(json: string): string[] | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : undefined;
  } catch {
    return undefined;
  }
}
