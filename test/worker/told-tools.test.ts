import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ChatRole, CreateChatCompletionRequestSchema, ToolChoiceMode } from "../../gen/loqui/v1/chat_pb.ts";
import { createChatPrompts } from "../../src/worker/chat-prompt.ts";
import { FakeEngine } from "./fake-engine.ts";

type Request = MessageInitShape<typeof CreateChatCompletionRequestSchema>;
const { info } = new FakeEngine();
const render = (template: string, request: Request) =>
  createChatPrompts(info, template).render(create(CreateChatCompletionRequestSchema, request));

const said = (role: ChatRole, value: string) => ({ role, content: { content: { case: "text", value } } }) as const;
const call = (id: string, city: string, name = "weather") => ({
  id,
  call: { case: "function", value: { name, arguments: `{"city":"${city}"}` } } as const,
});
const result = (toolCallId: string, value: string) => ({ ...said(ChatRole.TOOL, value), toolCallId });
const tools = [
  {
    tool: {
      case: "function" as const,
      value: { name: "weather", description: "Looks out.", parameters: '{"type":"object"}' },
    },
  },
  { tool: { case: "function" as const, value: { name: "now" } } },
];
const introduction = `You can call functions. Each of these lines is one, with the JSON Schema of its arguments:
{"name":"weather","description":"Looks out.","parameters":{"type":"object"}}
{"name":"now","parameters":{"type":"object","properties":{}}}

To call functions, answer with nothing but JSON of this form, with an item for each call:
{"tool_calls": [{"name": "<name>", "arguments": {<arguments>}}]}
The results come in the next message. Where no function is needed, answer in plain text.`;

const plain = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
const parts = plain.replace("m.content", "m.content[0].text");
/** Gemma 2's. */
const strict = `{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}`;
const [system, user] = [said(ChatRole.SYSTEM, "Be brief."), said(ChatRole.USER, "Hi")];

describe("tools that the template doesn't show are told", () => {
  test.each([
    ["in a system message", plain, [user], `[system]${introduction}[user]Hi`],
    ["in the request's", plain, [system, user], `[system]Be brief.\n\n${introduction}[user]Hi`],
    ["in parts", parts, [system, user], `[system]Be brief.\n\n${introduction}[user]Hi`],
    ["in the first of the user's", strict, [user], `[user]${introduction}\n\nHi`],
    ["in one of the user's where there is none", strict, [], `[user]${introduction}`],
  ])("%s", (_, template, messages, prompt) => {
    expect(render(template, { messages, tools })).toBe(prompt);
  });

  test("but not where none may be called, and only those that may be", () => {
    const none = { choice: { case: "mode" as const, value: ToolChoiceMode.NONE } };
    expect(render(plain, { messages: [user], tools, toolChoice: none })).toBe("[user]Hi");
    const name = { tool: { case: "function" as const, value: { name: "now" } } };
    const value = { selection: { case: "allowedTools" as const, value: { mode: ToolChoiceMode.AUTO, tools: [name] } } };
    const prompt = render(plain, { messages: [user], tools, toolChoice: { choice: { case: "selection", value } } });
    expect([prompt.includes("now"), prompt.includes("weather")]).toEqual([true, false]);
  });

  test("but those of a template in gpt-oss' form, whose calls are no text, are refused by name", () => {
    expect(() => render(`${plain}<|channel|>`, { messages: [user], tools })).toThrow("`tools` are not supported");
  });
});

describe("earlier calls and their results", () => {
  const assistant = ChatRole.ASSISTANT;
  const calling = { role: assistant, toolCalls: [call("a", "Oslo"), call("b", "Bergen")] };
  const written =
    '{"tool_calls": [{"name": "weather", "arguments": {"city":"Oslo"}}, {"name": "weather", "arguments": {"city":"Bergen"}}]}';
  const response = (content: string) => JSON.stringify({ tool_response: { name: "weather", content } });

  test.each([plain, strict])("are texts, in the order of the calls: %s", (template) => {
    const messages = [user, calling, result("b", "12"), result("a", "9"), said(assistant, "Bergen."), user];
    expect(render(template, { messages })).toBe(
      `[user]Hi[assistant]${written}[user]${response("9")}\n${response("12")}[assistant]Bergen.[user]Hi`,
    );
  });

  test("stand beside text, and before the user's next words", () => {
    const messages = [user, { ...calling, ...said(assistant, "Wait.") }, result("a", "9"), user];
    expect(render(strict, { messages })).toBe(`[user]Hi[assistant]Wait.\n\n${written}[user]${response("9")}\n\nHi`);
  });

  test("in the older form", () => {
    const functionCall = { name: "now", arguments: "" };
    const messages = [user, { role: assistant, functionCall }, { ...said(ChatRole.FUNCTION, "noon"), name: "now" }];
    expect(render(plain, { messages })).toBe(
      '[user]Hi[assistant]{"tool_calls": [{"name": "now", "arguments": {}}]}[user]{"tool_response":{"name":"now","content":"noon"}}',
    );
  });

  test.each([
    [
      "<|tool_call|>",
      '<|tool_call|>[{"name": "weather", "arguments": {"city":"Oslo"}}, {"name": "weather", "arguments": {"city":"Bergen"}}]',
    ],
    [
      "<tool_call>",
      '<tool_call>{"name": "weather", "arguments": {"city":"Oslo"}}</tool_call>\n<tool_call>{"name": "weather", "arguments": {"city":"Bergen"}}</tool_call>',
    ],
    ["<function=", written],
  ])("are in the model's own syntax where its template shows tools, and that is JSON: %s", (syntax, calls) => {
    const template = `{{ tools | tojson if tools else '' }}{# ${syntax} #}${plain}`;
    expect(render(template, { messages: [user, calling, result("a", "9")] })).toBe(
      `[user]Hi[assistant]${calls}[tool]9`,
    );
  });

  test("arguments that aren't JSON are refused by name", () => {
    const broken = { id: "a", call: { case: "function" as const, value: { name: "f", arguments: "{" } } };
    expect(() => render(plain, { messages: [user, { role: assistant, toolCalls: [broken] }] })).toThrow(
      "messages[1].tool_calls[0].function.arguments is not valid JSON",
    );
  });
});
