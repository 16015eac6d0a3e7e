import { callsText } from "./chat-output/call-grammars.ts";
import { toldCalls } from "./chat-output/formats.ts";
import type { OutputFormat } from "./chat-output/parser.ts";
import type { ChatTemplate, TemplateMessage, TemplateToolCall } from "./chat-template.ts";

/**
 * The messages with what the template doesn't show of tools told in their texts:
 * the tools in the system message (in the first of the user's where the template
 * takes none), calls in the assistant's as the model is to write them, results in
 * a message of the user's. Two of the user's in a row become one, since many
 * templates want them to alternate with the assistant's. `tools`: those offered,
 * as `templateTools` has them. llama-server does the same for templates without
 * tools (its generic handler).
 */
export function withToldTools(
  messages: readonly TemplateMessage[],
  tools: readonly unknown[] | undefined,
  template: Pick<ChatTemplate, "told" | "takesSystem" | "wantsParts">,
  format: OutputFormat,
): readonly TemplateMessage[] {
  const { told, takesSystem, wantsParts } = template;
  const messageOf = (role: string, text: string): TemplateMessage => ({
    role,
    content: wantsParts ? [{ type: "text", text }] : text,
  });
  const written = told.calls ? conversation(messages, told.results, messageOf, format) : [...messages];
  if (!told.tools || tools === undefined) return written;
  const text = introduction(tools);
  const [first] = written;
  if (takesSystem) {
    if (first?.role !== "system") return [messageOf("system", text), ...written];
    return [withText(first, "", text), ...written.slice(1)];
  }
  const at = written.findIndex(({ role }) => role === "user");
  const asked = written[at];
  if (asked === undefined) return [messageOf("user", text), ...written];
  return written.with(at, withText(asked, text, ""));
}

/** The messages with calls, and results where `tellsResults`, as texts. */
function conversation(
  messages: readonly TemplateMessage[],
  tellsResults: boolean,
  messageOf: (role: string, text: string) => TemplateMessage,
  format: OutputFormat,
): TemplateMessage[] {
  const written: TemplateMessage[] = [];
  /** The place of the calls of one message by their ids. */
  let places = new Map<string, number>();
  const names = new Map<string, string>();
  /** Results that wait for more of them. */
  let results: { readonly place: number; readonly text: string }[] = [];
  /** In the order of the calls: a model can't tell two of one function apart otherwise. */
  const takeResults = () => {
    const sorted = results.toSorted((a, b) => a.place - b.place);
    results = [];
    return sorted.map(({ text }) => text).join("\n");
  };
  for (const message of messages) {
    const { tool_calls: calls, ...rest } = message;
    if (tellsResults && message.role === "tool") {
      const { name, tool_call_id: id = "" } = message;
      results.push({ place: places.get(id) ?? Infinity, text: resultText(name ?? names.get(id), textOf(message)) });
      continue;
    }
    const said = takeResults();
    if (calls !== undefined) {
      places = new Map(calls.map((call, index) => [call.id, index]));
      for (const call of calls) names.set(call.id, call.function.name);
    }
    const next = calls === undefined ? message : withText(rest, "", textOfCalls(calls, format));
    if (said !== "" && next.role === "user") written.push(withText(next, said, ""));
    else if (said !== "") written.push(messageOf("user", said), next);
    else written.push(next);
  }
  const said = takeResults();
  if (said !== "") written.push(messageOf("user", said));
  return written;
}

function introduction(tools: readonly unknown[]): string {
  const lines = tools.map((tool) => JSON.stringify((tool as { readonly function: unknown }).function));
  return `You can call functions. Each of these lines is one, with the JSON Schema of its arguments:
${lines.join("\n")}

To call functions, answer with nothing but JSON of this form, with an item for each call:
${callsText(toldCalls.writing, [{ name: "<name>", args: "{<arguments>}" }])}
The results come in the next message. Where no function is needed, answer in plain text.`;
}

/** In the model's own syntax where that is JSON, else as a model is told to write them. */
function textOfCalls(calls: readonly TemplateToolCall[], format: OutputFormat): string {
  const all = calls.map(({ function: { name, arguments: args } }) => ({ name, args: JSON.stringify(args) }));
  return callsText(format.calls.writing, all) ?? callsText(toldCalls.writing, all) ?? "";
}

function resultText(name: string | undefined, content: string): string {
  return JSON.stringify({ tool_response: { name, content } });
}

/** A message with a text before and one behind its own. */
function withText(message: TemplateMessage, before: string, behind: string): TemplateMessage {
  const around = (text: string) => [before, text, behind].filter((each) => each !== "").join("\n\n");
  const { content } = message;
  if (typeof content === "string") return { ...message, content: around(content) };
  if (content.every(({ type }) => type !== "text")) {
    return { ...message, content: [...content, { type: "text", text: around("") }] };
  }
  return {
    ...message,
    content: content.map((part) => (part.type === "text" ? { ...part, text: around(part.text) } : part)),
  };
}

function textOf({ content }: TemplateMessage): string {
  if (typeof content === "string") return content;
  return content.map((part) => (part.type === "text" ? part.text : "")).join("\n");
}
