/** OpenAI's SDK for Node runs tools: its loop, its events, its types. */
import type OpenAI from "openai";
import { APIUserAbortError, BadRequestError } from "openai";
import type { ChatCompletionMessageParam, ChatCompletionTool } from "openai/resources";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agentAnswer, agentScripts } from "../support/agent-scripts.ts";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";

let server: OpenAiServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startWithOpenAi({ agent: agentScripts.agent, serial: agentScripts.serial });
  ({ client } = server);
});
afterAll(async () => {
  expect(await server.validating.settle()).toBeGreaterThan(12);
  await server[Symbol.asyncDispose]();
});

const messages: ChatCompletionMessageParam[] = [{ role: "user", content: "Where is it warmer, in Oslo or in Bergen?" }];
const city = { type: "object" as const, properties: { city: { type: "string" as const } }, required: ["city"] };
const operands = {
  type: "object" as const,
  properties: { a: { type: "number" as const }, b: { type: "number" as const } },
  required: ["a", "b"],
};
const tools: ChatCompletionTool[] = [
  { type: "function", function: { name: "weather", description: "The weather in a city.", parameters: city } },
  { type: "function", function: { name: "subtract", description: "a less b.", parameters: operands } },
];

/** The same, with what they do; `called` takes their arguments. */
function runnable(called: object[]) {
  return [
    {
      type: "function" as const,
      function: {
        name: "weather",
        description: "The weather in a city.",
        parameters: city,
        parse: (text: string) => JSON.parse(text) as { city: string },
        function(args: { city: string }) {
          called.push(args);
          return `${args.city === "Oslo" ? 9 : 12} °C`;
        },
      },
    },
    {
      type: "function" as const,
      function: {
        name: "subtract",
        description: "a less b.",
        parameters: operands,
        parse: (text: string) => JSON.parse(text) as { a: number; b: number },
        function(args: { a: number; b: number }) {
          called.push(args);
          return String(args.a - args.b);
        },
      },
    },
  ];
}

const calls = [{ city: "Oslo" }, { city: "Bergen" }, { a: 12, b: 9 }];

describe("runTools", () => {
  it("goes two rounds, the first with two calls at once, and ends with the answer", async () => {
    const called: object[] = [];
    const runner = client.chat.completions.runTools({ model: "agent", messages, tools: runnable(called) });
    expect(await runner.finalContent()).toBe(agentAnswer);
    expect(called).toEqual(calls);
    expect(runner.messages.map(({ role }) => role)).toEqual([
      ...["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"],
    ]);
    const [first, second, third] = runner.allChatCompletions();
    expect([first, second, third].map((answer) => answer?.choices[0]?.finish_reason)).toEqual([
      ...["tool_calls", "tool_calls", "stop"],
    ]);
    // What the tools said stands in the next prompt: a byte is a token here.
    expect((second?.usage?.prompt_tokens ?? 0) - (first?.usage?.prompt_tokens ?? 0)).toBeGreaterThan(100);
    expect((third?.usage?.prompt_tokens ?? 0) - (second?.usage?.prompt_tokens ?? 0)).toBeGreaterThan(50);
    const usage = await runner.totalUsage();
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
  });

  it("streams the same", async () => {
    const called: object[] = [];
    const runner = client.chat.completions.runTools({
      model: "agent",
      messages,
      tools: runnable(called),
      stream: true,
    });
    const texts: string[] = [];
    runner.on("content", (delta) => texts.push(delta));
    expect(await runner.finalContent()).toBe(agentAnswer);
    expect(called).toEqual(calls);
    expect(texts.join("")).toBe(`I look.${agentAnswer}`);
  });

  it("goes on with a model whose template takes one call at a time: the answer ends with it", async () => {
    for (const stream of [false, true] as const) {
      const called: object[] = [];
      const request = { model: "serial", messages, tools: runnable(called) };
      const runner = stream
        ? client.chat.completions.runTools({ ...request, stream })
        : client.chat.completions.runTools(request);
      expect(await runner.finalContent()).toBe(agentAnswer);
      expect(called).toEqual([calls[0], calls[2]]);
    }
    const both = await client.chat.completions.create({ model: "serial", messages, tools, parallel_tool_calls: true });
    expect(both.choices[0]?.message.tool_calls).toHaveLength(2);
  });

  it("an argument that a tool refuses is told to the model", async () => {
    const [weather, subtract] = runnable([]);
    if (weather === undefined || subtract === undefined) throw new Error("two tools");
    const failing = {
      ...weather,
      function: {
        ...weather.function,
        parse(): { city: string } {
          throw new Error("no such city");
        },
      },
    };
    const runner = client.chat.completions.runTools({ model: "agent", messages, tools: [failing, subtract] });
    expect(await runner.finalContent()).toBe(agentAnswer);
    expect(runner.messages.filter(({ role }) => role === "tool")[0]?.content).toBe("no such city");
  });
});

