import {
  type CallWriting,
  gemmaObject,
  jsonArguments,
  jsonHead,
  jsonTail,
  keywordArguments,
  plainHead,
  tagArguments,
} from "./call-grammars.ts";
import {
  type CallSyntax,
  deepSeekCall,
  either,
  gemmaCall,
  jsonCall,
  listOf,
  namedJson,
  pythonCalls,
  sequenceOf,
  tagCall,
  wrapped,
} from "./call-syntaxes.ts";

/** How the models of a family write tool calls. */
export interface CallFormat {
  readonly name: string;
  /** What only templates of this family hold. */
  readonly template: RegExp;
  /** Calls begin behind one of these. */
  readonly open: readonly string[];
  readonly syntax: CallSyntax;
  readonly writing: CallWriting;
  /** May stand around calls and is no content. */
  readonly silent?: readonly string[];
  /** Control tokens within calls that `writing` doesn't show. */
  readonly tokens?: readonly string[];
  /** A call that begins the answer without a marker; only one of a known tool is one. */
  readonly bare?: BareCalls;
}

export interface BareCalls {
  readonly syntax: CallSyntax;
  /** What such an answer begins with, up to the name: pieces between which there may be white space. */
  readonly begins: (name: string) => readonly string[];
}

const knownJson = sequenceOf(jsonCall({ onlyKnown: true }), [";"]);
const bareJson: BareCalls = {
  syntax: knownJson,
  begins: (name) => ["{", '"name"', ":", JSON.stringify(name)],
};
const toldSyntax = wrapped("tool_calls", listOf(jsonCall({ onlyKnown: true })));
/** Mistral's list of calls, and from 2025 on a marker for each. */
const mistral = either(
  "[{",
  listOf(jsonCall()),
  namedJson("[ARGS]", (text) => {
    const [name = "", id] = text.split("[CALL_ID]").map((part) => part.trim());
    return { name, ...(id !== undefined && { id }) };
  }),
);

