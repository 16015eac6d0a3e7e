import { type ChatMessage, ChatRole, type ContentPart, type Tool, type ToolCall } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import type { ChatTemplate, ReasoningMember, TemplateMessage, TemplateToolCall } from "./chat-template.ts";

const roles: Readonly<Record<number, string>> = {
  [ChatRole.SYSTEM]: "system",
  [ChatRole.DEVELOPER]: "system",
  [ChatRole.USER]: "user",
  [ChatRole.ASSISTANT]: "assistant",
  [ChatRole.TOOL]: "tool",
  [ChatRole.FUNCTION]: "tool",
};

/**
 * The messages of a request as a template wants them. Text parts are joined
 * with a newline, as llama-server and vLLM do; absent content is empty;
 * `developer` is `system`, `function` is `tool`. Of a message with text, calls
 * and reasoning the reasoning is left out where the template refuses all three.
 * Throws `unsupported`, naming the part, for what is not text.
 */
export function templateMessages(messages: readonly ChatMessage[], template: ChatTemplate): TemplateMessage[] {
  return messages.map((message, index) => {
    const path = `messages[${index}]`;
    if (message.audio !== undefined) throw unsupported(`${path}.audio`, "spoken answers are");
    const content = messageText(message, path);
    const toolCalls = templateToolCalls(message, path, template);
    return {
      role: roles[message.role] ?? "user",
      ...templateContent(content, message.reasoningContent, toolCalls, template),
      ...(message.name !== undefined && { name: message.name }),
      ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
      ...(message.toolCallId !== undefined && { tool_call_id: message.toolCallId }),
    };
  });
}

function templateContent(
  text: string,
  reasoning: string | undefined,
  calls: readonly TemplateToolCall[],
  { reasoningPlace, allowsReasoningBesideCalls, wantsParts }: ChatTemplate,
): Pick<TemplateMessage, "content" | ReasoningMember> {
  const part = { type: "text", text } as const;
  if (reasoning !== undefined && reasoningPlace === "part") {
    return { content: [{ type: "thinking", thinking: reasoning }, ...(text === "" ? [] : [part])] };
  }
  const content = wantsParts ? [part] : text;
  if (reasoning === undefined || (calls.length > 0 && text !== "" && !allowsReasoningBesideCalls)) return { content };
  return { content, [reasoningPlace]: reasoning };
}

/** The tools of a request as parsed JSON, or undefined where there are none. Descriptions are empty where the template wants them. */
export function templateTools(
  tools: readonly Tool[],
  { wantsDescriptions }: Pick<ChatTemplate, "wantsDescriptions">,
): unknown[] | undefined {
  if (tools.length === 0) return undefined;
  return tools.map(({ tool }, index) => {
    if (tool.case !== "function") throw unsupported(`tools[${index}].${tool.case ?? "type"}`, "custom tools are");
    const { name, description = wantsDescriptions ? "" : undefined, parameters } = tool.value;
    const schema =
      parameters === undefined
        ? { type: "object", properties: {} }
        : parseJson(parameters, `tools[${index}].function.parameters`);
    return {
      type: "function",
      function: {
        name,
        ...(description !== undefined && { description }),
        parameters: wantsDescriptions ? withDescriptions(schema) : schema,
      },
    };
  });
}

/** A function's schema in which every parameter has a description. */
function withDescriptions(schema: unknown): unknown {
  if (!isObject(schema) || !isObject(schema.properties)) return schema;
  const properties = Object.entries(schema.properties).map(([name, property]) => [
    name,
    isObject(property) && !Object.hasOwn(property, "description") ? { ...property, description: "" } : property,
  ]);
  return { ...schema, properties: Object.fromEntries(properties) };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON text out of a request, parsed. Throws `invalid_request` naming the field. */
export function parseJson(text: string, param: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new LoquiError("invalid_request", `${param} is not valid JSON`, { param, cause: error });
  }
}

function messageText(message: ChatMessage, path: string): string {
  const text = contentText(message, path);
  if (message.refusal === undefined) return text;
  return text === "" ? message.refusal : `${text}\n${message.refusal}`;
}

function contentText(message: ChatMessage, path: string): string {
  const content = message.content?.content;
  switch (content?.case) {
    case "text":
      return content.value;
    case "parts":
      return content.value.parts.map((part, index) => partText(part, `${path}.content[${index}]`)).join("\n");
    case undefined:
      return "";
    default:
      return content satisfies never;
  }
}

function partText({ part }: ContentPart, path: string): string {
  switch (part.case) {
    case "text":
    case "refusal":
      return part.value;
    case "imageUrl":
      throw unsupported(`${path}.image_url`, "images are");
    case "inputAudio":
      throw unsupported(`${path}.input_audio`, "sounds are");
    case "file":
      throw unsupported(`${path}.file`, "files are");
    case undefined:
      throw new LoquiError("invalid_request", `${path} is empty`, { param: path });
    default:
      return part satisfies never;
  }
}

function templateToolCalls(message: ChatMessage, path: string, template: ChatTemplate): TemplateToolCall[] {
  const calls = message.toolCalls.map((toolCall, index) => {
    const { name, args } = functionOf(toolCall, `${path}.tool_calls[${index}]`);
    return callOf(toolCall.id, name, args, `${path}.tool_calls[${index}].function.arguments`, template);
  });
  const old = message.functionCall;
  if (old !== undefined) calls.push(callOf("", old.name, old.arguments, `${path}.function_call.arguments`, template));
  return calls;
}

function functionOf({ call }: ToolCall, path: string): { name: string; args: string } {
  if (call.case !== "function") throw unsupported(`${path}.${call.case ?? "type"}`, "calls of custom tools are");
  return { name: call.value.name, args: call.value.arguments };
}

function callOf(id: string, name: string, args: string, path: string, template: ChatTemplate): TemplateToolCall {
  const value = template.wantsArgumentsAsText ? args : args === "" ? {} : parseJson(args, path);
  return { id, type: "function", function: { name, arguments: value } };
}

function unsupported(param: string, what: string): LoquiError {
  return new LoquiError("unsupported", `${param}: ${what} not supported by this model`, { param });
}