describe("streaming helpers", () => {
  it("arguments arrive in pieces, each call with its name and index, and are done once", async () => {
    const stream = client.chat.completions.stream({ model: "agent", messages, tools });
    const pieces = ["", ""];
    const done: [index: number, name: string, text: string][] = [];
    const contents: string[] = [];
    stream.on("tool_calls.function.arguments.delta", (event) => {
      expect(event.name).toBe("weather");
      pieces[event.index] += event.arguments_delta;
      expect(event.arguments).toBe(pieces[event.index]);
    });
    stream.on("tool_calls.function.arguments.done", (event) => {
      done.push([event.index, event.name, event.arguments]);
    });
    stream.on("content.delta", ({ delta, snapshot }) => {
      contents.push(delta);
      expect(snapshot).toBe(contents.join(""));
    });
    const { choices } = await stream.finalChatCompletion();
    expect(pieces.map((text) => JSON.parse(text) as object)).toEqual(calls.slice(0, 2));
    expect(done).toEqual([
      [0, "weather", pieces[0]],
      [1, "weather", pieces[1]],
    ]);
    expect(contents.join("")).toBe("I look.");
    expect(choices[0]?.finish_reason).toBe("tool_calls");
    expect(await stream.finalMessage()).toMatchObject({ role: "assistant", content: "I look." });
    expect(await stream.finalFunctionToolCall()).toMatchObject({ name: "weather", arguments: pieces[1] });
  });

  it("whole and streamed are equal but for their ids", async () => {
    const whole = await client.chat.completions.create({ model: "agent", messages, tools });
    const streamed = await client.chat.completions.stream({ model: "agent", messages, tools }).finalChatCompletion();
    const bare = ({ choices }: OpenAI.ChatCompletion) =>
      choices[0]?.message.tool_calls?.map((call) => (call.type === "function" ? call.function : call));
    const parsed = (answer: OpenAI.ChatCompletion) =>
      bare(answer)?.map((call) => ("arguments" in call ? { name: call.name, arguments: call.arguments } : call));
    expect(parsed(streamed)).toEqual(parsed(whole));
    expect(streamed.choices[0]?.message.content).toBe(whole.choices[0]?.message.content);
  });

  it("abort ends it with APIUserAbortError, and the server answers the next", async () => {
    const stream = client.chat.completions.stream({ model: "agent", messages, tools });
    stream.on("content.delta", () => stream.abort());
    await expect(stream.finalChatCompletion()).rejects.toBeInstanceOf(APIUserAbortError);
    const answer = await client.chat.completions.create({ model: "agent", messages });
    expect(answer.choices[0]?.finish_reason).toBe("stop");
  });
});

describe("a history that makes no sense is BadRequestError by its place", () => {
  const asked: ChatCompletionMessageParam = {
    role: "assistant",
    tool_calls: [{ id: "a", type: "function", function: { name: "weather", arguments: '{"city"' } }],
  };

  it.each([
    ["arguments that are no JSON", [...messages, asked], "messages[1].tool_calls[0].function.arguments"],
    [
      "a result without the id of its call",
      [...messages, { role: "tool", content: "9 °C" } as ChatCompletionMessageParam],
      "messages[1]",
    ],
  ] as [string, ChatCompletionMessageParam[], string][])("%s", async (_, history, param) => {
    const error = await client.chat.completions
      .create({ model: "agent", messages: history, tools })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ param });
  });
});
