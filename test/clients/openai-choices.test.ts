/** OpenAI's SDK for Node asks for several choices and for log-probabilities. */
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agentScripts } from "../support/agent-scripts.ts";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";
import { helloReply, usualScripts } from "../support/running-loqui.ts";

let server: OpenAiServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startWithOpenAi({
    hello: usualScripts.hello,
    /** Nearly all tokens are as good as the scripted one. */
    wild: { reply: ["a", "b", "c"], loop: true, logit: 0.5 },
    agent: agentScripts.agent,
  });
  ({ client } = server);
});
afterAll(async () => {
  expect(await server.validating.settle()).toBeGreaterThan(10);
  await server[Symbol.asyncDispose]();
});

const messages = [{ role: "user" as const, content: "Hi!" }];
const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [{ type: "function" as const, function: { name: "weather", parameters } }];

describe("n", () => {
  const request = { model: "wild", messages, n: 3, seed: 7, max_completion_tokens: 12 };

  it("answers with as many choices, each another, and counts the prompt once", async () => {
    const { choices, usage } = await client.chat.completions.create(request);
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(new Set(choices.map(({ message }) => message.content)).size).toBe(3);
    expect(choices.every(({ finish_reason }) => finish_reason === "length")).toBe(true);
    const one = await client.chat.completions.create({ ...request, n: 1 });
    expect(usage?.prompt_tokens).toBe(one.usage?.prompt_tokens);
    expect(usage?.completion_tokens).toBe(36);
    expect(choices[0]?.message.content).toBe(one.choices[0]?.message.content);
  });

  it("streams them, and the helper puts together what whole ones are", async () => {
    const { choices: whole } = await client.chat.completions.create(request);
    const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
    const { choices, usage } = await stream.finalChatCompletion();
    const textOf = (all: typeof whole) =>
      all.toSorted((a, b) => a.index - b.index).map(({ message }) => message.content);
    expect(textOf(choices)).toEqual(textOf(whole));
    expect(usage?.completion_tokens).toBe(36);
  });

  it("runs tools for each", async () => {
    const { choices } = await client.chat.completions.create({ model: "agent", messages, tools, n: 2 });
    expect(choices.map(({ message }) => message.tool_calls?.length)).toEqual([2, 2]);
    const ids = choices.flatMap(({ message }) => message.tool_calls?.map(({ id }) => id) ?? []);
    expect(new Set(ids).size).toBe(4);
  });
});

describe("logprobs", () => {
  const request = { model: "wild", messages, seed: 3, max_completion_tokens: 10, logprobs: true, top_logprobs: 5 };
  type Logprobs = OpenAI.ChatCompletion.Choice["logprobs"];

  function check(logprobs: Logprobs | undefined, text: string | null | undefined): void {
    const content = logprobs?.content ?? [];
    const bytes = content.flatMap((token) => token.bytes ?? []);
    expect(Buffer.from(bytes).toString()).toBe(text);
    for (const token of content) {
      expect(token.logprob).toBeLessThanOrEqual(0);
      expect(token.top_logprobs).toHaveLength(5);
      const likeliest = token.top_logprobs.map(({ logprob }) => logprob);
      expect(likeliest).toEqual(likeliest.toSorted((a, b) => b - a));
      expect(likeliest[0]).toBeGreaterThanOrEqual(token.logprob);
    }
  }

  it("of each token of the text, with the likeliest", async () => {
    const { choices } = await client.chat.completions.create(request);
    expect(choices[0]?.logprobs?.content).toHaveLength(10);
    check(choices[0]?.logprobs, choices[0]?.message.content);
  });

  it("of a certain reply are near 0; a character of two tokens has the bytes of both", async () => {
    const { choices } = await client.chat.completions.create({ ...request, model: "hello", max_completion_tokens: 40 });
    check(choices[0]?.logprobs, helloReply);
    for (const { logprob } of choices[0]?.logprobs?.content ?? []) expect(logprob).toBeGreaterThan(-1e-6);
  });

  it("streamed are the same, told by the helper's events", async () => {
    const { choices: whole } = await client.chat.completions.create(request);
    const stream = client.chat.completions.stream(request);
    const tokens: string[] = [];
    stream.on("logprobs.content.delta", ({ content, snapshot }) => {
      tokens.push(...content.map(({ token }) => token));
      expect(snapshot.map(({ token }) => token)).toEqual(tokens);
    });
    const done = new Promise<number>((resolve) =>
      stream.on("logprobs.content.done", ({ content }) => resolve(content.length)),
    );
    const { choices } = await stream.finalChatCompletion();
    expect(await done).toBe(10);
    expect(choices[0]?.logprobs).toEqual(whole[0]?.logprobs);
    check(choices[0]?.logprobs, choices[0]?.message.content);
  });

  it("beside tools and n", async () => {
    const stream = client.chat.completions.stream({
      ...request,
      model: "agent",
      tools,
      n: 2,
      max_completion_tokens: 60,
    });
    const { choices } = await stream.finalChatCompletion();
    for (const { message, logprobs } of choices) {
      expect(message.tool_calls).toHaveLength(2);
      expect((logprobs?.content ?? []).map(({ token }) => token).join("")).toContain("I look.");
    }
  });

  it.each([
    [{ logprobs: false, top_logprobs: 2 }, "top_logprobs"],
    [{ top_logprobs: 21 }, "top_logprobs"],
  ])("%j is refused by name", async (more, param) => {
    await expect(client.chat.completions.create({ ...request, ...more })).rejects.toMatchObject({ status: 400, param });
  });
});
