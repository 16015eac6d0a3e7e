import type { CreateChatCompletionRequest } from "../../gen/loqui/v1/chat_pb.ts";
import type { ModelInfo } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import { parseJson, templateMessages, templateTools } from "./chat-messages.ts";
import { type OutputFormat, outputFormatOf } from "./chat-output/parser.ts";
import { compileChatTemplate, type Shown } from "./chat-template.ts";
import { allowedTools, offeredTools } from "./chat-tools.ts";
import { renderPrompt } from "./open-message.ts";
import { withToldTools } from "./told-tools.ts";

/** What of a request the prompt is made of. */
export type PromptRequest = Pick<
  CreateChatCompletionRequest,
  | "messages"
  | "tools"
  | "toolChoice"
  | "reasoningEffort"
  | "verbosity"
  | "chatTemplateKwargs"
  | "addGenerationPrompt"
  | "continueFinalMessage"
>;

/** Makes prompts of conversations: for chat, and for those who only want to see or count them. */
export interface ChatPrompts {
  /** How the model writes what is no plain answer. */
  readonly format: OutputFormat;
  readonly shown: Shown;
  /** Whether a message of the history may have several calls. */
  readonly takesParallelCalls: boolean;
  /** The text that the model's template makes of a conversation. Throws an error that names the field. */
  render(request: PromptRequest): string;
}

/** `chatTemplate`: instead of the model's own. */
export function createChatPrompts(info: ModelInfo, chatTemplate: string | undefined): ChatPrompts {
  const source = chatTemplate ?? info.chatTemplate;
  const template = compileChatTemplate({ ...info, chatTemplate: source });
  const { told } = template;
  const format = outputFormatOf(source ?? "", !told.tools);
  return {
    format,
    shown: template.shown,
    takesParallelCalls: template.takesParallelCalls,
    render(request) {
      const offered = offeredTools(request) !== undefined;
      if (offered && told.tools && format.harmony) {
        const param = "tools";
        const message =
          "`tools` are not supported by this model: it writes calls as gpt-oss does, but its template doesn't show them";
        throw new LoquiError("unsupported", message, { param });
      }
      const kwargs =
        request.chatTemplateKwargs === undefined ? {} : parseJson(request.chatTemplateKwargs, "chat_template_kwargs");
      if (typeof kwargs !== "object" || kwargs === null || Array.isArray(kwargs)) {
        const param = "chat_template_kwargs";
        throw new LoquiError("invalid_request", `${param} is not a JSON object`, { param });
      }
      const tools = templateTools(allowedTools(request), template);
      const variables = {
        messages: withToldTools(
          templateMessages(request.messages, told.calls ? { ...template, wantsArgumentsAsText: false } : template),
          offered ? tools : undefined,
          template,
          format,
        ),
        tools: told.tools ? undefined : tools,
        kwargs: {
          ...template.reasoningVariables(request.reasoningEffort),
          ...template.verbosityVariables(request.verbosity),
          ...kwargs,
        },
      };
      return renderPrompt(template, variables, request);
    },
  };
}
