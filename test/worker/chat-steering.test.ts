import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Ajv2020 } from "ajv/dist/2020.js";
import OpenAI from "openai";
import type { ChatCompletionCreateParamsNonStreaming, ChatCompletionTool } from "openai/resources";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatRole, ChatService, FinishReason, ToolChoiceMode } from "../../gen/loqui/v1/chat_pb.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

const messages =
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";
const toolList = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}";
const city = { enum: ["Oslo", "Bergen", "Å"] };
const parameters = {
  type: "object",
  properties: { city, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const valid = new Ajv2020().compile(parameters);
const weather: ChatCompletionTool = { type: "function", function: { name: "weather", parameters, strict: true } };
const now: ChatCompletionTool = { type: "function", function: { name: "now" } };

/** Models that would say something else altogether. */
let running: RunningLoqui;
let client: OpenAI;
beforeAll(async () => {
  const stubborn = (syntax: string) => ({
    template: `${toolList}{# ${syntax} #}${messages}`,
    reply: ["I", " won't"],
    loop: true,
  });
  running = await startWithScripts({
    hermes: stubborn("<tool_call>"),
    llama: stubborn("<|start_header_id|>"),
    coder: stubborn("<function="),
    // Thinks for ever; the prompt of the second begins the thinking.
    thinker: {
      template: `${toolList}{# <tool_call> <think> #}${messages}`,
      reply: ["<think>", "Hm", " so", " then"],
      loop: true,
    },
    opened: { template: `${toolList}{# <tool_call> #}${messages}<think>\n`, reply: ["Hm", " so", " then"], loop: true },
    // Thinks, then says a call in its own way, with text around it.
    caller: {
      template: `${toolList}{# <tool_call> <think> #}${messages}`,
      reply: [
        "<think>",
        "A <tool_call>",
        "{",
        " maybe.",
        "</think>",
        "\n\nWell.",
        "\n<tool",
        '_call>{"na',
        'me": "nobody',
        '", "arguments": {"city": "Oslo", "days": 12',
      ],
    },
    untold: { template: messages, reply: ["I", " won't"], loop: true },
    brief: { reply: ["Just", " text"] },
  });
  client = new OpenAI({ baseURL: `${running.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => running[Symbol.asyncDispose]());

const user = [{ role: "user" as const, content: "Go" }];
type Ask = Omit<Partial<ChatCompletionCreateParamsNonStreaming>, "model" | "response_format"> & Record<string, unknown>;
const ask = async (model: string, more: Ask) => {
  const { choices, usage } = await client.chat.completions.create({ model, messages: user, max_tokens: 500, ...more });
  const [choice] = choices;
  if (choice === undefined) throw new Error("no choice");
  return { ...choice, message: choice.message as typeof choice.message & { reasoning_content?: string }, usage };
};

describe.each(["hermes", "llama", "coder", "untold"])("forced calls, %s", (model) => {
  test.each([1, 2, 3])("required, seed %d", async (seed) => {
    const { message, finish_reason } = await ask(model, {
      seed,
      tools: [weather, now],
      tool_choice: "required",
      max_tokens: 4000,
    });
    expect(finish_reason).toBe("tool_calls");
    expect(message.content).toBeNull();
    for (const call of message.tool_calls ?? []) {
      if (call.type !== "function") throw new Error(call.type);
      if (call.function.name === "now") expect(call.function.arguments).toBe("{}");
      else expect(valid(JSON.parse(call.function.arguments)), call.function.arguments).toBe(true);
    }
  });

  test("a named function, streamed", async () => {
    const stream = client.chat.completions.stream({
      model,
      messages: user,
      tools: [weather, now],
      tool_choice: { type: "function", function: { name: "weather" } },
    });
    const { choices } = await stream.finalChatCompletion();
    expect(choices[0]?.finish_reason).toBe("tool_calls");
    const calls = (choices[0]?.message.tool_calls ?? []) as { function: { arguments: string } }[];
    expect(calls).toMatchObject([{ function: { name: "weather" } }]);
    expect(valid(JSON.parse(calls[0]?.function.arguments ?? ""))).toBe(true);
  });

  test("allowed tools, required", async () => {
    const { message } = await ask(model, {
      tools: [weather, now],
      parallel_tool_calls: false,
      tool_choice: {
        type: "allowed_tools",
        allowed_tools: { mode: "required", tools: [{ type: "function", function: { name: "now" } }] },
      },
    });
    expect(message.tool_calls).toMatchObject([{ function: { name: "now", arguments: "{}" } }]);
  });

  test("beside a form: calls or the form", async () => {
    const { message } = await ask(model, {
      tools: [weather],
      guided_choice: ["yes", "no"],
      parallel_tool_calls: false,
    });
    if (message.tool_calls === undefined) expect(message.content).toMatch(/^(yes|no)$/);
    else
      expect(valid(JSON.parse((message.tool_calls[0] as { function: { arguments: string } }).function.arguments))).toBe(
        true,
      );
  });
});

test("gRPC: a forced call, whole and streamed", async () => {
  const grpc = createClient(ChatService, createGrpcTransport({ baseUrl: running.url }));
  const request = {
    model: "hermes",
    messages: [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Go" } } }],
    tools: [{ tool: { case: "function" as const, value: { name: "now" } } }],
    toolChoice: { choice: { case: "mode" as const, value: ToolChoiceMode.REQUIRED } },
    parallelToolCalls: false,
  };
  const { choices } = await grpc.createChatCompletion(request);
  expect(choices[0]).toMatchObject({
    finishReason: FinishReason.TOOL_CALLS,
    message: { toolCalls: [{ call: { case: "function", value: { name: "now", arguments: "{}" } } }] },
  });
  let name = "";
  let args = "";
  for await (const { choices: pieces } of grpc.streamChatCompletion(request)) {
    for (const { function: piece } of pieces[0]?.delta?.toolCalls ?? []) {
      name += piece?.name ?? "";
      args += piece?.arguments ?? "";
    }
  }
  expect([name, args]).toEqual(["now", "{}"]);
});

describe("auto", () => {
  test("thinking and text are free; what opens a call in the middle of a token is held to one", async () => {
    const { message } = await ask("caller", { tools: [weather], stop: "</tool_call>", temperature: 0 });
    expect(message.reasoning_content).toBe("A <tool_call>{ maybe.");
    expect(message.content).toBe("Well.");
    const calls = message.tool_calls as { function: { name: string; arguments: string } }[];
    expect(calls.map((call) => call.function.name)).toEqual(["weather"]);
    expect(valid(JSON.parse(calls[0]?.function.arguments ?? ""))).toBe(true);
  });

  test("without calls the text is the model's own", async () => {
    const { message } = await ask("hermes", { tools: [weather], max_tokens: 4 });
    expect(message.content).toBe("I won'tI won't");
  });
});

describe("the older form", () => {
  const functions = [{ name: "weather", parameters }];
  test("a named function, whole", async () => {
    const { message, finish_reason } = await ask("hermes", { functions, function_call: { name: "weather" } });
    expect(finish_reason).toBe("function_call");
    expect(message.tool_calls).toBeUndefined();
    expect(message.function_call?.name).toBe("weather");
    expect(valid(JSON.parse(message.function_call?.arguments ?? ""))).toBe(true);
  });

  test("a named function, streamed", async () => {
    const stream = await client.chat.completions.create({
      model: "hermes",
      messages: user,
      functions,
      function_call: { name: "weather" },
      stream: true,
    });
    let name = "";
    let args = "";
    let reason = "";
    for await (const { choices } of stream) {
      name += choices[0]?.delta.function_call?.name ?? "";
      args += choices[0]?.delta.function_call?.arguments ?? "";
      reason = choices[0]?.finish_reason ?? reason;
      expect(choices[0]?.delta.tool_calls).toBeUndefined();
    }
    expect([name, reason]).toEqual(["weather", "function_call"]);
    expect(valid(JSON.parse(args))).toBe(true);
  });

  test("auto and none", async () => {
    const auto = await ask("hermes", { functions, function_call: "auto", max_tokens: 4 });
    expect([auto.message.content, auto.finish_reason]).toEqual(["I won'tI won't", "length"]);
    const none = await ask("hermes", { functions, function_call: "none", max_tokens: 4 });
    expect(none.message.content).toBe("I won'tI won't");
  });
});

describe("reasoning", () => {
  test.each([
    ["a choice", { guided_choice: ["yes", "no"] }, /^(yes|no)$/],
    [
      "a schema",
      { response_format: { type: "json_schema", json_schema: { name: "c", schema: city } } },
      /^"(Oslo|Bergen|Å)"$/,
    ],
  ])("stays free before %s, up to its budget", async (_, form, expected) => {
    const { message, finish_reason, usage } = await ask("thinker", {
      ...form,
      thinking_budget_tokens: 5,
      temperature: 0,
    });
    expect(message.reasoning_content).toBe("Hm so then<think>Hm");
    expect(message.content).toMatch(expected);
    expect(finish_reason).toBe("stop");
    // "<think>", five tokens, and `\n</think>\n\n` in single bytes, and an answer.
    expect(usage?.completion_tokens).toBeGreaterThan(6 + 11);
  });

  test("that the prompt begins", async () => {
    const { message } = await ask("opened", {
      guided_choice: ["yes", "no"],
      thinking_budget_tokens: 4,
      temperature: 0,
    });
    expect(message.reasoning_content).toBe("Hm so thenHm");
    expect(message.content).toMatch(/^(yes|no)$/);
  });

  test.each(["thinker", "opened"])("a budget of 0 ends it at once, %s", async (model) => {
    const { message } = await ask(model, { guided_choice: ["yes", "no"], reasoning_budget_tokens: 0, temperature: 0 });
    expect(message.reasoning_content).toBeUndefined();
    expect(message.content).toMatch(/^(yes|no)$/);
  });

  test("before a forced call", async () => {
    const { message } = await ask("opened", {
      tools: [now],
      tool_choice: "required",
      parallel_tool_calls: false,
      thinking_token_budget: 3,
      temperature: 0,
    });
    expect(message.reasoning_content).toBe("Hm so then");
    expect(message.tool_calls).toMatchObject([{ function: { name: "now", arguments: "{}" } }]);
  });

  test("without a budget it is as long as the answer may be", async () => {
    const { message, finish_reason } = await ask("opened", { guided_choice: ["yes"], max_tokens: 6, temperature: 0 });
    expect([message.content, message.reasoning_content, finish_reason]).toEqual(["", "Hm so thenHm so then", "length"]);
  });
});

describe("min_tokens", () => {
  test("bans the end for so many tokens, and stop strings", async () => {
    const { usage, message } = await ask("brief", { min_tokens: 10, stop: ["text"], temperature: 0 });
    expect(usage?.completion_tokens).toBeGreaterThanOrEqual(10);
    expect(message.content).toMatch(/^Just text/);
    expect((await ask("brief", { min_tokens: 2, temperature: 0 })).message.content).toBe("Just text");
  });

  test("above the most is refused", async () => {
    await expect(ask("brief", { min_tokens: 10, max_tokens: 9 })).rejects.toMatchObject({
      status: 400,
      param: "min_tokens",
    });
  });
});
