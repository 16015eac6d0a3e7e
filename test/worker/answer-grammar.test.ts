import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type AnswerForm,
  type AnswerShape,
  answerGrammar,
  type OfferedFunction,
} from "../../src/worker/answer-grammar.ts";
import type { KnownTools } from "../../src/worker/chat-output/call-syntaxes.ts";
import { createOutputParser, type OutputParserOptions, outputFormatOf } from "../../src/worker/chat-output/parser.ts";
import { choiceExpression, schemaExpression } from "../../src/worker/grammar/json-schema.ts";
import { seededRandom } from "../codec/random-message.ts";
import { type GrammarEngine, openGrammarEngine } from "../support/grammar-engine.ts";
import { grammarWalker } from "../support/grammar-walk.ts";

let engine: GrammarEngine;
beforeAll(async () => {
  engine = await openGrammarEngine();
});
afterAll(() => engine.close());

/** What of a template tells the format, for each of them; undefined for one that doesn't show tools. */
const templates = {
  "Qwen3-Coder": "<tool_call>\n<function=…",
  GLM: "<tool_call>{name}\n<arg_key>…",
  Hermes: "…<tool_call>…",
  "Mistral, a list": "…[TOOL_CALLS]…",
  "Mistral, a marker each": "…[TOOL_CALLS]…[ARGS]…",
  "DeepSeek R1": "<｜tool▁calls▁begin｜>…```json…",
  "DeepSeek V3.1": "<｜tool▁calls▁begin｜>…",
  FunctionGemma: "…<start_function_call>…",
  "Gemma 4": "…<|tool_call>…",
  "Granite, Phi-4": "…<|tool_call|>…",
  "Llama, pythonic": "…[func_name1(params_name1=…",
  "Llama, JSON": "…<|start_header_id|>…",
  "generic JSON": "{{ messages }}",
  "told JSON": undefined,
  harmony: "…<|channel|>…",
};

const schemas: Record<string, object> = {
  weather: {
    type: "object",
    properties: {
      city: { type: "string" },
      code: { type: "string", pattern: "^[A-Z]{2}-[0-9]{1,3}$" },
      unit: { type: "string", enum: ["C", "F", "degrees of R"] },
      note: { type: "string", minLength: 2, maxLength: 9 },
      days: { type: "integer", minimum: 1, maximum: 14 },
      detail: {
        type: "object",
        properties: { wind: { type: "boolean" }, "a b": { type: ["string", "null"] } },
        required: ["wind"],
        additionalProperties: false,
      },
      tags: {
        type: "array",
        items: { anyOf: [{ type: "string" }, { type: "number" }, { type: "null" }] },
        maxItems: 3,
      },
    },
    required: ["city", "days"],
    additionalProperties: false,
  },
  now: { type: "object", properties: {}, additionalProperties: false },
  set: { type: "object", properties: { on: { type: "boolean" } }, additionalProperties: { type: "integer" } },
};
const ajv = new Ajv2020({ strict: false });
const valid = Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, ajv.compile(schema)]));

const isText = (name: string) => (parameter: string) =>
  (schemas[name] as { properties: Record<string, { type?: unknown }> }).properties[parameter]?.type === "string";
const tools: KnownTools = {
  names: Object.keys(schemas),
  has: (name) => Object.hasOwn(schemas, name),
  parameterType: (name, parameter) => (isText(name)(parameter) ? "string" : undefined),
};
// "a b" is no name that Gemma's and Python's syntax can write at their top, but below it is.
const functions: OfferedFunction[] = Object.entries(schemas).map(([name, schema], i) => ({
  name,
  parameters: JSON.stringify(schema),
  strict: true,
  param: `tools[${i}].function`,
  isText: isText(name),
}));

function shapeOf(template: string | undefined, more: Partial<AnswerShape> = {}): AnswerShape {
  const format = outputFormatOf(template ?? "", template !== undefined);
  return {
    format,
    reasoning: "none",
    separatesReasoning: true,
    harmony: format.harmony,
    calls: { functions, forced: true, single: false },
    ...more,
  };
}

