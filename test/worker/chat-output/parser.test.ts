import { describe, expect, test } from "vitest";
import type { KnownTools } from "../../../src/worker/chat-output/call-syntaxes.ts";
import type { OutputEvent } from "../../../src/worker/chat-output/events.ts";
import {
  createOutputParser,
  endsInReasoning,
  type OutputParserOptions,
  outputFormatOf,
} from "../../../src/worker/chat-output/parser.ts";

const names = ["weather", "add", "now"];
const tools: KnownTools = {
  names,
  has: (name) => names.includes(name),
  parameterType: (_, parameter) => ({ city: "string", days: "integer", code: "string" })[parameter],
};

interface Answer {
  content: string;
  reasoning: string;
  calls: { name: string; id?: string; arguments: string }[];
}

function collect(events: readonly OutputEvent[]): Answer {
  const answer: Answer = { content: "", reasoning: "", calls: [] };
  for (const event of events) {
    if (event.type === "content" || event.type === "reasoning") answer[event.type] += event.text;
    else if (event.type === "call") {
      answer.calls.push({ name: event.name, ...(event.id !== undefined && { id: event.id }), arguments: "" });
    } else {
      const call = answer.calls.at(-1);
      if (call === undefined) throw new Error("arguments of no call");
      call.arguments += event.text;
    }
  }
  return answer;
}

const formatOf = (template: string | undefined) => outputFormatOf(template ?? "", template !== undefined);

function parse(
  template: string | undefined,
  pieces: readonly string[],
  options: OutputParserOptions,
  cut = false,
): OutputEvent[] {
  const parser = createOutputParser(formatOf(template), options);
  const events: OutputEvent[] = [];
  for (const run of [...pieces.map((piece) => () => parser.push(piece)), () => parser.end(cut)]) {
    const { settled } = parser;
    const more = run();
    for (const event of more) if (event.type === "content") expect(event.from).toBeGreaterThanOrEqual(settled);
    events.push(...more);
  }
  const text = pieces.join("");
  for (const event of events) {
    if (event.type === "content") expect(text.slice(event.from, event.from + event.text.length)).toBe(event.text);
  }
  return events;
}

interface Case {
  readonly what: string;
  /** None where it doesn't show tools. */
  readonly template: string | undefined;
  readonly text: string;
  readonly content?: string;
  readonly reasoning?: string;
  readonly calls?: Answer["calls"];
  readonly options?: OutputParserOptions;
  /** No grammar writes it: cut off, it may be taken for another thing. */
  readonly guessed?: boolean;
}

const hermes = "…<tool_call>…";
const thinking = "…<think>…</think>…<tool_call>…";
const coder = "…<tool_call>\n<function=…";
const glm = "…<tool_call>{name}\n<arg_key>…";
const mistral = "…[TOOL_CALLS]…";
const deepSeek = "…<｜tool▁calls▁begin｜>…";
const llama = "…<|start_header_id|>…";
const pythonic = "…[func_name1(params_name1=…";
const gemma = "…<start_function_call>…";
const harmony = "…<|channel|>…";
const plain = "{{ messages }}";

const weather = { name: "weather", arguments: '{"city": "Oslo"}' };
const add = { name: "add", arguments: '{"a": 1, "b": [2, {"c": "}"}]}' };
const jsonOf = ({ name, arguments: args }: { name: string; arguments: string }, key = "arguments") =>
  `{"name": "${name}", "${key}": ${args}}`;

