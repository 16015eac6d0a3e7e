import { Template } from "@huggingface/jinja";
import { ChatRole, ReasoningEffort, Verbosity } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";

/** What templates call the reasoning of an earlier message. */
export const reasoningMembers = ["reasoning_content", "reasoning", "thinking", "thought"] as const;
export type ReasoningMember = (typeof reasoningMembers)[number];

/** A message as chat templates expect it, in the names of Hugging Face's `apply_chat_template`. */
export interface TemplateMessage extends Readonly<Partial<Record<ReasoningMember, string>>> {
  readonly role: string;
  readonly content: string | readonly TemplatePart[];
  readonly name?: string;
  readonly tool_calls?: readonly TemplateToolCall[];
  readonly tool_call_id?: string;
}

export type TemplatePart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "thinking"; readonly thinking: string };

export interface TemplateToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** What a template is given beside the messages. */
export interface TemplateVariables {
  readonly messages: readonly TemplateMessage[];
  /** Tools as parsed JSON; undefined where there are none. */
  readonly tools?: readonly unknown[] | undefined;
  /** Whether the text ends with the opening of the assistant's message. */
  readonly addGenerationPrompt: boolean;
  /** Further variables, by their names in the template. */
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined;
}

/** What of a conversation the model gets to see. */
export interface Shown {
  /** The roles whose messages' names are shown. */
  readonly namedRoles: readonly ChatRole[];
  /** The template's text: a variable that it doesn't name has no effect. */
  readonly source: string;
}

/** What the template doesn't show, so that it is put into the texts of messages. */
export interface Told {
  /** The request's tools. */
  readonly tools: boolean;
  /** Earlier calls of them; also where the tools are told, so that all calls look alike. */
  readonly calls: boolean;
  /** The results of those. */
  readonly results: boolean;
}

/** Makes a prompt of a conversation. */
export interface ChatTemplate {
  /** The prompt. Throws `invalid_request` with the template's own words where it refuses the messages. */
  render(variables: TemplateVariables): string;
  /** Whether the template reads a message's content only as a list of parts. */
  readonly wantsParts: boolean;
  /** Whether the template reads the arguments of earlier tool calls only as JSON text, not as an object. */
  readonly wantsArgumentsAsText: boolean;
  readonly told: Told;
  /** Whether a conversation may begin with a system message. */
  readonly takesSystem: boolean;
  readonly shown: Shown;
  /** Whether the template shows only tools that are described, parameters too, as gpt-oss' and Hermes'. */
  readonly wantsDescriptions: boolean;
  /** Whether a message may have several calls: Llama 3's template refuses them, gpt-oss' shows the first. */
  readonly takesParallelCalls: boolean;
  /** Where the template looks for the reasoning of an earlier message: in a member of it, or in a part of its content, as Mistral's. */
  readonly reasoningPlace: ReasoningMember | "part";
  /** Whether a message that has text and calls may have its reasoning too: gpt-oss' template refuses it. */
  readonly allowsReasoningBesideCalls: boolean;
  /**
   * The variables by which the template is told how long to think. Throws
   * `unsupported` where it knows none and the model can't but think, or not at all.
   */
  reasoningVariables(effort: ReasoningEffort | undefined): Readonly<Record<string, unknown>>;
  /** The variables by which it is told how wordy to be. Throws `unsupported` where it knows none, but for the middle. */
  verbosityVariables(verbosity: Verbosity | undefined): Readonly<Record<string, unknown>>;
}

/** Where a template comes from and the texts of the special tokens that it may use. */
export interface TemplateSource {
  /** Jinja; ChatML where the model has none, as llama-server does it. */
  readonly chatTemplate: string | undefined;
  readonly bosToken: string;
  readonly eosToken: string;
  /** Whether a prompt of this model begins with `bosToken`; a template of the model's own writes it itself. */
  readonly addBos: boolean;
}

const chatml = `{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}`;

/** Ids of calls as Mistral's templates demand them. */
const probeIds = ["probe0001", "probe0002"] as const;

const reservedNames = ["messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"] as const;