interface Answer {
  content: string;
  reasoning: string;
  calls: { name: string; args: string }[];
}

function read(shape: AnswerShape, text: string, options: OutputParserOptions = {}): Answer {
  const parser = createOutputParser(shape.format, { tools, ...options });
  const answer: Answer = { content: "", reasoning: "", calls: [] };
  // In pieces: it must not matter.
  const events = [...(text.match(/[\s\S]{1,7}/gu) ?? []).flatMap((piece) => parser.push(piece)), ...parser.end(false)];
  for (const event of events) {
    if (event.type === "call") answer.calls.push({ name: event.name, args: "" });
    else if (event.type === "arguments") (answer.calls.at(-1) as { args: string }).args += event.text;
    else answer[event.type] += event.text;
  }
  return answer;
}

function expectValid(calls: Answer["calls"], text: string): void {
  for (const { name, args } of calls) {
    const check = valid[name];
    if (check === undefined) expect.fail(`${name} is no function, in ${text}`);
    let value: unknown;
    try {
      value = JSON.parse(args);
    } catch {
      expect.fail(`${args} is not JSON, in ${text}`);
    }
    if (!check(value)) expect.fail(`${args} is not valid for ${name}, in ${text}`);
  }
}

function walks(
  shape: AnswerShape,
  count: number,
  form?: AnswerForm,
): { texts: string[]; accepts: (text: string) => boolean } {
  const grammar = answerGrammar(shape, form);
  if (grammar === undefined) throw new Error("no grammar");
  const walk = grammarWalker(grammar, seededRandom(7));
  const opened = engine.open(grammar.text);
  const texts = Array.from({ length: count }, walk);
  for (const text of texts) if (!opened.accepts(text)) expect.fail(`llama.cpp refuses ${text} of\n${grammar.text}`);
  return { texts, accepts: (text) => opened.accepts(text) };
}

describe.each(Object.entries(templates))("%s", (name, template) => {
  test("required: every text is calls of the functions, with valid arguments, and nothing else", () => {
    const shape = shapeOf(template);
    let most = 0;
    for (const text of walks(shape, 60).texts) {
      const { content, calls, reasoning } = read(shape, text);
      if (name !== "harmony") expect([text, content.trim(), reasoning]).toEqual([text, "", ""]);
      expect(calls.length, text).toBeGreaterThan(0);
      expectValid(calls, text);
      most = Math.max(most, calls.length);
    }
    if (name !== "harmony") expect(most).toBeGreaterThan(1);
  });

  test("a named function, and no parallel calls: it is that one, once", () => {
    const weather = functions.filter((each) => each.name === "weather");
    const shape = shapeOf(template, { calls: { functions: weather, forced: true, single: true } });
    for (const text of walks(shape, 30).texts) {
      const { calls } = read(shape, text);
      expect([text, calls.map((call) => call.name)]).toEqual([text, ["weather"]]);
      expectValid(calls, text);
    }
  });

  test("auto: text is free, a call is valid, behind it text is free again", () => {
    const shape = shapeOf(template, { calls: { functions, forced: false, single: false } });
    const { texts, accepts } = walks(shape, 60);
    for (const text of texts) expectValid(read(shape, text).calls, text);
    const { bare } = shape.format.calls;
    const before = shape.harmony
      ? "<|channel|>analysis<|message|>So <tool_call> it is.<|end|><|start|>assistant"
      : bare
        ? ""
        : "Let me see.\n";
    const behind = shape.harmony || bare ? "" : "\nThere: {} <b>.";
    for (const called of walks(shapeOf(template), 25).texts) {
      if (shape.harmony && !called.startsWith("<|channel|>commentary to=")) continue;
      const text = `${before}${called}${behind}`;
      if (!accepts(text)) expect.fail(`refuses ${text}`);
      expect(read(shape, text).calls, text).toEqual(read(shape, called).calls);
      const [first] = read(shape, called).calls;
      if (first?.name !== "now") continue;
      // An unknown function, and arguments that its schema doesn't have.
      expect([called, accepts(`${before}${called.replace("now", "never")}`)]).toEqual([
        called,
        bare !== undefined && !shape.harmony,
      ]);
    }
    for (const text of shape.harmony
      ? ["<|channel|>final<|message|>Hello, <b>!</b>\n{"]
      : ["", "Hello, <b>!</b>\n{", "\n\n[1, {"]) {
      expect([text, accepts(text)]).toEqual([text, true]);
    }
  });

  test("beside a form: calls or the form, whatever stands in it", () => {
    const form: AnswerForm = {
      param: "json_schema",
      compile: (builder) =>
        schemaExpression(
          '{"type":"object","properties":{"answer":{"type":"string"}},"required":["answer"]}',
          { param: "json_schema" },
          builder,
        ),
    };
    const shape = shapeOf(template, { calls: { functions, forced: false, single: false } });
    const { texts, accepts } = walks(shape, 40, form);
    let answers = 0;
    for (const text of texts) {
      const { content, calls } = read(shape, text, { hasForm: true });
      expectValid(calls, text);
      if (calls.length > 0) continue;
      answers++;
      expect(JSON.parse(content), text).toEqual({ answer: expect.any(String) });
    }
    expect(answers).toBeGreaterThan(0);
    const tricky = '{"answer": "<tool_call> </tool_call> <think> [TOOL_CALLS] <|tool_call|>"}';
    const text = shape.harmony ? `<|channel|>final<|message|>${tricky}` : tricky;
    expect(accepts(text)).toBe(true);
    expect(read(shape, text, { hasForm: true }).content).toBe(tricky);
    expect(accepts("Hello")).toBe(false);
  });
});

