import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  AudioInputFormat,
  type ChatMessage,
  ChatMessageSchema,
  ChatRole,
  ToolSchema,
  Verbosity,
} from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../../src/errors.ts";
import { templateMessages, templateTools } from "../../src/worker/chat-messages.ts";
import { compileChatTemplate, type TemplateMessage } from "../../src/worker/chat-template.ts";

const model = { chatTemplate: undefined as string | undefined, bosToken: "<s>", eosToken: "</s>", addBos: false };
const compile = (chatTemplate?: string, addBos = false) => compileChatTemplate({ ...model, chatTemplate, addBos });
const message = (init: MessageInitShape<typeof ChatMessageSchema>): ChatMessage => create(ChatMessageSchema, init);
const text = (role: ChatRole, value: string) => message({ role, content: { content: { case: "text", value } } });

function failure(run: () => unknown): LoquiError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(LoquiError);
    return error as LoquiError;
  }
  throw new Error("nothing was thrown");
}

describe("a model without a template", () => {
  const conversation: TemplateMessage[] = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hi" },
  ];

  test("speaks ChatML", () => {
    expect(compile().render({ messages: conversation, addGenerationPrompt: true })).toBe(
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  test("may leave the conversation closed", () => {
    expect(compile().render({ messages: conversation.slice(1), addGenerationPrompt: false })).toBe(
      "<|im_start|>user\nHi<|im_end|>\n",
    );
  });

  test("begins with the token that its prompts begin with", () => {
    expect(compile(undefined, true).render({ messages: [], addGenerationPrompt: false })).toBe("<s>");
  });
});

describe("a template of the model's own", () => {
  const render = (template: string, kwargs?: Record<string, unknown>, tools?: unknown[]) =>
    compile(template, true).render({
      messages: [{ role: "user", content: "Hi" }],
      addGenerationPrompt: true,
      kwargs,
      tools,
    });

  test.each([
    { what: "special tokens; none is added", template: "{{ bos_token }}|{{ eos_token }}", text: "<s>|</s>" },
    { what: "the generation prompt", template: "{% if add_generation_prompt %}yes{% endif %}", text: "yes" },
    { what: "no tools are none", template: "{{ tools is none }}", text: "true" },
    { what: "no tools, looped over", template: "{% for tool in tools %}{{ tool }}{% endfor %}none", text: "none" },
    { what: "no documents are none", template: "{{ documents is none }}", text: "true" },
    {
      what: "variables of the request",
      template: "{{ enable_thinking }}",
      kwargs: { enable_thinking: false },
      text: "false",
    },
    {
      what: "tools as JSON",
      template: "{{ tools[0] | tojson }}",
      tools: [{ b: 1, a: [2] }],
      text: '{"b": 1, "a": [2]}',
    },
    { what: "the date", template: "{{ strftime_now('%Y') }}", text: String(new Date().getFullYear()) },
  ])("$what", ({ template, kwargs, tools, text }) => {
    expect(render(template, kwargs, tools)).toBe(text);
  });

  test("what it raises is the client's error, in its words", () => {
    const error = failure(() =>
      render("{% if messages[0].role == 'user' %}{{ raise_exception('System message comes first') }}{% endif %}"),
    );
    expect(error).toMatchObject({ kind: "invalid_request", param: "messages" });
    expect(error.message).toBe("the model's chat template refuses the messages: System message comes first");
  });

  test("that can't be parsed is an error of the model", () => {
    const error = failure(() => compile("{% for x in %}"));
    expect(error).toMatchObject({ kind: "model_unavailable" });
    expect(error.message).toMatch(/^the model's chat template can't be parsed: /);
  });

  test("a variable of the request can't replace what loqui sets", () => {
    expect(failure(() => render("x", { messages: [] }))).toMatchObject({
      kind: "invalid_request",
      param: "chat_template_kwargs",
      message: "chat_template_kwargs must not set messages",
    });
  });
});

describe("reasoning of earlier messages", () => {
  const loop = (body: string) => `{% for message in messages %}${body}{% endfor %}`;
  const called = {
    toolCalls: [{ id: "c1", call: { case: "function" as const, value: { name: "f", arguments: "{}" } } }],
  };
  const harmony = loop(
    "{% if message.tool_calls and message.content and message.thinking %}{{ raise_exception('not both') }}{% endif %}" +
      "{% if message.thinking %}[{{ message.thinking }}]{% endif %}{{ message.content }}",
  );
  const mistral = loop(
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for block in message['content'] %}" +
      "{% if block['type'] == 'thinking' %}[THINK]{{ block['thinking'] }}[/THINK]{% else %}{{ block['text'] }}{% endif %}" +
      "{% endfor %}{% endif %}",
  );

  test.each([
    { what: "Qwen's", template: loop("[{{ message.reasoning_content }}]{{ message.content }}"), text: "[why]so" },
    { what: "Gemma's", template: loop("[{{ message.get('reasoning') }}]{{ message.content }}"), text: "[why]so" },
    { what: "gpt-oss'", template: harmony, text: "[why]so" },
    { what: "gpt-oss', with a call", template: harmony, more: { ...called, content: undefined }, text: "[why]" },
    { what: "gpt-oss', with a call and text", template: harmony, more: called, text: "so" },
    { what: "Mistral's", template: mistral, text: "[THINK]why[/THINK]so" },
    { what: "Mistral's, without text", template: mistral, more: { content: undefined }, text: "[THINK]why[/THINK]" },
    { what: "one that shows none", template: loop("{{ message.content }}"), text: "so" },
  ])("$what template", ({ template, more = {}, text: expected }) => {
    const compiled = compile(template);
    const spoken = message({
      role: ChatRole.ASSISTANT,
      content: { content: { case: "text", value: "so" } },
      reasoningContent: "why",
      ...more,
    });
    const messages = templateMessages([spoken], compiled);
    expect(compiled.render({ messages, addGenerationPrompt: true })).toBe(expected);
  });
});

describe("verbosity", () => {
  test("reaches a template that names it", () => {
    const wordy = compile("{{ verbosity }}");
    const kwargs = wordy.verbosityVariables(Verbosity.HIGH);
    expect(wordy.render({ messages: [], addGenerationPrompt: true, kwargs })).toBe("high");
  });

  test("is refused where the template doesn't, but for the middle", () => {
    expect(compile().verbosityVariables(undefined)).toEqual({});
    expect(compile().verbosityVariables(Verbosity.MEDIUM)).toEqual({});
    expect(failure(() => compile().verbosityVariables(Verbosity.LOW))).toMatchObject({
      kind: "unsupported",
      param: "verbosity",
      message: "verbosity: this model's template knows no low verbosity",
    });
  });
});

describe("messages", () => {
  const plain = compile();
  const onlyParts = compile("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}");
  const argumentsAsText = compile(
    "{% for m in messages %}{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.arguments + ';' }}{% endfor %}{% endif %}{% endfor %}",
  );

  test("roles have the names that templates know", () => {
    const roles = [
      ChatRole.SYSTEM,
      ChatRole.DEVELOPER,
      ChatRole.USER,
      ChatRole.ASSISTANT,
      ChatRole.TOOL,
      ChatRole.FUNCTION,
    ];
    expect(
      templateMessages(
        roles.map((role) => text(role, "x")),
        plain,
      ).map(({ role }) => role),
    ).toEqual(["system", "system", "user", "assistant", "tool", "tool"]);
  });

  test("text parts are joined with a newline", () => {
    const parts = ["one", "two"].map((value) => ({ part: { case: "text" as const, value } }));
    const withParts = message({ role: ChatRole.USER, content: { content: { case: "parts", value: { parts } } } });
    expect(templateMessages([withParts], plain)).toEqual([{ role: "user", content: "one\ntwo" }]);
  });

  test("a template that reads only parts gets parts", () => {
    expect(plain.wantsParts).toBe(false);
    expect(onlyParts.wantsParts).toBe(true);
    expect(templateMessages([text(ChatRole.USER, "hi")], onlyParts)).toEqual([
      { role: "user", content: [{ type: "text", text: "hi" }] },
    ]);
  });

  test("absent content is empty; a refusal stands in for it", () => {
    const messages = [message({ role: ChatRole.ASSISTANT }), message({ role: ChatRole.ASSISTANT, refusal: "No." })];
    expect(templateMessages(messages, plain).map(({ content }) => content)).toEqual(["", "No."]);
  });

  test("names, reasoning, tool calls and their results are handed on", () => {
    const calling = message({
      role: ChatRole.ASSISTANT,
      reasoningContent: "hm",
      toolCalls: [{ id: "c1", call: { case: "function", value: { name: "f", arguments: '{"a": 1}' } } }],
    });
    const result = message({
      role: ChatRole.TOOL,
      toolCallId: "c1",
      name: "f",
      content: { content: { case: "text", value: "42" } },
    });
    expect(templateMessages([calling, result], plain)).toEqual([
      {
        role: "assistant",
        content: "",
        reasoning_content: "hm",
        tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: { a: 1 } } }],
      },
      { role: "tool", content: "42", name: "f", tool_call_id: "c1" },
    ]);
  });

  test("a call in the older form is a tool call; content and a refusal are both shown", () => {
    const old = message({ role: ChatRole.ASSISTANT, functionCall: { name: "f", arguments: '{"a": 1}' } });
    const refusing = message({
      role: ChatRole.ASSISTANT,
      content: { content: { case: "text", value: "Sorry." } },
      refusal: "No.",
    });
    expect(templateMessages([old, refusing], plain)).toEqual([
      {
        role: "assistant",
        content: "",
        tool_calls: [{ id: "", type: "function", function: { name: "f", arguments: { a: 1 } } }],
      },
      { role: "assistant", content: "Sorry.\nNo." },
    ]);
  });

  test("a template that concatenates arguments gets them as text", () => {
    expect(argumentsAsText.wantsArgumentsAsText).toBe(true);
    const calling = message({
      role: ChatRole.ASSISTANT,
      toolCalls: [{ id: "c1", call: { case: "function", value: { name: "f", arguments: '{"a": 1}' } } }],
    });
    const messages = templateMessages([calling], argumentsAsText);
    expect(argumentsAsText.render({ messages, addGenerationPrompt: true })).toBe('{"a": 1};');
  });

  const part = (value: Parameters<typeof message>[0]["content"]) => message({ role: ChatRole.USER, content: value });
  const parts = (second: object) =>
    ({
      content: { case: "parts", value: { parts: [{ part: { case: "text", value: "x" } }, { part: second }] } },
    }) as never;

  test.each([
    {
      what: "an image",
      bad: part(parts({ case: "imageUrl", value: { image: { case: "url", value: "data:," } } })),
      param: "messages[1].content[1].image_url",
      words: "messages[1].content[1].image_url: images are not supported by this model",
    },
    {
      what: "a sound",
      bad: part(parts({ case: "inputAudio", value: { data: new Uint8Array(1), format: AudioInputFormat.WAV } })),
      param: "messages[1].content[1].input_audio",
      words: "messages[1].content[1].input_audio: sounds are not supported by this model",
    },
    {
      what: "a file",
      bad: part(parts({ case: "file", value: { fileId: "f" } })),
      param: "messages[1].content[1].file",
      words: "messages[1].content[1].file: files are not supported by this model",
    },
    {
      what: "a spoken answer",
      bad: message({ role: ChatRole.ASSISTANT, audio: { id: "a" } }),
      param: "messages[1].audio",
      words: "messages[1].audio: spoken answers are not supported by this model",
    },
    {
      what: "a call of a custom tool",
      bad: message({
        role: ChatRole.ASSISTANT,
        toolCalls: [{ id: "c", call: { case: "custom", value: { name: "t", input: "i" } } }],
      }),
      param: "messages[1].tool_calls[0].custom",
      words: "messages[1].tool_calls[0].custom: calls of custom tools are not supported by this model",
    },
  ])("$what is refused by name", ({ bad, param, words }) => {
    const error = failure(() => templateMessages([text(ChatRole.USER, "x"), bad], plain));
    expect(error).toMatchObject({ kind: "unsupported", param, message: words });
  });

  test("arguments that aren't JSON are refused by name", () => {
    const bad = message({
      role: ChatRole.ASSISTANT,
      toolCalls: [{ id: "c1", call: { case: "function", value: { name: "f", arguments: "{" } } }],
    });
    expect(failure(() => templateMessages([bad], plain))).toMatchObject({
      kind: "invalid_request",
      param: "messages[0].tool_calls[0].function.arguments",
    });
  });
});