/**
 * Compiles a chat template (Jinja, by @huggingface/jinja) and tries out which
 * forms of content and arguments it reads. Variables are those of Hugging
 * Face's `apply_chat_template`; `raise_exception` and `strftime_now` come with
 * the library. Throws `model_unavailable` where the template can't be parsed.
 */
export function compileChatTemplate(source: TemplateSource): ChatTemplate {
  const template = parse(source.chatTemplate ?? chatml);
  const prefix = source.chatTemplate === undefined && source.addBos ? source.bosToken : "";

  // Hugging Face says None, over which a few templates loop without asking.
  let noTools: null | [] = null;
  function run({ messages, tools, addGenerationPrompt, kwargs }: TemplateVariables): string {
    const text = template.render({
      ...kwargs,
      messages,
      tools: tools ?? noTools,
      documents: null,
      add_generation_prompt: addGenerationPrompt,
      bos_token: source.bosToken,
      eos_token: source.eosToken,
    });
    return prefix + text;
  }

  function shows(word: string, messages: TemplateMessage[], tools?: unknown[]): boolean {
    try {
      return run({ messages, tools, addGenerationPrompt: true }).includes(word);
    } catch {
      return false;
    }
  }

  const user: TemplateMessage = { role: "user", content: "loqui-probe" };
  const parts: TemplateMessage = { role: "user", content: [{ type: "text", text: "loqui-probe" }] };
  if (!shows("", [user]) && !shows("", [parts])) noTools = [];
  const wantsParts = !shows("loqui-probe", [user]) && shows("loqui-probe", [parts]);
  const callOf = (id: string, args: unknown): TemplateToolCall => ({
    id,
    type: "function",
    function: { name: "probe", arguments: args },
  });
  const calling = (args: unknown): TemplateMessage => ({
    role: "assistant",
    content: "",
    tool_calls: [callOf(probeIds[0], args)],
  });
  const wantsArgumentsAsText =
    !shows("loqui-value", [user, calling({ key: "loqui-value" })]) &&
    shows("loqui-value", [user, calling('{"key": "loqui-value"}')]);
  const argumentsOf = (key: string) => (wantsArgumentsAsText ? JSON.stringify({ key }) : { key });

  const reasoningPlace = reasoningPlaceOf(source.chatTemplate ?? chatml);
  const allowsReasoningBesideCalls =
    reasoningPlace === "part" || shows("", [user, { ...calling({}), content: "a", [reasoningPlace]: "a" }]);

  const plain: TemplateMessage = { role: "user", content: wantsParts ? [{ type: "text", text: "a" }] : "a" };
  const showsTool = (description?: string) => {
    const parameters = { type: "object", properties: { a: { type: "string", description } } };
    const tool = { type: "function", function: { name: "loqui-probe", description, parameters } };
    return shows("loqui-probe", [plain], [JSON.parse(JSON.stringify(tool))]);
  };
  const showsTools = showsTool() || showsTool("a");
  const wantsDescriptions = showsTools && !showsTool();

  const several: TemplateMessage[] = [
    plain,
    {
      role: "assistant",
      content: "",
      tool_calls: ["loqui-first", "loqui-second"].map((value, index) =>
        callOf(probeIds[index] ?? "", argumentsOf(value)),
      ),
    },
  ];
  const called = [plain, calling(argumentsOf("loqui-value"))];
  const answer: TemplateMessage = { ...plain, role: "tool", tool_call_id: probeIds[0] };
  // Nemotron's shows a call only with its result.
  const tellsCalls = !showsTools || (!shows("loqui-value", called) && !shows("loqui-value", [...called, answer]));
  const takesParallelCalls =
    tellsCalls || shows("loqui-second", several) || shows("loqui-second", [...several, answer]);

  const probe = wantsParts ? parts : user;
  const takesSystem = shows("loqui-probe", [{ ...probe, role: "system" }, plain]);
  const answered: TemplateMessage[] = [plain, { ...plain, role: "assistant" }];
  const showsResults = shows("loqui-probe", [...answered, { ...answer, content: probe.content }]);
  const told = { tools: !showsTools, calls: tellsCalls, results: tellsCalls && (!showsTools || !showsResults) };

  const named = (role: string): TemplateMessage => ({ ...plain, role, name: "loqui-name" });
  const result = [...(tellsCalls ? answered : called), { ...answer, name: "loqui-name" }];
  const naming: readonly (readonly [ChatRole, TemplateMessage[]])[] = [
    [ChatRole.SYSTEM, [named("system"), plain]],
    [ChatRole.DEVELOPER, [named("system"), plain]],
    [ChatRole.USER, [named("user")]],
    [ChatRole.ASSISTANT, [plain, named("assistant")]],
    [ChatRole.TOOL, result],
    [ChatRole.FUNCTION, result],
  ];
  const namedRoles = naming
    .filter(([, messages]) => (messages === result && told.results) || shows("loqui-name", messages))
    .map(([role]) => role);

  const names = (variable: string) => new RegExp(`\\b${variable}\\b`).test(source.chatTemplate ?? chatml);
  const switches = ["enable_thinking", "thinking"].filter(names);
  const graded = names("reasoning_effort");
  const wordy = names("verbosity");

  return {
    wantsParts,
    wantsArgumentsAsText,
    told,
    takesSystem,
    shown: { namedRoles, source: source.chatTemplate ?? chatml },
    wantsDescriptions,
    takesParallelCalls,
    reasoningPlace,
    allowsReasoningBesideCalls,
    reasoningVariables(effort) {
      if (effort === undefined) return {};
      const name = effortNames[effort];
      if (switches.length === 0 && !graded && effort !== ReasoningEffort.NONE) {
        throw new LoquiError("unsupported", `reasoning_effort: this model's template knows no ${name} effort`, {
          param: "reasoning_effort",
        });
      }
      return {
        ...(graded && { reasoning_effort: name }),
        ...Object.fromEntries(switches.map((variable) => [variable, effort !== ReasoningEffort.NONE])),
      };
    },
    verbosityVariables(verbosity) {
      if (verbosity === undefined) return {};
      const name = verbosityNames[verbosity];
      if (!wordy && verbosity !== Verbosity.MEDIUM) {
        throw new LoquiError("unsupported", `verbosity: this model's template knows no ${name} verbosity`, {
          param: "verbosity",
        });
      }
      return wordy ? { verbosity: name } : {};
    },
    render(variables) {
      const reserved = reservedNames.find((name) => Object.hasOwn(variables.kwargs ?? {}, name));
      if (reserved !== undefined) {
        throw new LoquiError("invalid_request", `chat_template_kwargs must not set ${reserved}`, {
          param: "chat_template_kwargs",
        });
      }
      try {
        return run(variables);
      } catch (error) {
        const words = error instanceof Error ? error.message : String(error);
        throw new LoquiError("invalid_request", `the model's chat template refuses the messages: ${words}`, {
          param: "messages",
          cause: error,
        });
      }
    },
  };
}

