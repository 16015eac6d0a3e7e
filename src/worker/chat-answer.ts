import { randomBytes } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ChatLogprobsSchema,
  ChatRole,
  type ChatTokenLogprobSchema,
  type ChunkChoiceSchema,
  type CreateChatCompletionRequest,
  ReasoningFormat,
  type ResponseMessageSchema,
  ToolChoiceMode,
  ToolType,
} from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import type { KnownTools } from "./chat-output/call-syntaxes.ts";
import type { OutputEvent } from "./chat-output/events.ts";
import { reasoningFormats } from "./chat-output/formats.ts";
import { parse } from "./chat-output/json-reading.ts";
import { createOutputParser, endsInReasoning, type OutputFormat } from "./chat-output/parser.ts";
import { chatLogprobs, type TokenTrail } from "./logprobs.ts";

/** A piece of an answer: what a chunk's choice has of it. */
export type ChatPiece = Pick<MessageInitShape<typeof ChunkChoiceSchema>, "delta" | "logprobs">;

type TokenLogprob = MessageInitShape<typeof ChatTokenLogprobSchema>;
type Message = MessageInitShape<typeof ResponseMessageSchema>;

/** Makes an answer's message, or the pieces of it, of the text that a model generates. */
export interface ChatAnswer {
  /** What is new with a text; nothing where it isn't certain yet. */
  push(text: string): ChatPiece[];
  /** What is left when the text is complete. */
  end(): ChatPiece[];
  /** All that was said. */
  readonly message: Message;
  /** Those of the content, where they are asked for. */
  readonly logprobs: MessageInitShape<typeof ChatLogprobsSchema> | undefined;
  /** Whether the last text was reasoning. */
  readonly thinking: boolean;
  /** Nothing more is wanted: a second call where the request allows one. */
  readonly satisfied: boolean;
  readonly called: boolean;
  /** Whether it may be more than text, so that control tokens have to be seen. */
  readonly parsed: boolean;
}

export interface ChatAnswerOptions {
  readonly request: CreateChatCompletionRequest;
  readonly format: OutputFormat;
  /** The rendered prompt. */
  readonly prompt: string;
  /** What {@link offeredTools} says. */
  readonly tools: KnownTools | undefined;
  /** All is content: a grammar leaves no room for anything else. */
  readonly plain: boolean;
  readonly streamed: boolean;
  /** Whether several calls are wanted. */
  readonly parallel: boolean;
  /** Where log-probabilities are asked for: where those of the tokens come from. */
  readonly trail?: TokenTrail | undefined;
}

