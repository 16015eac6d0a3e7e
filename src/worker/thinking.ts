import type { CreateChatCompletionRequest } from "../../gen/loqui/v1/chat_pb.ts";
import type { TokenEngine } from "../engines/token-engine.ts";
import type { AnswerShape } from "./answer-grammar.ts";
import { harmonyReasoning, type ReasoningFormat } from "./chat-output/formats.ts";
import { endsInReasoning, type OutputFormat } from "./chat-output/parser.ts";

/** How long an answer may think. */
export interface ThinkingLimit {
  readonly marks: ReasoningFormat;
  /** Tokens of reasoning. */
  readonly budget: number;
  /** The prompt ends within the reasoning. */
  readonly begun: boolean;
}

/** Whether the answer to a prompt begins with reasoning; a prompt that has closed some leaves no room for more. */
export function reasoningOf(prompt: string, format: OutputFormat): AnswerShape["reasoning"] {
  if (format.reasoning === undefined) return "none";
  if (endsInReasoning(prompt, format)) return "begun";
  return prompt.trimEnd().endsWith(format.reasoning.close) ? "none" : "possible";
}

/** The prompt; without a budget the reasoning that it begins is ended in it. */
export function cutReasoning(prompt: string, budget: number | undefined, format: OutputFormat): string {
  return budget === 0 && reasoningOf(prompt, format) === "begun" ? `${prompt}${format.reasoning?.cut ?? ""}` : prompt;
}

/** The limit that a request sets; undefined where it sets none, and for models that aren't known to think. */
export function thinkingLimit(
  { thinkingBudgetTokens: budget = -1 }: CreateChatCompletionRequest,
  prompt: string,
  format: OutputFormat,
): ThinkingLimit | undefined {
  const marks = format.harmony ? harmonyReasoning : format.reasoning;
  if (budget < 0 || marks === undefined) return undefined;
  return { marks, budget, begun: endsInReasoning(prompt, { ...format, reasoning: marks }) };
}

/** Counts the tokens of reasoning in one answer. */
export interface ThinkingWatch {
  /** Takes a token. The tokens that end the reasoning where the budget is used up; undefined else. */
  push(token: number): Uint32Array | undefined;
}

export function watchThinking({ marks, budget, begun }: ThinkingLimit, engine: TokenEngine): ThinkingWatch {
  const decoder = engine.createTextDecoder(true);
  let isThinking = begun;
  let spent = 0;
  let isCut = false;
  /** The end of the text, in which a mark may have begun. */
  let tail = "";
  return {
    push(token) {
      if (isThinking) spent += 1;
      tail += decoder.push(token);
      for (;;) {
        const mark = isThinking ? marks.close : marks.open;
        const at = tail.indexOf(mark);
        if (at === -1) {
          tail = tail.slice(Math.max(0, tail.length - mark.length + 1));
          break;
        }
        tail = tail.slice(at + mark.length);
        isThinking = !isThinking;
        isCut = false;
      }
      // Not while a character is open: its bytes would be no text.
      if (!isThinking || isCut || spent < budget || decoder.flush() !== "") return undefined;
      isCut = true;
      return engine.tokenize(marks.cut, true);
    },
  };
}