const cases: readonly Case[] = [
  { what: "text", template: hermes, text: " Hello, <b>world</b>! \n", content: " Hello, <b>world</b>! \n" },
  {
    what: "what only begins like a marker",
    template: hermes,
    text: "a <tool_cal b <tool",
    content: "a <tool_cal b <tool",
  },
  { what: "nothing", template: thinking, text: "", content: "" },

  // Hermes and Qwen
  { what: "one call", template: hermes, text: `<tool_call>\n${jsonOf(weather)}\n</tool_call>`, calls: [weather] },
  {
    what: "text, calls, text",
    template: hermes,
    text: `Let me look.\n\n<tool_call>\n${jsonOf(weather)}\n</tool_call>\n<tool_call>${jsonOf(add)}</tool_call>\nDone. `,
    content: "Let me look.Done. ",
    calls: [weather, add],
  },
  { what: "an unclosed call", template: hermes, text: `<tool_call>${jsonOf(weather)}`, calls: [weather] },
  {
    what: "two calls in one tag",
    template: hermes,
    text: `<tool_call>\n${jsonOf(weather)}\n${jsonOf(add)}\n</tool_call>`,
    calls: [weather, add],
  },
  {
    what: "a list of calls in one tag",
    template: hermes,
    text: `<tool_call>[${jsonOf(weather)}, ${jsonOf(add)}]</tool_call>`,
    calls: [weather, add],
  },
  {
    what: "arguments before the name, and an id",
    template: hermes,
    text: `<tool_call>{"id": "c1", "arguments": ${weather.arguments}, "name": "weather"}</tool_call>`,
    calls: [{ ...weather, id: "c1" }],
  },
  {
    what: "arguments in a string",
    template: hermes,
    text: `<tool_call>{"name": "weather", "arguments": ${JSON.stringify(weather.arguments)}}</tool_call>`,
    calls: [weather],
  },
  {
    what: "no arguments",
    template: hermes,
    text: '<tool_call>{"name": "now"}</tool_call>',
    calls: [{ name: "now", arguments: "{}" }],
  },
  {
    what: "a wrapped call",
    template: hermes,
    text: `<tool_call>{"type": "function", "function": ${jsonOf(weather)}}</tool_call>`,
    calls: [weather],
  },
  {
    what: "escapes and quotes in names and arguments",
    template: hermes,
    text: '<tool_call>{"name": "we\\u0061ther", "arguments": {"city": "a\\"b\\\\", "x": "</tool_call>"}}</tool_call>ok',
    content: "ok",
    calls: [{ name: "weather", arguments: '{"city": "a\\"b\\\\", "x": "</tool_call>"}' }],
  },
  {
    what: "no JSON in the tag",
    template: hermes,
    text: "So <tool_call>is a tag</tool_call> there",
    content: "So <tool_call>is a tag there",
  },
  {
    what: "an object that is no call",
    template: hermes,
    text: '<tool_call>{"a": 1} x',
    content: '<tool_call>{"a": 1} x',
  },
  {
    what: "cut short by the length",
    template: hermes,
    text: '<tool_call>{"name": "weather", "arguments": {"city": "Os',
    calls: [{ name: "weather", arguments: '{"city": "Os' }],
  },
  {
    what: "a request without tools leaves the text as it is",
    template: hermes,
    text: `<tool_call>${jsonOf(weather)}</tool_call>`,
    content: `<tool_call>${jsonOf(weather)}</tool_call>`,
    options: {},
  },

  // Reasoning
  {
    what: "reasoning, then an answer",
    template: thinking,
    text: "<think>\nLet me\n\nthink.\n</think>\n\nYes.",
    reasoning: "Let me\n\nthink.",
    content: "Yes.",
  },
  {
    what: "reasoning, then a call",
    template: thinking,
    text: `<think>Hm.</think>\n\n<tool_call>${jsonOf(weather)}</tool_call>`,
    reasoning: "Hm.",
    calls: [weather],
  },
  {
    what: "reasoning that the prompt began",
    template: thinking,
    text: "Hm, <think.</think>\nYes.",
    reasoning: "Hm, <think.",
    content: "Yes.",
    options: { tools, startsInReasoning: true },
  },
  {
    what: "reasoning without tools, cut short",
    template: thinking,
    text: "<think>I won",
    reasoning: "I won",
    options: {},
  },
  { what: "empty reasoning", template: thinking, text: "<think>\n\n</think>\n\nHi", content: "Hi" },
  {
    what: "Mistral's reasoning",
    template: "[THINK] [TOOL_CALLS]",
    text: "[THINK]Hm.[/THINK]Yes.",
    reasoning: "Hm.",
    content: "Yes.",
  },

  // Tags
  {
    what: "Qwen3-Coder",
    template: coder,
    text: "I look.\n<tool_call>\n<function=weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>",
    content: "I look.",
    calls: [{ name: "weather", arguments: '{"city": "12", "days": 3}' }],
  },
  {
    what: "Qwen3-Coder: code as a value, no parameters",
    template: coder,
    text: "<tool_call>\n<function=add>\n<parameter=code>\nif a < b:\n  x()\n\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
    calls: [
      { name: "add", arguments: '{"code": "if a < b:\\n  x()\\n"}' },
      { name: "now", arguments: "{}" },
    ],
  },
  {
    what: "GLM",
    template: glm,
    text: '<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>x</arg_key>\n<arg_value>{"a": [1]}</arg_value>\n</tool_call>\n<tool_call>now</tool_call>',
    calls: [
      { name: "weather", arguments: '{"city": "Oslo", "x": {"a": [1]}}' },
      { name: "now", arguments: "{}" },
    ],
  },

  // Mistral
  {
    what: "Mistral's list",
    template: mistral,
    text: `[TOOL_CALLS][${jsonOf(weather)}, ${jsonOf(add)}]`,
    calls: [weather, add],
  },
  {
    what: "Mistral's names and ids",
    template: mistral,
    text: `Ok.[TOOL_CALLS]weather[CALL_ID]abc[ARGS]${weather.arguments}[TOOL_CALLS]add[ARGS]${add.arguments}`,
    content: "Ok.",
    calls: [{ ...weather, id: "abc" }, add],
  },

  // DeepSeek
  {
    what: "DeepSeek R1",
    template: deepSeek,
    text: `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n\`\`\`json\n${weather.arguments}\n\`\`\`<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n\`\`\`json\n${add.arguments}\n\`\`\`<｜tool▁call▁end｜><｜tool▁calls▁end｜>`,
    calls: [weather, add],
  },
  {
    what: "DeepSeek V3.1",
    template: deepSeek,
    text: `Ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>${weather.arguments}<｜tool▁call▁end｜><｜tool▁calls▁end｜>`,
    content: "Ok",
    calls: [weather],
  },

  // Llama
  { what: "Llama's bare JSON", template: llama, text: jsonOf(weather, "parameters"), calls: [weather] },
  {
    what: "Llama's calls behind a tag",
    template: llama,
    text: `<|python_tag|>${jsonOf(weather, "parameters")}; ${jsonOf(add, "parameters")}`,
    calls: [weather, add],
  },
  {
    what: "JSON that is the answer",
    template: llama,
    text: '\n{"name": "Oslo", "parameters": 1}',
    content: '\n{"name": "Oslo", "parameters": 1}',
  },
  {
    what: "JSON within the answer",
    template: llama,
    text: `It is ${jsonOf(weather)}`,
    content: `It is ${jsonOf(weather)}`,
  },
  {
    what: "Python calls",
    template: pythonic,
    text: "[weather(city='O\\'s(lo', days=3), add(a=[1, True, None], b={'k': -1.5e3}), now()]",
    calls: [
      { name: "weather", arguments: '{"city": "O\'s(lo", "days": 3}' },
      { name: "add", arguments: '{"a": [1, true, null], "b": {"k": -1.5e3}}' },
      { name: "now", arguments: "{}" },
    ],
  },
  { what: "a list that is no Python call", template: pythonic, text: "[1, 2] (a)", content: "[1, 2] (a)" },
  {
    what: "Python that is none",
    template: pythonic,
    text: "[weather(city=Oslo)]",
    content: "[weather(city=Oslo)]",
    guessed: true,
  },

  // Gemma
  {
    what: "FunctionGemma",
    template: gemma,
    text: '<start_function_call>call:weather{city:<escape>Os{lo}, "x"<escape>,days:3,l:[true,<escape>a<escape>]}<end_function_call>',
    calls: [{ name: "weather", arguments: '{"city": "Os{lo}, \\"x\\"", "days": 3, "l": [true, "a"]}' }],
  },

  // Harmony
  {
    what: "harmony: analysis and an answer",
    template: harmony,
    text: "<|channel|>analysis<|message|>The user\nasks.<|end|><|start|>assistant<|channel|>final<|message|>Yes. <|return|>",
    reasoning: "The user\nasks.",
    content: "Yes. ",
    options: {},
  },
  {
    what: "harmony: a preamble and calls",
    template: harmony,
    text: `<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>${weather.arguments}<|call|><|start|>assistant to=functions.add<|channel|>commentary json<|message|>${add.arguments}<|call|>`,
    reasoning: "Hm.",
    content: "I look.",
    calls: [weather, add],
  },
  { what: "harmony: none", template: harmony, text: "Just text.", content: "Just text." },

  // Nothing known of the template
  { what: "generic JSON", template: plain, text: `{"tool_call": ${jsonOf(weather)}}`, calls: [weather], guessed: true },
  {
    what: "generic JSON as a grammar has it",
    template: plain,
    text: `\n${jsonOf(weather)};${jsonOf(add)}`,
    calls: [weather, add],
  },
  {
    what: "told calls",
    template: undefined,
    text: `{\n "tool_calls": [ ${jsonOf(weather)}, ${jsonOf(add)}]\n}`,
    calls: [weather, add],
  },
  { what: "generic text", template: plain, text: "{a} is a set", content: "{a} is a set" },
];