export function createChatAnswer(options: ChatAnswerOptions): ChatAnswer {
  const { request, format, prompt, tools, plain, streamed, parallel, trail } = options;
  const separating = plain ? undefined : separatingFormat(request, format, streamed);
  const startsInReasoning = separating !== undefined && endsInReasoning(prompt, separating);
  const parser =
    !plain && (tools !== undefined || separating !== undefined)
      ? createOutputParser(separating ?? { ...format, reasoning: undefined }, { tools, startsInReasoning })
      : undefined;
  let content = "";
  const logprobs: TokenLogprob[] = [];
  let reasoning = "";
  const calls: { id: string; name: string; args: string }[] = [];
  let thinking = startsInReasoning;
  let satisfied = false;

  /** The length of the text so far, where there is no parser to know it. */
  let read = 0;

  function takeContent(text: string, from: number): ChatPiece {
    content += text;
    const delta = { content: text };
    const taken = trail === undefined ? [] : chatLogprobs(trail.take(from, from + text.length));
    if (taken.length === 0) return { delta };
    for (const token of taken) logprobs.push(token);
    return { delta, logprobs: { content: taken } };
  }

  function take(event: OutputEvent): ChatPiece[] {
    if (satisfied) return [];
    thinking = event.type === "reasoning";
    switch (event.type) {
      case "content":
        return [takeContent(event.text, event.from)];
      case "reasoning":
        reasoning += event.text;
        return [{ delta: { reasoningContent: event.text } }];
      case "call": {
        if (!parallel && calls.length === 1) {
          satisfied = true;
          return [];
        }
        const call = { id: event.id ?? callId(), name: event.name, args: "" };
        calls.push(call);
        const { id, name } = call;
        const type = ToolType.FUNCTION;
        return [{ delta: { toolCalls: [{ index: calls.length - 1, id, type, function: { name, arguments: "" } }] } }];
      }
      case "arguments": {
        const call = calls.at(-1);
        if (call === undefined) throw new Error("arguments before a call");
        call.args += event.text;
        return [{ delta: { toolCalls: [{ index: calls.length - 1, function: { arguments: event.text } }] } }];
      }
      default:
        return event satisfies never;
    }
  }

  function asContent(text: string): OutputEvent[] {
    const from = read;
    read += text.length;
    return text === "" ? [] : [{ type: "content", text, from }];
  }

  return {
    push: (text) => (parser === undefined ? asContent(text) : parser.push(text)).flatMap(take),
    end: () => (parser?.end() ?? []).flatMap(take),
    get message() {
      return {
        role: ChatRole.ASSISTANT,
        // OpenAI's null where there are only calls.
        ...((content !== "" || calls.length === 0) && { content }),
        ...(reasoning !== "" && { reasoningContent: reasoning }),
        toolCalls: calls.map(({ id, name, args }) => ({
          id,
          call: { case: "function" as const, value: { name, arguments: args } },
        })),
      };
    },
    get logprobs() {
      return trail === undefined ? undefined : { content: logprobs };
    },
    get thinking() {
      return thinking;
    },
    get satisfied() {
      return satisfied;
    },
    get called() {
      return calls.length > 0;
    },
    parsed: parser !== undefined || (!plain && marksReasoning(format)),
  };
}

type ToolRequest = Pick<CreateChatCompletionRequest, "tools" | "toolChoice">;

/** The functions that the model may call; undefined where it may call none. */
export function offeredTools(request: ToolRequest): KnownTools | undefined {
  const choice = request.toolChoice?.choice;
  if (request.tools.length === 0 || (choice?.case === "mode" && choice.value === ToolChoiceMode.NONE)) return undefined;
  const schemas = new Map<string, string | undefined>();
  for (const { tool } of allowedTools(request)) {
    if (tool.case === "function") schemas.set(tool.value.name, tool.value.parameters);
  }
  return {
    has: (name) => schemas.has(name),
    // Few syntaxes ask for it: nothing is parsed before.
    parameterType(name, parameter) {
      const properties = member(parse(schemas.get(name) ?? "{}"), "properties");
      const type = member(member(properties, parameter), "type");
      return typeof type === "string" ? type : undefined;
    },
  };
}

/** The request's tools, without those that `tool_choice` doesn't allow. Throws `invalid_request` for one that it names but that isn't there. */
export function allowedTools(request: ToolRequest): ToolRequest["tools"] {
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

/** How reasoning is told from the answer; undefined where it stays in the content, tags and all. */
function separatingFormat(
  { reasoningFormat }: CreateChatCompletionRequest,
  format: OutputFormat,
  streamed: boolean,
): OutputFormat | undefined {
  const { NONE, DEEPSEEK, DEEPSEEK_LEGACY } = ReasoningFormat;
  if (reasoningFormat === NONE || (reasoningFormat === DEEPSEEK_LEGACY && streamed)) return undefined;
  if (marksReasoning(format)) return format;
  const asked = reasoningFormat === DEEPSEEK || reasoningFormat === DEEPSEEK_LEGACY;
  return asked ? { ...format, reasoning: reasoningFormats[0] } : undefined;
}

function marksReasoning(format: OutputFormat): boolean {
  return format.harmony || format.reasoning !== undefined;
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/** Nine letters and digits: what Mistral's templates demand of an id that comes back. */
function callId(): string {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return Array.from(randomBytes(9), (byte) => letters[byte % letters.length]).join("");
}
