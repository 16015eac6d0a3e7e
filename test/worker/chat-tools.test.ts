import OpenAI from "openai";
import type { ChatCompletionCreateParamsNonStreaming, ChatCompletionTool } from "openai/resources";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

/** A template that shows tools and knows how to think, as Qwen3's does. */
const template = `{%- if tools %}<|im_start|>system
<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools> Answer in <tool_call></tool_call>.<|im_end|>
{% endif %}{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}`;
const call = (name: string, args: object) => JSON.stringify({ name, arguments: args });
const weather: ChatCompletionTool = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

let running: RunningLoqui;
let client: OpenAI;
beforeAll(async () => {
  running = await startWithScripts({
    caller: {
      template,
      reply: [
        "<think>",
        "\nI look",
        " it up.",
        "\n</think>\n\n",
        "Wait.",
        "\n<tool_",
        'call>\n{"name": "weather", "argu',
        'ments": {"city"',
        ': "Oslo"}}',
        "\n</tool_call>",
        "\n<tool_call>",
        call("weather", { city: "Bergen" }),
        "</tool_call>\n",
      ],
    },
    plain: { reply: ["Just", " text"] },
    // Shows no tools; what it writes of calls is spaced as a model likes it.
    told: {
      reply: [
        '\n{\n  "tool_',
        'calls": [\n    {\n      "name": "weather",\n',
        '      "arguments": {"city": "Oslo"}\n    }',
        ', {"name":"weather", "arguments"',
        ': {"city":"Bergen"}}',
        "\n  ]\n}",
      ],
    },
    // As above, but of no function that there is.
    unknown: { reply: ['{"tool_calls": [{"name": "nobody"', ', "arguments": {}}]}'] },
    // The templates of a model that writes as gpt-oss does.
    harmony: { template: "{{ messages[0].content }}<|channel|>", reply: ["a"] },
  });
  client = new OpenAI({ baseURL: `${running.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => running[Symbol.asyncDispose]());

const messages = [{ role: "user" as const, content: "Weather?" }];
const ask = (more: Partial<ChatCompletionCreateParamsNonStreaming> = {}) =>
  client.chat.completions.create({ model: "caller", messages, tools: [weather], temperature: 0, ...more });

describe("tool calls", () => {
  test("whole: reasoning, text and calls apart", async () => {
    const { choices, usage } = await ask();
    expect(choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: {
        role: "assistant",
        content: "Wait.",
        reasoning_content: "I look it up.",
        reasoning: "I look it up.",
        tool_calls: [
          { type: "function", function: { name: "weather", arguments: '{"city": "Oslo"}' } },
          { type: "function", function: { name: "weather", arguments: '{"city":"Bergen"}' } },
        ],
      },
    });
    const ids = choices[0]?.message.tool_calls?.map(({ id }) => id) ?? [];
    expect(new Set(ids).size).toBe(2);
    expect(ids.every((id) => /^[a-zA-Z0-9]{9}$/.test(id))).toBe(true);
    expect(usage?.completion_tokens_details?.reasoning_tokens).toBeGreaterThanOrEqual(2);
  });

  test("streamed: the same, put together by OpenAI's SDK; name and id come once", async () => {
    const stream = client.chat.completions.stream({ model: "caller", messages, tools: [weather], temperature: 0 });
    const names: string[] = [];
    let reasoning = "";
    for await (const { choices } of stream) {
      const delta = choices[0]?.delta as { reasoning_content?: string } & (typeof choices)[0]["delta"];
      reasoning += delta?.reasoning_content ?? "";
      for (const { function: piece } of delta?.tool_calls ?? []) if (piece?.name !== undefined) names.push(piece.name);
    }
    expect(names).toEqual(["weather", "weather"]);
    expect(reasoning).toBe("I look it up.");
    const { choices } = await stream.finalChatCompletion();
    expect(choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: {
        content: "Wait.",
        tool_calls: [
          { function: { name: "weather", arguments: '{"city": "Oslo"}' } },
          { function: { name: "weather", arguments: '{"city":"Bergen"}' } },
        ],
      },
    });
  });

  test("parallel_tool_calls false ends the answer after the first", async () => {
    const { choices } = await ask({ parallel_tool_calls: false });
    expect(choices[0]?.finish_reason).toBe("tool_calls");
    expect(choices[0]?.message.tool_calls).toHaveLength(1);
  });

  test("tool_choice none leaves calls in the text", async () => {
    const { choices } = await ask({ tool_choice: "none" });
    expect(choices[0]?.finish_reason).toBe("stop");
    expect(choices[0]?.message.content).toContain("<tool_call>");
    expect(choices[0]?.message.tool_calls).toBeUndefined();
  });

  test("results go back through the template", async () => {
    const { choices } = await ask();
    const message = choices[0]?.message;
    const id = message?.tool_calls?.[0]?.id ?? "";
    if (message === undefined) throw new Error("no message");
    const { usage } = await ask({
      messages: [...messages, message, { role: "tool", tool_call_id: id, content: "9 °C" }],
    });
    const { usage: before } = await ask();
    expect(usage?.prompt_tokens).toBeGreaterThan((before?.prompt_tokens ?? 0) + 20);
  });

  test.each([
    [{ tool_choice: "required", tools: [] }, "tool_choice"],
    [{ tool_choice: { type: "function", function: { name: "nothing" } } }, "tool_choice.function.name"],
    [
      { tools: [{ ...weather, function: { name: "f", parameters: { type: "object", not: {} }, strict: true } }] },
      "tools[0].function.parameters",
    ],
    [{ tool_choice: "required", min_tokens: 3 } as object, "min_tokens"],
    [{ functions: [{ name: "f" }] }, "functions"],
    [{ tools: undefined, functions: [{ name: "f" }], function_call: { name: "g" } }, "function_call.name"],
    [
      {
        tool_choice: {
          type: "allowed_tools",
          allowed_tools: { mode: "auto", tools: [{ type: "function", function: { name: "nothing" } }] },
        },
      },
      "tool_choice.allowed_tools.tools[0]",
    ],
    [{ model: "harmony" }, "tools"],
  ] as [Partial<ChatCompletionCreateParamsNonStreaming>, string][])("%j is refused by name", async (more, param) => {
    await expect(ask(more)).rejects.toMatchObject({ status: 400, param });
  });
});

describe("a model whose template doesn't show tools", () => {
  const calls = [
    { type: "function", function: { name: "weather", arguments: '{"city": "Oslo"}' } },
    { type: "function", function: { name: "weather", arguments: '{"city":"Bergen"}' } },
  ];

  test("is told them; its calls are read", async () => {
    const { choices, usage } = await ask({ model: "told" });
    expect(choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { content: null, tool_calls: calls } });
    const { usage: before } = await ask({ model: "told", tools: [] });
    expect(usage?.prompt_tokens).toBeGreaterThan((before?.prompt_tokens ?? 0) + 100);
  });

  test("streamed", async () => {
    const stream = client.chat.completions.stream({ model: "told", messages, tools: [weather], temperature: 0 });
    const { choices } = await stream.finalChatCompletion();
    expect(choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { content: "", tool_calls: calls } });
  });

  test("one call at most", async () => {
    const { choices } = await ask({ model: "told", parallel_tool_calls: false });
    expect(choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { tool_calls: calls.slice(0, 1) } });
    const older = await ask({ model: "told", tools: [], functions: [{ ...weather.function }] });
    expect(older.choices[0]).toMatchObject({
      finish_reason: "function_call",
      message: { function_call: calls[0]?.function },
    });
  });

  test("cut off by max_tokens: what was written of a call is no text, streamed or not", async () => {
    const expected = [
      [1, ""],
      [2, "", ""],
      [3, "", '{"city": "Oslo"}'],
      [4, "", '{"city": "Oslo"}', ""],
    ] as const;
    for (const [max_tokens, content, ...args] of expected) {
      const request = { model: "told", messages, tools: [weather], temperature: 0, max_tokens };
      const calls = args.map((written) => ({ function: { name: "weather", arguments: written } }));
      const { choices } = await ask(request);
      expect(choices[0], `max_tokens ${max_tokens}`).toMatchObject({
        finish_reason: "length",
        message: { content: calls.length > 0 ? null : content, ...(calls.length > 0 && { tool_calls: calls }) },
      });
      let streamed = "";
      const names: string[] = [];
      let end: string | null | undefined;
      for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
        const [choice] = chunk.choices;
        streamed += choice?.delta.content ?? "";
        for (const { function: piece } of choice?.delta.tool_calls ?? []) if (piece?.name) names.push(piece.name);
        end = choice?.finish_reason ?? end;
      }
      expect({ streamed, names, end }).toEqual({ streamed: content, names: args.map(() => "weather"), end: "length" });
    }
  });

  test.each([
    ["plain", "Just text"],
    ["unknown", '{"tool_calls": [{"name": "nobody", "arguments": {}}]}'],
  ])("text stays text, %s", async (model, content) => {
    const { choices } = await ask({ model });
    expect(choices[0]).toMatchObject({ finish_reason: "stop", message: { content } });
  });

  test("its own calls and their results go back", async () => {
    const { choices } = await ask({ model: "told" });
    const message = choices[0]?.message;
    if (message === undefined) throw new Error("no message");
    const id = message.tool_calls?.[0]?.id ?? "";
    const history = [...messages, message, { role: "tool" as const, tool_call_id: id, content: "9 °C" }];
    const response = await fetch(`${running.url}/apply-template`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "told", messages: history }),
    });
    expect(await response.json()).toMatchObject({
      prompt: expect.stringContaining(`<|im_start|>assistant
{"tool_calls": [{"name": "weather", "arguments": {"city":"Oslo"}}, {"name": "weather", "arguments": {"city":"Bergen"}}]}<|im_end|>
<|im_start|>user
{"tool_response":{"name":"weather","content":"9 °C"}}<|im_end|>`),
    });
  });
});

describe("reasoning", () => {
  test("reasoning_format none leaves it in the text", async () => {
    const { choices } = await ask({ tools: undefined, reasoning_format: "none" } as object);
    expect(choices[0]?.message.content).toMatch(/^<think>\nI look it up\.\n<\/think>/);
  });

  test("reasoning_effort none tells the template", async () => {
    const { usage: thinking } = await ask({ reasoning_effort: "high" });
    const { usage: silent } = await ask({ reasoning_effort: "none" });
    expect(silent?.prompt_tokens).toBeGreaterThan(thinking?.prompt_tokens ?? 0);
  });

  test("a model that can't think is told so by name", async () => {
    const plain = { model: "plain", tools: [] };
    await expect(ask({ ...plain, reasoning_effort: "low" })).rejects.toMatchObject({ param: "reasoning_effort" });
    expect((await ask({ ...plain, reasoning_effort: "none" })).choices[0]?.message.content).toBe("Just text");
  });
});
