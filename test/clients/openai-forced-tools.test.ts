/** OpenAI's SDK for Node makes a model call: forced, by name, strictly. The model wants to say something else. */
import type OpenAI from "openai";
import { zodFunction } from "openai/helpers/zod";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { agentAnswer, agentScripts } from "../support/agent-scripts.ts";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";

let server: OpenAiServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startWithOpenAi({
    agent: agentScripts.agent,
    stubborn: { template: agentScripts.agent.template, reply: ["I", " won't", " say"], loop: true },
  });
  ({ client } = server);
});
afterAll(async () => {
  expect(await server.validating.settle()).toBeGreaterThan(10);
  await server[Symbol.asyncDispose]();
});

const messages = [{ role: "user" as const, content: "Where is it warmer, in Oslo or in Bergen?" }];
const City = z.object({ city: z.enum(["Oslo", "Bergen"]), days: z.number().int().min(1).max(7) });
const Operands = z.object({ a: z.number().int().min(0).max(99), b: z.boolean() });
const weather = zodFunction({ name: "weather", parameters: City });
const subtract = zodFunction({ name: "subtract", parameters: Operands });
const tools = [weather, subtract];

describe.each([
  ["required", "required" as const, ["weather", "subtract"]],
  ["a function by name", { type: "function" as const, function: { name: "subtract" } }, ["subtract"]],
  [
    "allowed tools, required",
    {
      type: "allowed_tools" as const,
      allowed_tools: { mode: "required" as const, tools: [{ type: "function", function: { name: "weather" } }] },
    },
    ["weather"],
  ],
])("tool_choice %s", (_, tool_choice, allowed) => {
  it.each([1, 2, 3])("parse: calls whose arguments zod takes, seed %i", async (seed) => {
    const { choices } = await client.chat.completions.parse({ model: "stubborn", messages, tools, tool_choice, seed });
    const calls = choices[0]?.message.tool_calls ?? [];
    expect(calls.length).toBeGreaterThan(0);
    for (const call of calls) {
      if (call.type !== "function") throw new Error(call.type);
      expect(allowed).toContain(call.function.name);
      expect((call.function.name === "weather" ? City : Operands).parse(call.function.parsed_arguments)).toBeTruthy();
    }
  });

  it("streamed", async () => {
    const stream = client.chat.completions.stream({ model: "stubborn", messages, tools, tool_choice, seed: 4 });
    const { choices } = await stream.finalChatCompletion();
    const [call] = choices[0]?.message.tool_calls ?? [];
    expect(allowed).toContain(call?.type === "function" ? call.function.name : undefined);
  });
});

describe("runTools", () => {
  it("with zod's functions, which are strict", async () => {
    const called: object[] = [];
    const runner = client.chat.completions.runTools({
      model: "agent",
      messages,
      tools: [
        zodFunction({
          name: "weather",
          parameters: z.object({ city: z.string() }),
          function: (args) => {
            called.push(args);
            return "9 °C";
          },
        }),
        zodFunction({
          name: "subtract",
          parameters: z.object({ a: z.number(), b: z.number() }),
          function: (args) => {
            called.push(args);
            return args.a - args.b;
          },
        }),
      ],
    });
    expect(await runner.finalContent()).toBe(agentAnswer);
    expect(called).toEqual([{ city: "Oslo" }, { city: "Bergen" }, { a: 12, b: 9 }]);
  });
});

describe("refused by name", () => {
  it.each([
    [{ tool_choice: "required" as const }, "tool_choice"],
    [{ tools, tool_choice: { type: "function" as const, function: { name: "nothing" } } }, /^tool_choice/],
  ])("%j", async (more, param) => {
    const error = await client.chat.completions
      .create({ model: "stubborn", messages, ...more })
      .catch((e: unknown) => e);
    expect(error).toMatchObject({ status: 400, param: expect.stringMatching(param) });
  });
});