/** A text without what may begin a marker at its end, which stays text, and white space. */
function withoutBeginning(text: string, markers: readonly string[]): string {
  const beginnings = markers.flatMap((marker) => Array.from(marker, (_, length) => marker.slice(0, length)));
  const longest = beginnings.filter((each) => text.endsWith(each)).sort((a, b) => b.length - a.length)[0] ?? "";
  return text.slice(0, text.length - longest.length).trimEnd();
}

describe.each(cases)(
  "$what",
  ({ template, text, content = "", reasoning = "", calls = [], options = { tools }, guessed = false }) => {
    const expected: Answer = { content, reasoning, calls };

    test("whole", () => {
      expect(collect(parse(template, [text], options))).toEqual(expected);
    });

    test("cut in two anywhere, and in single characters", () => {
      for (let at = 1; at < text.length; at++) {
        const answer = collect(parse(template, [text.slice(0, at), text.slice(at)], options));
        expect(answer, `cut at ${at}`).toEqual(expected);
      }
      expect(collect(parse(template, text.split(""), options))).toEqual(expected);
    });

    test.skipIf(guessed)(
      "cut off anywhere: what was certain is there, and nothing of a call that was begun is text",
      () => {
        const { calls: format, reasoning: marks } = formatOf(template);
        const others = ["<|end|>", "<|call|>", "<|return|>", "```"];
        const markers = [...format.open, ...(format.silent ?? []), marks?.open ?? "", marks?.close ?? "", ...others];
        for (let at = 0; at < text.length; at++) {
          const answer = collect(parse(template, [text.slice(0, at)], options, true));
          const place = `cut off behind ${JSON.stringify(text.slice(0, at))}`;
          const said = withoutBeginning(answer.content, markers);
          expect(content.startsWith(said), `${place}: ${said}`).toBe(true);
          const thought = withoutBeginning(answer.reasoning, markers);
          expect(reasoning.startsWith(thought), `${place}: ${thought}`).toBe(true);
          expect(answer.calls.length).toBeLessThanOrEqual(calls.length);
          for (const [i, call] of answer.calls.entries()) {
            expect({ ...call, arguments: "" }, place).toEqual({ ...calls[i], arguments: "" });
            const written = withoutBeginning(call.arguments, markers);
            expect(calls[i]?.arguments.startsWith(written), `${place}: ${written}`).toBe(true);
          }
        }
      },
    );
  },
);