describe("reasoning", () => {
  const template = "…<think>…</think>…<tool_call>…";
  const yes: AnswerForm = {
    param: "guided_choice",
    compile: (builder) => choiceExpression(["yes", "no"], "guided_choice", builder),
  };
  const call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>';
  const accepting = (more: Partial<AnswerShape>, form?: AnswerForm) => walks(shapeOf(template, more), 5, form).accepts;

  test.each([
    ["yes", "possible", true],
    ["<think>\nI <tool_call> {\n</think>\n\nyes", "possible", true],
    ["<think>a</think>no", "possible", true],
    ["<think>a", "possible", false],
    ["<think>a</think>", "possible", false],
    ["<think>a</think>maybe", "possible", false],
    ["<think>a</think>\n\n\nno", "possible", false],
    ["Hm", "possible", false],
    ["Hm.</think>\n\nyes", "begun", true],
    ["yes", "begun", false],
    ["yes", "none", true],
    ["<think>a</think>yes", "none", false],
  ] as const)("before a form: %j, where it is %s: %j", (text, reasoning, expected) => {
    expect(accepting({ reasoning, calls: undefined }, yes)(text)).toBe(expected);
  });

  test.each([
    [`<think>\nI <tool_call> {\n</think>\n\n${call}`, "possible", true],
    [`Hm.</think>\n\n${call}\n${call}`, "begun", true],
    [call, "possible", true],
    ["<think>a</think>No.", "possible", false],
  ] as const)("before forced calls: %j, where it is %s: %j", (text, reasoning, expected) => {
    expect(accepting({ reasoning })(text)).toBe(expected);
  });

  test.each([
    [`<think>\nI <tool_call> {\n</think>\n\nWell. ${call} So.`, "possible", true],
    [`I <tool_call> {\n</think>\n\nWell. ${call}`, "begun", true],
    ["<think>I may end", "possible", true],
    ["I <tool_call> so", "possible", false],
    ["<think>a</think> I <tool_call> so", "possible", false],
  ] as const)("before free text: %j, where it is %s: %j", (text, reasoning, expected) => {
    const calls = { functions, forced: false, single: false };
    expect(accepting({ reasoning, calls })(text)).toBe(expected);
  });

  test("the reader keeps what belongs to a form", () => {
    const shape = shapeOf(template, { reasoning: "possible" });
    expect(read(shape, "<think>\na\n</think>\n\n x <think> ", { hasForm: true })).toEqual({
      content: " x <think> ",
      reasoning: "a",
      calls: [],
    });
  });
});

