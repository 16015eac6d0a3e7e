import { randomBytes } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ChatLogprobsSchema,
  ChatRole,
  type ChatTokenLogprobSchema,
  type ChunkChoiceSchema,
  type CreateChatCompletionRequest,
  FinishReason,
  ReasoningFormat,
  type ResponseMessageSchema,
  ToolType,
} from "../../gen/loqui/v1/chat_pb.ts";
import type { ShownControls } from "../engines/token-engine.ts";
import type { KnownTools } from "./chat-output/call-syntaxes.ts";
import type { OutputEvent } from "./chat-output/events.ts";
import { reasoningFormats } from "./chat-output/formats.ts";
import { createOutputParser, endsInReasoning, markTest, type OutputFormat } from "./chat-output/parser.ts";
import { chatLogprobs, type TokenTrail } from "./logprobs.ts";

/** A piece of an answer: what a chunk's choice has of it. */
export type ChatPiece = Pick<MessageInitShape<typeof ChunkChoiceSchema>, "delta" | "logprobs">;

type TokenLogprob = MessageInitShape<typeof ChatTokenLogprobSchema>;
type Message = MessageInitShape<typeof ResponseMessageSchema>;

/** Makes an answer's message, or the pieces of it, of the text that a model generates. */
export interface ChatAnswer {
  /** What is new with a text; nothing where it isn't certain yet. */
  push(text: string): ChatPiece[];
  /** What is left when the text is complete, or `cut` short. */
  end(cut: boolean): ChatPiece[];
  /** All that was said. */
  readonly message: Message;
  /** Those of the content, where they are asked for. */
  readonly logprobs: MessageInitShape<typeof ChatLogprobsSchema> | undefined;
  /** Whether the last text was reasoning. */
  readonly thinking: boolean;
  /** Nothing more is wanted: a second call where the request allows one. */
  readonly satisfied: boolean;
  /** Why it ends where it calls something; undefined where it doesn't. */
  readonly called: FinishReason | undefined;
  /** The control tokens that have to be seen. */
  readonly controls: ShownControls;
}

export interface ChatAnswerOptions {
  readonly request: CreateChatCompletionRequest;
  readonly format: OutputFormat;
  /** The rendered prompt. */
  readonly prompt: string;
  /** What `offeredTools` says. */
  readonly tools: KnownTools | undefined;
  /** What is no reasoning and no call has a form of its own: all of it is content. */
  readonly hasForm: boolean;
  /** The request has `functions`: the call is written in the older form. */
  readonly asFunction: boolean;
  readonly streamed: boolean;
  /** Whether several calls are wanted. */
  readonly parallel: boolean;
  /** Where log-probabilities are asked for: where those of the tokens come from. */
  readonly trail?: TokenTrail | undefined;
}

export function createChatAnswer(options: ChatAnswerOptions): ChatAnswer {
  const { request, format, prompt, tools, hasForm, asFunction, streamed, parallel, trail } = options;
  const separating = separatingFormat(request, format, streamed);
  const startsInReasoning = separating !== undefined && endsInReasoning(prompt, separating);
  const parser =
    tools !== undefined || separating !== undefined
      ? createOutputParser(separating ?? { ...format, reasoning: undefined }, { tools, startsInReasoning, hasForm })
      : undefined;
  const isMark = markTest(separating ?? format, tools !== undefined);
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
    if (!streamed) for (const token of taken) logprobs.push(token);
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
        if (asFunction) return [{ delta: { functionCall: { name, arguments: "" } } }];
        const type = ToolType.FUNCTION;
        return [{ delta: { toolCalls: [{ index: calls.length - 1, id, type, function: { name, arguments: "" } }] } }];
      }
      case "arguments": {
        const call = calls.at(-1);
        if (call === undefined) throw new Error("arguments before a call");
        call.args += event.text;
        if (asFunction) return [{ delta: { functionCall: { arguments: event.text } } }];
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
    push(text) {
      const pieces = (parser === undefined ? asContent(text) : parser.push(text)).flatMap(take);
      if (parser !== undefined) trail?.drop(parser.settled);
      return pieces;
    },
    end: (cut) => (parser?.end(cut) ?? []).flatMap(take),
    get message() {
      const [called] = calls;
      return {
        role: ChatRole.ASSISTANT,
        // OpenAI's null where there are only calls.
        ...((content !== "" || calls.length === 0) && { content }),
        ...(reasoning !== "" && { reasoningContent: reasoning }),
        ...(asFunction
          ? called !== undefined && { functionCall: { name: called.name, arguments: called.args } }
          : {
              toolCalls: calls.map(({ id, name, args }) => ({
                id,
                call: { case: "function" as const, value: { name, arguments: args } },
              })),
            }),
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
      if (calls.length === 0) return undefined;
      return asFunction ? FinishReason.FUNCTION_CALL : FinishReason.TOOL_CALLS;
    },
    controls: hasForm || ((name) => isMark(name) || request.stop.some((text) => text.includes(name))),
  };
}

/** Two neighbouring pieces of an answer as one; undefined where they are of different things, or carry log-probabilities. */
export function joinPieces(piece: ChatPiece, next: ChatPiece): ChatPiece | undefined {
  if (piece.logprobs !== undefined || next.logprobs !== undefined) return undefined;
  const { delta: a = {} } = piece;
  const { delta: b = {} } = next;
  if (a.content !== undefined && b.content !== undefined) return { delta: { content: a.content + b.content } };
  if (a.reasoningContent !== undefined && b.reasoningContent !== undefined) {
    return { delta: { reasoningContent: a.reasoningContent + b.reasoningContent } };
  }
  const [call] = a.toolCalls ?? [];
  const [nextCall] = b.toolCalls ?? [];
  // A call's first piece, which has its name, stays alone, as OpenAI sends it.
  if (call?.function === undefined || nextCall?.function === undefined) return undefined;
  if (call.id !== undefined || call.index !== nextCall.index) return undefined;
  const { index = 0 } = call;
  const args = (call.function.arguments ?? "") + (nextCall.function.arguments ?? "");
  return { delta: { toolCalls: [{ index, function: { arguments: args } }] } };
}

/** How reasoning is told from the answer; undefined where it stays in the content, tags and all. */
export function separatingFormat(
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

/** Nine letters and digits: what Mistral's templates demand of an id that comes back. */
function callId(): string {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return Array.from(randomBytes(9), (byte) => letters[byte % letters.length]).join("");
}
