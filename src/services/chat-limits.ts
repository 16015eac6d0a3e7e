import type { CreateChatCompletionRequest, CreateCompletionRequest } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";

/** What one request may ask a model for. The schema has bounds of its own, which no setting raises. */
export interface ChatLimits {
  /** Answers to one request: `n`, `best_of`, times its prompts. */
  readonly maxChoices: number;
  /** Tokens of one answer. */
  readonly maxOutputTokens: number;
  /** Stop strings. */
  readonly maxStops: number;
  /** Entries of `logit_bias`. */
  readonly maxLogitBias: number;
}

type Request = CreateChatCompletionRequest | CreateCompletionRequest;

/** Throws `invalid_request`, naming the field, for a request above the limits. */
export function checkChatLimits(request: Request, limits: ChatLimits): void {
  const chat = request.$typeName === "loqui.v1.CreateChatCompletionRequest";
  const check = (param: string, value: number | undefined, most: number, what = "") => {
    if (value === undefined || value <= most) return;
    const message = `${param}: ${value}${what} is above this server's maximum ${most}`;
    throw new LoquiError("invalid_request", message, { param, code: "limit_exceeded" });
  };
  check("n", request.n, limits.maxChoices);
  if (!chat) {
    check("best_of", request.bestOf, limits.maxChoices);
    const each = request.bestOf ?? request.n ?? 1;
    check("prompt", promptsOf(request) * each, limits.maxChoices, ` answers to ${promptsOf(request)} prompts`);
  }
  if (chat) check("max_completion_tokens", request.maxCompletionTokens, limits.maxOutputTokens);
  check("max_tokens", request.maxTokens, limits.maxOutputTokens);
  check("stop", request.stop.length, limits.maxStops, " stop strings");
  check("logit_bias", Object.keys(request.logitBias).length, limits.maxLogitBias, " entries");
}

function promptsOf({ prompt }: CreateCompletionRequest): number {
  if (prompt.case === "promptTexts") return prompt.value.texts.length;
  return prompt.case === "promptTokenLists" ? prompt.value.lists.length : 1;
}