/** The first whose pattern is in the model's template holds; the last fits all. A new family is a row. */
export const callFormats: readonly CallFormat[] = [
  {
    name: "Qwen3-Coder",
    template: /<function=/,
    open: ["<tool_call>"],
    silent: ["</tool_call>"],
    tokens: ["<parameter=", "</parameter>"],
    syntax: tagCall({
      open: "<function=",
      nameEnd: [">"],
      parameter: "<parameter=",
      parameterNameEnd: ">",
      valueEnd: "</parameter>",
      close: "</function>",
    }),
    writing: {
      marker: "<tool_call>",
      head: plainHead("<function=", ">\n"),
      tail: "</function>",
      close: "</tool_call>",
      arguments: tagArguments({
        before: "<parameter=",
        afterName: ">\n",
        after: "\n</parameter>",
        valueEnd: "</parameter>",
      }),
    },
  },
  {
    name: "GLM",
    template: /<arg_key>/,
    open: ["<tool_call>"],
    silent: ["</tool_call>"],
    tokens: ["<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"],
    syntax: tagCall({
      open: "",
      nameEnd: ["\n", "<arg_key>", "</tool_call>"],
      parameter: "<arg_key>",
      parameterNameEnd: "</arg_key>",
      valueBegin: "<arg_value>",
      valueEnd: "</arg_value>",
      close: "",
    }),
    writing: {
      marker: "<tool_call>",
      head: plainHead("", "\n"),
      tail: "",
      close: "</tool_call>",
      arguments: tagArguments({
        before: "<arg_key>",
        afterName: "</arg_key>\n<arg_value>",
        after: "</arg_value>",
        valueEnd: "</arg_value>",
      }),
    },
  },
  {
    name: "Hermes, Qwen",
    template: /<tool_call>/,
    open: ["<tool_call>"],
    silent: ["</tool_call>"],
    syntax: sequenceOf(listOf(jsonCall()), []),
    writing: {
      marker: "<tool_call>",
      head: jsonHead("arguments"),
      tail: jsonTail,
      close: "</tool_call>",
      arguments: jsonArguments,
    },
  },
  {
    name: "Mistral, marked arguments",
    template: /\[TOOL_CALLS\][\s\S]*\[ARGS\]/,
    open: ["[TOOL_CALLS]"],
    tokens: ["[ARGS]", "[CALL_ID]"],
    syntax: mistral,
    writing: {
      marker: "[TOOL_CALLS]",
      head: plainHead("", "[ARGS]"),
      tail: "",
      arguments: jsonArguments,
    },
  },
  {
    name: "Mistral",
    template: /\[TOOL_CALLS\]/,
    open: ["[TOOL_CALLS]"],
    tokens: ["[ARGS]", "[CALL_ID]"],
    syntax: mistral,
    writing: {
      marker: "[TOOL_CALLS]",
      open: "[",
      separator: ",",
      head: jsonHead("arguments"),
      tail: jsonTail,
      close: "]",
      arguments: jsonArguments,
    },
  },
  {
    name: "DeepSeek, fenced",
    template: /<｜tool▁calls▁begin｜>[\s\S]*```json/,
    open: ["<｜tool▁call▁begin｜>"],
    silent: ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"],
    syntax: deepSeekCall,
    writing: {
      first: "<｜tool▁calls▁begin｜>",
      marker: "<｜tool▁call▁begin｜>",
      head: plainHead("function<｜tool▁sep｜>", "\n```json\n"),
      tail: "\n```",
      close: "<｜tool▁call▁end｜>",
      last: "<｜tool▁calls▁end｜>",
      arguments: jsonArguments,
    },
  },
  {
    name: "DeepSeek",
    template: /<｜tool▁calls▁begin｜>/,
    open: ["<｜tool▁call▁begin｜>"],
    silent: ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"],
    syntax: deepSeekCall,
    writing: {
      first: "<｜tool▁calls▁begin｜>",
      marker: "<｜tool▁call▁begin｜>",
      head: plainHead("", "<｜tool▁sep｜>"),
      tail: "",
      close: "<｜tool▁call▁end｜>",
      last: "<｜tool▁calls▁end｜>",
      arguments: jsonArguments,
    },
  },
  {
    name: "FunctionGemma",
    template: /<start_function_call>/,
    open: ["<start_function_call>"],
    tokens: ["<escape>"],
    syntax: gemmaCall("<escape>", "<end_function_call>"),
    writing: {
      marker: "<start_function_call>",
      head: plainHead("call:", ""),
      tail: "",
      close: "<end_function_call>",
      arguments: gemmaObject("<escape>", "<end_function_call>"),
    },
  },
  {
    name: "Gemma 4",
    template: /<\|tool_call>/,
    open: ["<|tool_call>"],
    tokens: ['<|"|>'],
    syntax: gemmaCall('<|"|>', "<tool_call|>"),
    writing: {
      marker: "<|tool_call>",
      head: plainHead("call:", ""),
      tail: "",
      close: "<tool_call|>",
      arguments: gemmaObject('<|"|>', "<tool_call|>"),
    },
  },
  {
    name: "Granite, Phi-4",
    template: /<\|tool_call\|>/,
    open: ["<|tool_call|>"],
    silent: ["<|/tool_call|>"],
    syntax: listOf(jsonCall()),
    writing: {
      marker: "<|tool_call|>",
      open: "[",
      separator: ",",
      head: jsonHead("arguments"),
      tail: jsonTail,
      close: "]",
      arguments: jsonArguments,
    },
  },
  {
    name: "Llama, pythonic",
    template: /\[func_name1\(/,
    open: ["<|python_start|>", "<|python_tag|>"],
    silent: ["<|python_end|>"],
    syntax: pythonCalls(),
    writing: {
      open: "[",
      separator: ",",
      head: (name) => (/^[\p{L}_][\p{L}\p{N}_.-]*$/u.test(name) ? `${name}(` : undefined),
      tail: ")",
      close: "]",
      arguments: keywordArguments,
    },
    bare: {
      syntax: pythonCalls({ onlyKnown: true }),
      begins: (name) => ["[", name, "("],
    },
  },
  {
    name: "Llama, JSON",
    template: /<\|python_tag\|>|"parameters": ?dictionary|<\|start_header_id\|>/,
    open: ["<|python_tag|>"],
    syntax: sequenceOf(jsonCall(), [";"]),
    writing: {
      separator: ";",
      head: jsonHead("parameters"),
      tail: jsonTail,
      arguments: jsonArguments,
    },
    bare: bareJson,
  },
  {
    name: "generic JSON",
    template: /(?:)/,
    open: [],
    syntax: knownJson,
    writing: { separator: ";", head: jsonHead("arguments"), tail: jsonTail, arguments: jsonArguments },
    bare: bareJson,
  },
];

/** What a model whose template doesn't show tools is told to write; see `withToldTools`. No template says it. */
export const toldCalls = {
  name: "told JSON",
  template: /(?!)/,
  open: [],
  syntax: toldSyntax,
  writing: {
    open: ["{", '"tool_calls":', "[", ""],
    separator: ",",
    head: jsonHead("arguments"),
    tail: jsonTail,
    close: ["]", "}"],
    arguments: jsonArguments,
  },
  bare: {
    syntax: toldSyntax,
    begins: (name) => ["{", '"tool_calls"', ":", "[", "{", '"name"', ":", JSON.stringify(name)],
  },
} as const satisfies CallFormat;

/** gpt-oss' thinking is a message of its own. */
export const harmonyReasoning: ReasoningFormat = {
  template: /<\|channel\|>/,
  open: "<|channel|>analysis<|message|>",
  close: "<|end|>",
  cut: "<|end|><|start|>assistant",
};

/** gpt-oss' messages; a call ends the answer. */
export const harmonyWriting: CallWriting = {
  head: plainHead("<|channel|>commentary to=functions.", " <|constrain|>json<|message|>"),
  tail: "",
  arguments: jsonArguments,
};

/** How a family marks what it thinks. */
export interface ReasoningFormat {
  readonly template: RegExp;
  readonly open: string;
  readonly close: string;
  /** How the reasoning ends where it is cut short. */
  readonly cut: string;
}

/** The first whose pattern is in the model's template holds; of all the first is the commonest. */
export const reasoningFormats: readonly ReasoningFormat[] = [
  { template: /<think>|<\/think>/, open: "<think>", close: "</think>", cut: "\n</think>\n\n" },
  { template: /\[THINK\]/, open: "[THINK]", close: "[/THINK]", cut: "[/THINK]" },
  { template: /<\|channel>/, open: "<|channel>thought\n", close: "<channel|>", cut: "<channel|>" },
  { template: /<seed:think>/, open: "<seed:think>", close: "</seed:think>", cut: "</seed:think>" },
];
