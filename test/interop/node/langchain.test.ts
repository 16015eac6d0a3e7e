/** LangChain with @langchain/openai. */
import { AIMessageChunk, type BaseMessage, HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAI } from "@langchain/openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { agentAnswer } from "../../support/agent-scripts.ts";
import { helloReply } from "../../support/running-loqui.ts";
import { type ValidatingFetch, validatingFetch } from "../../support/validating-fetch.ts";

const url = process.env.LOQUI_TEST_URL ?? "";
let validating: ValidatingFetch;
beforeAll(async () => {
  validating = await validatingFetch(url);
});
afterAll(async () => {
  expect(await validating.settle()).toBeGreaterThan(10);
});

const chat = (model: string, more: object = {}) =>
  new ChatOpenAI({
    model,
    apiKey: "none",
    maxRetries: 0,
    configuration: { baseURL: `${url}/v1`, fetch: (input, init) => validating.fetch(input, init) },
    ...more,
  });

const completing = new OpenAI({
  model: "hello",
  apiKey: "none",
  maxRetries: 0,
  configuration: { baseURL: `${url}/v1`, fetch: (input, init) => validating.fetch(input, init) },
});

const question = "Where is it warmer, in Oslo or in Bergen?";
const Person = z.object({ name: z.string(), age: z.number().int().min(0).max(130), tags: z.array(z.string()) });
const ada = { name: "Ada", age: 36, tags: ["first"] };

const weather = tool(({ city }) => `${city === "Oslo" ? 9 : 12} °C`, {
  name: "weather",
  description: "The weather in a city.",
  schema: z.object({ city: z.string() }),
});
const subtract = tool(({ a, b }) => String(a - b), {
  name: "subtract",
  description: "a less b.",
  schema: z.object({ a: z.number(), b: z.number() }),
});

/** The loop of an agent: what was called, and the last answer. */
async function run(ask: (history: BaseMessage[]) => Promise<AIMessageChunk>) {
  const history: BaseMessage[] = [new HumanMessage(question)];
  const called: [string, object][] = [];
  for (let round = 0; round < 5; round++) {
    const answer = await ask(history);
    history.push(answer);
    if (answer.tool_calls === undefined || answer.tool_calls.length === 0) return { called, text: answer.text };
    for (const call of answer.tool_calls) {
      called.push([call.name, call.args]);
      const result: unknown = call.name === "weather" ? await weather.invoke(call) : await subtract.invoke(call);
      if (!ToolMessage.isInstance(result)) throw new Error("a tool answers with a message");
      history.push(result);
    }
  }
  throw new Error("it never answers");
}

const expected = {
  called: [
    ["weather", { city: "Oslo" }],
    ["weather", { city: "Bergen" }],
    ["subtract", { a: 12, b: 9 }],
  ],
  text: agentAnswer,
};

describe("@langchain/openai", () => {
  it("invoke", async () => {
    const answer = await chat("hello").invoke(question);
    expect(answer.text).toBe(helloReply);
    expect(answer.usage_metadata).toMatchObject({ output_tokens: 11 });
    expect(answer.response_metadata).toMatchObject({ finish_reason: "stop", model_name: "hello" });
  });

  it("stream, with usage in the end", async () => {
    const chunks = await Array.fromAsync(await chat("hello").stream(question));
    expect(chunks.map(({ text }) => text).join("")).toBe(helloReply);
    expect(chunks.length).toBeGreaterThan(5);
    const whole = chunks.reduce((all, chunk) => all.concat(chunk));
    expect(whole.usage_metadata).toMatchObject({ output_tokens: 11 });
  });

  it("several choices, with log-probabilities", async () => {
    const { generations } = await chat("hello", { n: 2, logprobs: true, topLogprobs: 2 }).generate([[question]]);
    expect(generations[0]?.map(({ text }) => text)).toEqual([helloReply, helloReply]);
    const metadata = (await chat("hello", { logprobs: true }).invoke(question)).response_metadata;
    expect(metadata).toMatchObject({ logprobs: { content: expect.arrayContaining([expect.anything()]) } });
  });

  it("completes texts, whole and streamed", async () => {
    expect(await completing.invoke(question)).toBe(helloReply);
    expect((await Array.fromAsync(await completing.stream(question))).join("")).toBe(helloReply);
    const { generations } = await completing.generate(["a", "b", "c"]);
    expect(generations.map(([first]) => first?.text)).toEqual([helloReply, helloReply, helloReply]);
  });

  it("batch answers all", async () => {
    const answers = await chat("hello").batch(Array.from({ length: 8 }, (_, i) => `Question ${i}`));
    expect(answers.map(({ text }) => text)).toEqual(Array(8).fill(helloReply));
  });

  it("bindTools: two rounds, the first with two calls at once", async () => {
    const model = chat("agent").bindTools([weather, subtract]);
    expect(await run((history) => model.invoke(history))).toEqual(expected);
  });

  it("bindTools, streamed: the chunks add up to the same calls", async () => {
    const model = chat("agent").bindTools([weather, subtract]);
    const ask = async (history: BaseMessage[]) => {
      const chunks = await Array.fromAsync(await model.stream(history));
      return chunks.reduce((all, chunk) => all.concat(chunk), new AIMessageChunk(""));
    };
    expect(await run(ask)).toEqual(expected);
  });

  it.each(["jsonSchema", "jsonMode"] as const)("withStructuredOutput by %s", async (method) => {
    const model = chat("person").withStructuredOutput(Person, { name: "person", method });
    expect(await model.invoke(question)).toEqual(ada);
  });

  it("withStructuredOutput of a model that wants to say something else", async () => {
    const schema = z.object({ answer: z.enum(["yes", "no"]), score: z.number().int().min(1).max(5) });
    const answer = await chat("hello").withStructuredOutput(schema, { name: "judgement" }).invoke(question);
    expect(schema.parse(answer)).toEqual(answer);
  });

  it("withStructuredOutput by a function that is called in any case", async () => {
    const schema = z.object({ answer: z.enum(["yes", "no"]), score: z.number().int().min(1).max(5) });
    const model = chat("agent").withStructuredOutput(schema, { name: "judgement", method: "functionCalling" });
    const answer = await model.invoke(question);
    expect(schema.parse(answer)).toEqual(answer);
  });

  it("an error has the server's code", async () => {
    const error = await chat("gpt-4o")
      .invoke(question)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ status: 404, code: "model_not_found" });
  });

  it("a signal ends a stream, and the place is free", async () => {
    for (let i = 0; i < 6; i++) {
      const read = async () => {
        const controller = new AbortController();
        for await (const _ of await chat("endless").stream(question, { signal: controller.signal })) controller.abort();
      };
      await expect(read()).rejects.toThrow();
    }
    expect((await chat("endless", { maxTokens: 1 }).invoke(question)).text).toBe("on ");
  });
});
