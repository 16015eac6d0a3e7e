import type { CreateChatCompletionRequest } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import { type ChatTemplate, reasoningMembers, type TemplateMessage, type TemplateVariables } from "./chat-template.ts";

/** Stands where the message ends. The space at its end shows whether the template trims what it is given. */
const mark = "loqui-goes-on-here ";

/**
 * The prompt of a request: it ends with the opening of an assistant's message,
 * with a closed message where `add_generation_prompt` is false, or with
 * `continue_final_message` within the last message, an assistant's, which the
 * model goes on with; where that has nothing but reasoning, with its reasoning.
 * As in Hugging Face's `apply_chat_template`, that message is rendered with a
 * mark at its end and the text cut there. Throws `invalid_request`, naming the
 * field, for a message that can't be continued, and `unsupported` where the
 * template doesn't show it.
 */
export function renderPrompt(
  template: ChatTemplate,
  variables: Omit<TemplateVariables, "addGenerationPrompt">,
  request: Pick<CreateChatCompletionRequest, "messages" | "addGenerationPrompt" | "continueFinalMessage">,
): string {
  if (request.continueFinalMessage !== true) {
    return template.render({ ...variables, addGenerationPrompt: request.addGenerationPrompt ?? true });
  }
  if (request.addGenerationPrompt === true) throw refusal("invalid_request", "excludes add_generation_prompt");
  const messages = [...variables.messages];
  const last = messages.pop();
  if (last?.role !== "assistant") throw refusal("invalid_request", "the last message is not an assistant's");
  const { toolCalls = [], functionCall } = request.messages.at(-1) ?? {};
  if (toolCalls.length > 0 || functionCall !== undefined)
    throw refusal("invalid_request", "the last message calls tools");
  messages.push(marked(last));
  const text = template.render({ ...variables, messages, addGenerationPrompt: false });
  const end = text.lastIndexOf(mark.trimEnd());
  if (end === -1) throw refusal("unsupported", "this model's template doesn't show the last message");
  const open = text.slice(0, end);
  // A template that trims the mark would have trimmed the message.
  return text.startsWith(mark, end) ? open : open.trimEnd();
}

function marked(message: TemplateMessage): TemplateMessage {
  const { content } = message;
  const member = reasoningMembers.find((name) => message[name] !== undefined && message[name] !== "");
  if (typeof content === "string") {
    if (content !== "" || member === undefined) return { ...message, content: content + mark };
    return { ...message, [member]: message[member] + mark };
  }
  const parts = [...content];
  const last = parts.pop() ?? { type: "text", text: "" };
  if (last.type === "text") parts.push({ ...last, text: last.text + mark });
  else parts.push({ ...last, thinking: last.thinking + mark });
  return { ...message, content: parts };
}

function refusal(kind: "invalid_request" | "unsupported", why: string): LoquiError {
  const param = "continue_final_message";
  return new LoquiError(kind, `${param}: ${why}`, { param });
}