describe("an answer that is cut off", () => {
  test.each([
    [plain, '{"name"', "", []],
    [plain, '\n{ "name": "we', "", []],
    // None of the tools begins so.
    [plain, '{"name": "wo', '{"name": "wo', []],
    [plain, '{"summary": "a long', '{"summary": "a long', []],
    [plain, '{"name": "weather"', "", [{ name: "weather", arguments: "" }]],
    [plain, '{"name": "weather", "argu', "", [{ name: "weather", arguments: "" }]],
    [llama, '<|python_tag|>{"nam', "", []],
    [pythonic, "[wea", "", []],
    [pythonic, "[weather(city='Os", "", [{ name: "weather", arguments: "" }]],
    [pythonic, "[weather(), no", "", [{ name: "weather", arguments: "{}" }]],
    [pythonic, "[1", "[1", []],
    [undefined, '{"tool_calls": [{"name": "we', "", []],
    [undefined, '{"tool_calls": "we', '{"tool_calls": "we', []],
    [hermes, 'Hm.\n<tool_call>\n{"name": "we', "Hm.", []],
    [hermes, "a <tool", "a <tool", []],
    [gemma, "<start_function_call>call:weather{city:<escape>Os", "", [{ name: "weather", arguments: "" }]],
    [coder, "<tool_call>\n<function=weather>\n<parameter=city>\nOs", "", [{ name: "weather", arguments: "" }]],
    [harmony, "<|channel|>commentary to=functions.wea", "", []],
    [harmony, "<|channel|>commentary to=functions.weather <|", "", [{ name: "weather", arguments: "" }]],
  ])("%j, %j", (template, text, content, calls) => {
    expect(collect(parse(template, [text], { tools }, true))).toEqual({ content, reasoning: "", calls });
  });

  test("one that the model ended so is text", () => {
    expect(collect(parse(plain, ['{"name": "we'], { tools }))).toMatchObject({ content: '{"name": "we', calls: [] });
  });
});

