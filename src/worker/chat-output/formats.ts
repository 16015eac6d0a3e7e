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
} from "./call-syntaxes.ts";

/** How the models of a family write tool calls. */
export interface CallFormat {
  readonly name: string;
  /** What only templates of this family hold. */
  readonly template: RegExp;
  /** Calls begin behind one of these. */
  readonly open: readonly string[];
  readonly syntax: CallSyntax;
  /** May stand around calls and is no content. */
  readonly silent?: readonly string[];
  /** A call that begins the answer without a marker; only one of a known tool is one. */
  readonly bare?: { readonly first: string; readonly syntax: CallSyntax };
}

const knownJson = sequenceOf(jsonCall({ onlyKnown: true }), [";"]);
const bareJson = { first: "{", syntax: knownJson };

/** The first whose pattern is in the model's template holds; the last fits all. A new family is a row. */
export const callFormats: readonly CallFormat[] = [
  {
    name: "Qwen3-Coder",
    template: /<function=/,
    open: ["<tool_call>"],
    silent: ["</tool_call>"],
    syntax: tagCall({
      open: "<function=",
      nameEnd: [">"],
      parameter: "<parameter=",
      parameterNameEnd: ">",
      valueEnd: "</parameter>",
      close: "</function>",
    }),
  },
  {
    name: "GLM",
    template: /<arg_key>/,
    open: ["<tool_call>"],
    silent: ["</tool_call>"],
    syntax: tagCall({
      open: "",
      nameEnd: ["\n", "<arg_key>", "</tool_call>"],
      parameter: "<arg_key>",
      parameterNameEnd: "</arg_key>",
      valueBegin: "<arg_value>",
      valueEnd: "</arg_value>",
      close: "",
    }),
  },
  {
    name: "Hermes, Qwen",
    template: /<tool_call>/,
    open: ["<tool_call>"],
    silent: ["</tool_call>"],
    syntax: sequenceOf(listOf(jsonCall()), []),
  },
  {
    name: "Mistral",
    template: /\[TOOL_CALLS\]/,
    open: ["[TOOL_CALLS]"],
    syntax: either(
      "[{",
      listOf(jsonCall()),
      namedJson("[ARGS]", (text) => {
        const [name = "", id] = text.split("[CALL_ID]").map((part) => part.trim());
        return { name, ...(id !== undefined && { id }) };
      }),
    ),
  },
  {
    name: "DeepSeek",
    template: /<｜tool▁calls▁begin｜>/,
    open: ["<｜tool▁call▁begin｜>"],
    silent: ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"],
    syntax: deepSeekCall,
  },
  {
    name: "FunctionGemma",
    template: /<start_function_call>/,
    open: ["<start_function_call>"],
    syntax: gemmaCall("<escape>", "<end_function_call>"),
  },
  {
    name: "Gemma 4",
    template: /<\|tool_call>/,
    open: ["<|tool_call>"],
    syntax: gemmaCall('<|"|>', "<tool_call|>"),
  },
  {
    name: "Granite, Phi-4",
    template: /<\|tool_call\|>/,
    open: ["<|tool_call|>"],
    silent: ["<|/tool_call|>"],
    syntax: listOf(jsonCall()),
  },
  {
    name: "Llama, pythonic",
    template: /\[func_name1\(/,
    open: ["<|python_start|>", "<|python_tag|>"],
    silent: ["<|python_end|>"],
    syntax: pythonCalls(),
    bare: { first: "[", syntax: pythonCalls({ onlyKnown: true }) },
  },
  {
    name: "Llama, JSON",
    template: /<\|python_tag\|>|"parameters": ?dictionary|<\|start_header_id\|>/,
    open: ["<|python_tag|>"],
    syntax: sequenceOf(jsonCall(), [";"]),
    bare: bareJson,
  },
  { name: "generic JSON", template: /(?:)/, open: [], syntax: knownJson, bare: bareJson },
];

/** How a family marks what it thinks. */
export interface ReasoningFormat {
  readonly template: RegExp;
  readonly open: string;
  readonly close: string;
}

/** The first whose pattern is in the model's template holds; of all the first is the commonest. */
export const reasoningFormats: readonly ReasoningFormat[] = [
  { template: /<think>|<\/think>/, open: "<think>", close: "</think>" },
  { template: /\[THINK\]/, open: "[THINK]", close: "[/THINK]" },
  { template: /<\|channel>/, open: "<|channel>thought\n", close: "<channel|>" },
  { template: /<seed:think>/, open: "<seed:think>", close: "</seed:think>" },
];