describe("tools", () => {
  const toolOf = (description: string | undefined, parameters: string) =>
    create(ToolSchema, {
      tool: { case: "function", value: { name: "f", parameters, ...(description !== undefined && { description }) } },
    });
  const shown = (template: string, tool: ReturnType<typeof toolOf>) =>
    JSON.stringify(templateTools([tool], compile(template)));
  const asJson = "{{ messages[0].content }}{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}";

  test("keep the order of their schema's members", () => {
    const parameters = '{"type": "object", "properties": {"z": {}, "a": {}}}';
    expect(shown(asJson, toolOf("d", parameters))).toBe(
      '[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"z":{},"a":{}}}}}]',
    );
    expect(templateTools([], compile(asJson))).toBeUndefined();
  });

  test.each([
    // gpt-oss', Hermes', Command R's
    "{% if tools %}{% for t in tools %}{{ '// ' + t.function.description + t.function.name }}{% endfor %}{% endif %}",
    "{% if tools %}{% for t in tools %}{{ t.function.name }}{% for k, p in t.function.parameters.properties.items() %}{{ p.description | trim }}{% endfor %}{% endfor %}{% endif %}",
  ])("get empty descriptions where the template refuses those without: %s", (template) => {
    expect(compile(template)).toMatchObject({ told: { tools: false }, wantsDescriptions: true });
    const bare = toolOf(undefined, '{"type":"object","properties":{"a":{"type":"string"},"b":{"description":"B"}}}');
    expect(shown(template, bare)).toBe(
      '[{"type":"function","function":{"name":"f","description":"","parameters":{"type":"object","properties":{"a":{"type":"string","description":""},"b":{"description":"B"}}}}}]',
    );
    expect(shown(asJson, bare)).not.toContain('""');
  });

  const calls =
    "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% if m.tool_calls %}@{% endif %}{% endfor %}";
  test.each([
    ["shows all", "{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}", true],
    ["shows the first", "{{ m.tool_calls[0].function | tojson }}", false],
    [
      "refuses several",
      "{% if m.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}{{ m.tool_calls[0].function | tojson }}",
      false,
    ],
    ["shows none", "", true],
  ])("several calls in a message: a template that %s", (_, showing, takes) => {
    expect(compile(calls.replace("@", showing)).takesParallelCalls).toBe(takes);
  });
});
