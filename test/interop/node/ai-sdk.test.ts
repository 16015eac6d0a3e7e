/** Vercel's AI SDK, with both of its providers that speak chat completions. */
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError,
  generateObject,
  generateText,
  isStepCount,
  type LanguageModel,
  NoObjectGeneratedError,
  Output,
  streamText,
  tool,
} from "ai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { agentAnswer } from "../../support/agent-scripts.ts";
import { helloReply } from "../../support/running-loqui.ts";
import { type ValidatingFetch, validatingFetch } from "../../support/validating-fetch.ts";

const url = process.env.LOQUI_TEST_URL ?? "";
const baseURL = `${url}/v1`;
let validating: ValidatingFetch;
beforeAll(async () => {
  validating = await validatingFetch(url);
});
afterAll(async () => {
  expect(await validating.settle()).toBeGreaterThan(20);
});
const fetching: typeof fetch = (input, init) => validating.fetch(input, init);

const providers: [string, (model: string) => LanguageModel][] = [
  [
    "@ai-sdk/openai-compatible",
    (model) =>
      createOpenAICompatible({
        name: "loqui",
        baseURL,
        fetch: fetching,
        includeUsage: true,
        supportsStructuredOutputs: true,
      })(model),
  ],
  ["@ai-sdk/openai", (model) => createOpenAI({ baseURL, apiKey: "none", fetch: fetching }).chat(model)],
];

const Person = z.object({ name: z.string(), age: z.number().int().min(0).max(130), tags: z.array(z.string()) });
const ada = { name: "Ada", age: 36, tags: ["first"] };
const prompt = "Where is it warmer, in Oslo or in Bergen?";

function tools(called: object[]) {
  return {
    weather: tool({
      description: "The weather in a city.",
      inputSchema: z.object({ city: z.string() }),
      execute: (input) => {
        called.push(input);
        return `${input.city === "Oslo" ? 9 : 12} °C`;
      },
    }),
    subtract: tool({
      description: "a less b.",
      inputSchema: z.object({ a: z.number(), b: z.number() }),
      execute: (input) => {
        called.push(input);
        return input.a - input.b;
      },
    }),
  };
}

const calls = [{ city: "Oslo" }, { city: "Bergen" }, { a: 12, b: 9 }];