describe("schemas", () => {
  const offer = (parameters: unknown, strict: boolean): AnswerShape =>
    shapeOf(templates.Hermes, {
      calls: {
        functions: [
          {
            name: "f",
            parameters: JSON.stringify(parameters),
            strict,
            param: "tools[2].function",
            isText: () => false,
          },
        ],
        forced: true,
        single: true,
      },
    });
  const call = (args: string) => `<tool_call>\n{"name": "f", "arguments": ${args}}\n</tool_call>`;
  const impossible = {
    type: "object",
    properties: { a: { type: "string", minLength: 3, maxLength: 2 } },
    required: ["a"],
  };

  test.each([
    [{ type: "object", properties: { a: { not: { type: "null" } } } }, "the schema at #/properties/a/not"],
    [impossible, "the schema at #/properties/a"],
    [{ type: "string" }, "the schema at #"],
    [{ enum: [1, 2] }, "the schema at #"],
  ])("a strict function's %j is refused at its place", (schema, message) => {
    let error: unknown;
    try {
      answerGrammar(offer(schema, true), undefined);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({
      kind: "invalid_request",
      param: "tools[2].function.parameters",
      message: expect.stringContaining(message),
    });
  });

  test.each([{ type: "object", properties: { a: { not: { type: "null" } } } }, impossible, { type: "string" }])(
    "one that isn't strict takes any object for %j",
    (schema) => {
      const { accepts } = walks(offer(schema, false), 10);
      expect([accepts(call('{"b": [1]}')), accepts(call("[1]")), accepts(call('"a"'))]).toEqual([true, false, false]);
    },
  );

  test("one that isn't strict is held to its schema all the same", () => {
    const { accepts } = walks(offer(schemas.set, false), 10);
    expect([accepts(call('{"on": true, "b": 1}')), accepts(call('{"on": 1}'))]).toEqual([true, false]);
  });

  test("strict objects are closed", () => {
    const open = { type: "object" };
    expect(walks(offer(open, true), 3).accepts(call('{"a": 1}'))).toBe(false);
    expect(walks(offer(open, false), 3).accepts(call('{"a": 1}'))).toBe(true);
  });

  test("many functions whose schemas go beyond the limits together are held to objects", () => {
    const properties = Object.fromEntries(
      Array.from({ length: 60 }, (_, i) => [`p${i}`, { type: "string", maxLength: 40 + i }]),
    );
    const many = Array.from({ length: 200 }, (_, i) => ({
      name: `f${i}`,
      parameters: JSON.stringify({
        type: "object",
        properties: { ...properties, [`q${i}`]: { minimum: i, type: "integer" } },
      }),
      strict: false,
      param: `tools[${i}].function`,
      isText: () => false,
    }));
    const shape = shapeOf(templates.Hermes, { calls: { functions: many, forced: true, single: true } });
    const { accepts } = walks(shape, 3);
    expect(accepts('<tool_call>\n{"name": "f199", "arguments": {"p0": 1}}\n</tool_call>')).toBe(true);
    expect(accepts('<tool_call>\n{"name": "f200", "arguments": {}}\n</tool_call>')).toBe(false);
    const strict = many.map((each) => ({ ...each, strict: true }));
    expect(() =>
      answerGrammar({ ...shape, calls: { functions: strict, forced: false, single: true } }, undefined),
    ).toThrow("too complex");
    const lazy = {
      functions: many.map((each) => ({ ...each, name: each.name.repeat(60) })),
      forced: false,
      single: false,
    };
    expect(answerGrammar(shapeOf(templates["generic JSON"], { calls: lazy }), undefined)).toBeUndefined();
  });

  test("a name that a syntax can't write is refused", () => {
    const shape = shapeOf(templates["Qwen3-Coder"], {
      calls: { functions: [{ ...(functions[0] as OfferedFunction), name: "a>b" }], forced: true, single: true },
    });
    expect(() => answerGrammar(shape, undefined)).toThrow("tools[0].function.name: a>b can't be written");
  });
});