describe("streaming", () => {
  const format = outputFormatOf(hermes);

  test("text comes at once, but for what may be a marker or layout", () => {
    const parser = createOutputParser(format, { tools });
    expect(parser.push("Hello ")).toEqual([{ type: "content", text: "Hello", from: 0 }]);
    expect(parser.push("you <")).toEqual([{ type: "content", text: " you", from: 5 }]);
    expect(parser.push("b")).toEqual([{ type: "content", text: " <b", from: 9 }]);
    expect(parser.end(false)).toEqual([]);
  });

  test("a call begins when its arguments do, and they come as they are written", () => {
    const parser = createOutputParser(format, { tools });
    expect(parser.push('<tool_call>{"name": "weather", ')).toEqual([]);
    expect(parser.push('"arguments": {"ci')).toEqual([
      { type: "call", name: "weather" },
      { type: "arguments", text: '{"ci' },
    ]);
    expect(parser.push('ty": "Os')).toEqual([{ type: "arguments", text: 'ty": "Os' }]);
    expect(parser.push('lo"}}</tool_call>')).toEqual([{ type: "arguments", text: 'lo"}' }]);
  });

  test("a long text in small pieces takes time in proportion to it", () => {
    const parser = createOutputParser(format, { tools });
    let arguments_ = 0;
    for (const event of parser.push('<tool_call>{"name": "weather", "arguments": {"city": "'))
      arguments_ += event.type === "arguments" ? event.text.length : 0;
    for (let i = 0; i < 100_000; i++) {
      for (const event of parser.push("\\n x ")) if (event.type === "arguments") arguments_ += event.text.length;
    }
    expect(arguments_).toBe('{"city": "'.length + 500_000);
  });
});

describe("prompts", () => {
  const format = outputFormatOf(thinking);
  test.each([
    ["<|im_start|>assistant\n", false],
    ["<|im_start|>assistant\n<think>\n", true],
    ["<think>\n\n</think>\n\n", false],
    ["<think>a</think> … <|im_start|>assistant\n<think>\n", true],
  ])("%j", (prompt, within) => {
    expect(endsInReasoning(prompt, format)).toBe(within);
  });
});