describe.each(providers)("%s", (_, model) => {
  it("generateText", async () => {
    const { text, finishReason, usage, response } = await generateText({
      model: model("hello"),
      prompt,
      maxRetries: 0,
    });
    expect(text).toBe(helloReply);
    expect(finishReason).toBe("stop");
    expect(usage.totalTokens).toBe((usage.inputTokens ?? 0) + (usage.outputTokens ?? 0));
    expect(usage.outputTokens).toBe(11);
    expect(response.id).toMatch(/^chatcmpl-/);
  });

  it("generateText up to a length and a stop text", async () => {
    const settings = { model: model("endless"), prompt, maxRetries: 0 };
    expect(await generateText({ ...settings, maxOutputTokens: 3 })).toMatchObject({
      text: "on and off ",
      finishReason: "length",
    });
    expect((await generateText({ ...settings, stopSequences: ["off"] })).text).toBe("on and ");
  });

  it("streamText", async () => {
    const { textStream, finishReason, usage } = streamText({ model: model("hello"), prompt, maxRetries: 0 });
    const pieces = await Array.fromAsync(textStream);
    expect(pieces.length).toBeGreaterThan(5);
    expect(pieces.join("")).toBe(helloReply);
    expect(await finishReason).toBe("stop");
    expect((await usage).outputTokens).toBe(11);
  });

  it("generateText runs tools over several steps", async () => {
    const called: object[] = [];
    const { text, steps } = await generateText({
      model: model("agent"),
      prompt,
      tools: tools(called),
      stopWhen: isStepCount(5),
      maxRetries: 0,
    });
    expect(text).toBe(agentAnswer);
    expect(called).toEqual(calls);
    expect(steps.map(({ finishReason }) => finishReason)).toEqual(["tool-calls", "tool-calls", "stop"]);
    expect(steps[0]?.toolCalls.map(({ toolName, input }) => [toolName, input])).toEqual([
      ["weather", calls[0]],
      ["weather", calls[1]],
    ]);
    expect(steps[1]?.toolResults.map(({ output }) => output)).toEqual([3]);
  });

  it("streamText runs them too", async () => {
    const called: object[] = [];
    const { stream } = streamText({
      model: model("agent"),
      prompt,
      tools: tools(called),
      stopWhen: isStepCount(5),
      maxRetries: 0,
    });
    const parts = await Array.fromAsync(stream);
    expect(called).toEqual(calls);
    expect(parts.filter(({ type }) => type === "error")).toEqual([]);
    expect(parts.filter(({ type }) => type === "tool-call")).toHaveLength(3);
    expect(parts.filter(({ type }) => type === "tool-result")).toHaveLength(3);
    const text = parts.flatMap((part) => (part.type === "text-delta" ? [part.text] : [])).join("");
    expect(text).toBe(`I look.${agentAnswer}`);
  });

  it("generateText with a call that is forced, of any tool and of one", async () => {
    const settings = { model: model("agent"), prompt, tools: tools([]), maxRetries: 0 };
    for (const toolChoice of ["required", { type: "tool", toolName: "subtract" }] as const) {
      const { toolCalls, finishReason } = await generateText({ ...settings, toolChoice, seed: 1 });
      expect(finishReason).toBe("tool-calls");
      expect(toolCalls[0]?.invalid).toBeFalsy();
      if (toolChoice !== "required") expect(toolCalls[0]?.toolName).toBe("subtract");
    }
  });

  it("generateObject", async () => {
    const { object } = await generateObject({ model: model("person"), schema: Person, prompt, maxRetries: 0 });
    expect(object).toEqual(ada);
  });

  it("generateObject of a model that wants to say something else", async () => {
    const schema = z.object({ answer: z.enum(["yes", "no"]), score: z.number().int().min(1).max(5) });
    const { object } = await generateObject({ model: model("hello"), schema, prompt, maxRetries: 0 });
    expect(schema.parse(object)).toEqual(object);
  });

  it("an object that is cut short is an error, not half an object", async () => {
    const cut = generateObject({ model: model("person"), schema: Person, prompt, maxOutputTokens: 3, maxRetries: 0 });
    await expect(cut).rejects.toSatisfy(NoObjectGeneratedError.isInstance);
  });

  it("streamText with an output has what there is so far, then the object", async () => {
    const { partialOutputStream, output } = streamText({
      model: model("person"),
      output: Output.object({ schema: Person }),
      prompt,
      maxRetries: 0,
    });
    const parts = await Array.fromAsync(partialOutputStream);
    expect(parts).toContainEqual({ name: "Ada" });
    expect(parts.at(-1)).toEqual(ada);
    expect(await output).toEqual(ada);
  });

  it("errors are APICallError with the server's words", async () => {
    const error = await generateText({ model: model("gpt-4o"), prompt, maxRetries: 0 }).catch((e: unknown) => e);
    expect(error).toSatisfy(APICallError.isInstance);
    expect(error).toMatchObject({ statusCode: 404, isRetryable: false });
    expect((error as APICallError).message).toContain("gpt-4o");
  });

  it("a signal ends it, and the place is free", async () => {
    for (let i = 0; i < 6; i++) {
      const ended = generateText({ model: model("endless"), prompt, abortSignal: AbortSignal.timeout(100) });
      await expect(ended).rejects.toThrow();
    }
    const { text } = await generateText({ model: model("endless"), prompt, maxOutputTokens: 1, maxRetries: 0 });
    expect(text).toBe("on ");
  });
});

it("@ai-sdk/openai has the log-probabilities", async () => {
  const model = createOpenAI({ baseURL, apiKey: "none", fetch: fetching }).chat("hello");
  const { providerMetadata } = await generateText({
    model,
    prompt,
    providerOptions: { openai: { logprobs: 2 } },
    maxRetries: 0,
  });
  const { logprobs } = providerMetadata?.openai ?? {};
  expect(logprobs).toHaveLength(10);
});

it.each([
  ["@ai-sdk/openai-compatible", createOpenAICompatible({ name: "loqui", baseURL, fetch: fetching }).completionModel],
  ["@ai-sdk/openai", createOpenAI({ baseURL, apiKey: "none", fetch: fetching }).completion],
] as [string, (model: string) => LanguageModel][])("%s completes texts, whole and streamed", async (_, completion) => {
  const settings = { model: completion("hello"), prompt, maxRetries: 0 };
  expect((await generateText(settings)).text).toBe(helloReply);
  const { textStream, finishReason } = streamText(settings);
  expect((await Array.fromAsync(textStream)).join("")).toBe(helloReply);
  expect(await finishReason).toBe("stop");
});
