import { type CreateChatCompletionRequest, OutputModality, ToolChoiceMode } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import type { GenerationRequest } from "./generator.ts";

/** A field that local models can't honour yet, and when a request needs it to be honoured. */
interface Unsupported<Request> {
  /** The field as JSON names it. */
  readonly param: string;
  readonly asked: (request: Request) => boolean;
  /** What exactly is not supported; the field alone where absent. */
  readonly what?: string;
}

/**
 * Nothing is silently ignored: what changes the answer and can't be done is
 * refused by name. What builds one of these deletes its row, and says so in
 * request-fields.ts, where all that a request can hold has a row.
 */
const forAll: readonly Unsupported<GenerationRequest>[] = [
  { param: "grammar", asked: (r) => r.grammar !== undefined },
  { param: "structured_outputs.grammar", asked: (r) => r.structuredOutputs?.grammar !== undefined },
  { param: "typical_p", asked: (r) => (r.typicalP ?? 1) < 1 },
  { param: "min_tokens", asked: (r) => (r.minTokens ?? 0) > 0 },
];

const forChat: readonly Unsupported<CreateChatCompletionRequest>[] = [
  { param: "tool_choice", what: "a `tool_choice` that forces a call", asked: forcesCall },
  {
    param: "tools",
    what: "a function with `strict`",
    asked: (r) => r.tools.some(({ tool }) => tool.case === "function" && tool.value.strict === true),
  },
  { param: "functions", asked: (r) => r.functions.length > 0 },
  { param: "function_call", asked: (r) => r.functionCall?.choice.case === "function" },
  { param: "thinking_budget_tokens", asked: (r) => (r.thinkingBudgetTokens ?? -1) >= 0 },
  {
    param: "modalities",
    what: "the modality `audio`",
    asked: (r) => r.modalities.includes(OutputModality.AUDIO),
  },
  { param: "audio", asked: (r) => r.audio !== undefined },
  { param: "web_search_options", asked: (r) => r.webSearchOptions !== undefined },
  { param: "moderation", asked: (r) => r.moderation !== undefined },
  { param: "retrieval", asked: (r) => r.retrieval !== undefined },
];

/** Throws `unsupported` for the first field of a request that asks for what can't be done yet. */
export function refuseUnsupported(request: GenerationRequest): void {
  const row =
    forAll.find(({ asked }) => asked(request)) ??
    (request.$typeName === "loqui.v1.CreateChatCompletionRequest"
      ? forChat.find(({ asked }) => asked(request))
      : undefined);
  if (row === undefined) return;
  const what = row.what ?? `\`${row.param}\``;
  throw new LoquiError("unsupported", `${what} is not supported yet by this model`, { param: row.param });
}

function forcesCall(request: CreateChatCompletionRequest): boolean {
  const choice = request.toolChoice?.choice;
  if (choice?.case === "mode") return choice.value === ToolChoiceMode.REQUIRED;
  const selection = choice?.case === "selection" ? choice.value.selection : undefined;
  if (selection?.case === "allowedTools") return selection.value.mode === ToolChoiceMode.REQUIRED;
  return selection !== undefined;
}