function reasoningPlaceOf(template: string): ReasoningMember | "part" {
  const member = reasoningMembers.find((name) => new RegExp(`(\\.|\\[['"]|\\(['"])${name}\\b`).test(template));
  if (member === "thinking" && /\['type'\] == 'thinking'/.test(template)) return "part";
  return member ?? "reasoning_content";
}

const effortNames: Readonly<Record<ReasoningEffort, string>> = {
  [ReasoningEffort.UNSPECIFIED]: "",
  [ReasoningEffort.NONE]: "none",
  [ReasoningEffort.MINIMAL]: "minimal",
  [ReasoningEffort.LOW]: "low",
  [ReasoningEffort.MEDIUM]: "medium",
  [ReasoningEffort.HIGH]: "high",
  [ReasoningEffort.XHIGH]: "xhigh",
  [ReasoningEffort.MAX]: "max",
};

const verbosityNames: Readonly<Record<Verbosity, string>> = {
  [Verbosity.UNSPECIFIED]: "",
  [Verbosity.LOW]: "low",
  [Verbosity.MEDIUM]: "medium",
  [Verbosity.HIGH]: "high",
};

function parse(text: string): Template {
  try {
    return new Template(text);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new LoquiError("model_unavailable", `the model's chat template can't be parsed: ${words}`, { cause: error });
  }
}
