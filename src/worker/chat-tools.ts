import { create } from "@bufbuild/protobuf";
import {
  type CreateChatCompletionRequest,
  type ToolChoice,
  ToolChoiceMode,
  ToolChoiceSchema,
  ToolSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import type { OfferedCalls } from "./answer-grammar.ts";
import type { KnownTools } from "./chat-output/call-syntaxes.ts";
import { parse } from "./chat-output/json-reading.ts";

/** What of a request says which functions may be called. */
export type ToolRequest = Pick<CreateChatCompletionRequest, "tools" | "toolChoice">;

/** The functions that the model may call; undefined where it may call none. */
export function offeredTools(request: ToolRequest): KnownTools | undefined {
  const choice = request.toolChoice?.choice;
  if (request.tools.length === 0 || (choice?.case === "mode" && choice.value === ToolChoiceMode.NONE)) return undefined;
  const schemas = new Map<string, string | undefined>();
  for (const { tool } of allowedTools(request)) {
    if (tool.case === "function") schemas.set(tool.value.name, tool.value.parameters);
  }
  const properties = new Map<string, unknown>();
  return {
    names: [...schemas.keys()],
    has: (name) => schemas.has(name),
    // Few syntaxes ask for it: nothing is parsed before. Those that do ask for each parameter: it is parsed once.
    parameterType(name, parameter) {
      if (!properties.has(name)) properties.set(name, member(parse(schemas.get(name) ?? "{}"), "properties"));
      const type = member(member(properties.get(name), parameter), "type");
      return typeof type === "string" ? type : undefined;
    },
  };
}

/**
 * How the functions may be called, several at once where `parallel`; undefined
 * where none may be. Throws
 * `invalid_request` where `tool_choice` forces a call but there is none to make,
 * or names one that isn't there.
 */
export function offeredCalls(request: CreateChatCompletionRequest, parallel: boolean): OfferedCalls | undefined {
  const known = offeredTools(request);
  const { name, forced } = forcing(request.toolChoice);
  if (known === undefined) {
    if (!forced) return undefined;
    const param = "tool_choice";
    throw new LoquiError("invalid_request", `${param}: there are no tools to call`, { param });
  }
  if (name !== undefined && !known.has(name)) {
    const param = "tool_choice.function.name";
    throw new LoquiError("invalid_request", `${param}: ${name} is none of the tools`, { param });
  }
  const allowed = new Set(allowedTools(request));
  const functions = request.tools.flatMap((each, index) => {
    const { tool } = each;
    if (tool.case !== "function" || !allowed.has(each) || (name !== undefined && tool.value.name !== name)) return [];
    const { parameters, strict = false } = tool.value;
    const isText = (parameter: string) => known.parameterType(tool.value.name, parameter) === "string";
    return [{ name: tool.value.name, parameters, strict, param: `tools[${index}].function`, isText }];
  });
  return { functions, forced, single: name !== undefined || !parallel };
}

/** Whether a call must be made, and which. */
function forcing(toolChoice: ToolChoice | undefined): { readonly forced: boolean; readonly name?: string } {
  const choice = toolChoice?.choice;
  if (choice?.case === "mode") return { forced: choice.value === ToolChoiceMode.REQUIRED };
  const selection = choice?.case === "selection" ? choice.value.selection : undefined;
  if (selection?.case === "allowedTools") return { forced: selection.value.mode === ToolChoiceMode.REQUIRED };
  if (selection?.case === "custom") {
    const param = "tool_choice.custom";
    throw new LoquiError("unsupported", `${param}: custom tools are not supported by this model`, { param });
  }
  return selection?.value === undefined ? { forced: false } : { forced: true, name: selection.value.name };
}

/** The request's tools, without those that `tool_choice` doesn't allow. Throws `invalid_request` for one that it names but that isn't there. */
export function allowedTools(request: ToolRequest): CreateChatCompletionRequest["tools"] {
  const selection =
    request.toolChoice?.choice.case === "selection" ? request.toolChoice.choice.value.selection : undefined;
  if (selection?.case !== "allowedTools") return request.tools;
  const names = selection.value.tools.map(({ tool }) => tool.value?.name ?? "");
  const known = new Set(request.tools.map(({ tool }) => tool.value?.name));
  const missing = names.findIndex((name) => !known.has(name));
  if (missing !== -1) {
    const param = `tool_choice.allowed_tools.tools[${missing}]`;
    throw new LoquiError("invalid_request", `${param}: ${names[missing]} is none of the tools`, { param });
  }
  return request.tools.filter(({ tool }) => names.includes(tool.value?.name ?? ""));
}

/**
 * The request with its `functions` and `function_call`, the older form, as tools
 * of which one at most is called. Throws `invalid_request` beside the newer form.
 */
export function withFunctionsAsTools(request: CreateChatCompletionRequest): CreateChatCompletionRequest {
  const { functions, functionCall } = request;
  if (functions.length === 0 && functionCall === undefined) return request;
  if (request.tools.length > 0 || request.toolChoice !== undefined) {
    const param = functions.length > 0 ? "functions" : "function_call";
    throw new LoquiError("invalid_request", `${param} excludes tools and tool_choice, the newer form`, { param });
  }
  const { choice } = functionCall ?? {};
  if (choice?.case === "function" && functions.every(({ name }) => name !== choice.value.name)) {
    const param = "function_call.name";
    throw new LoquiError("invalid_request", `${param}: ${choice.value.name} is none of the functions`, { param });
  }
  const toolChoice =
    choice?.case === "function"
      ? { case: "selection" as const, value: { selection: { case: "function" as const, value: choice.value } } }
      : choice;
  return {
    ...request,
    tools: functions.map((each) => create(ToolSchema, { tool: { case: "function", value: each } })),
    ...(toolChoice?.case !== undefined && { toolChoice: create(ToolChoiceSchema, { choice: toolChoice }) }),
    parallelToolCalls: false,
  };
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
