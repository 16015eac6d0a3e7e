import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatRole, ChatService, FinishReason } from "../../gen/loqui/v1/chat_pb.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

/** Says something else with every seed: the scripted token is hardly likelier than others. */
const wild = { reply: ["one ", "two ", "three "], loop: true, logit: 1, contextLength: 1024 };

let running: RunningLoqui;
let client: OpenAI;
beforeAll(async () => {
  running = await startWithScripts({ wild, hello: { reply: ["Hello", ", ", "world"] } });
  client = new OpenAI({ baseURL: `${running.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => running[Symbol.asyncDispose]());

const question = "Say something long enough to be worth a copy of its cells. ".repeat(3);
const ask = (more: object) => ({
  model: "wild",
  messages: [{ role: "user" as const, content: question }],
  max_completion_tokens: 12,
  ignore_eos: true,
  ...more,
});

describe("n", () => {
  test("choice i with a seed is the answer to the request with the seed plus i", async () => {
    const { choices, usage } = await client.chat.completions.create(ask({ n: 6, seed: 100 }));
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5]);
    const alone = [];
    for (const seed of [100, 101, 102, 103, 104, 105]) {
      const answer = await client.chat.completions.create(ask({ seed, cache_prompt: false }));
      alone.push(answer.choices[0]?.message.content);
    }
    expect(choices.map(({ message }) => message.content)).toEqual(alone);
    expect(new Set(alone).size).toBe(6);
    expect(usage?.completion_tokens).toBe(6 * 12);
    expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + 72);
    expect(usage?.prompt_tokens).toBeLessThan(300);
  });

  test("without a seed the choices differ, greedily they don't", async () => {
    const texts = async (more: object) => {
      const { choices } = await client.chat.completions.create(ask({ n: 3, ...more }));
      return new Set(choices.map(({ message }) => message.content)).size;
    };
    expect(await texts({})).toBe(3);
    expect(await texts({ temperature: 0 })).toBe(1);
  });

  test("streams each choice under its index: a role first, one end, one usage", async () => {
    const request = ask({ n: 6, seed: 100 });
    const whole = await client.chat.completions.create(request);
    const stream = await client.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    const texts = new Array<string>(6).fill("");
    const roles = new Array<string[]>(6).fill([]).map((): string[] => []);
    const ends: number[] = [];
    const usages: unknown[] = [];
    const order: number[] = [];
    for await (const chunk of stream) {
      if (chunk.usage) usages.push([chunk.choices.length, chunk.usage.completion_tokens, chunk.usage.prompt_tokens]);
      for (const { index, delta, finish_reason: reason } of chunk.choices) {
        if (delta.role) roles[index]?.push(`${delta.role}${texts[index]}`);
        texts[index] += delta.content ?? "";
        if (reason !== null) ends.push(index);
        order.push(index);
      }
    }
    expect(texts).toEqual(whole.choices.map(({ message }) => message.content));
    expect(roles).toEqual(new Array(6).fill(["assistant"]));
    expect(ends.toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
    expect(usages).toEqual([[0, 72, whole.usage?.prompt_tokens]]);
    // They run side by side.
    expect(order.lastIndexOf(0)).toBeGreaterThan(order.indexOf(1));
  });

  test("over gRPC, whole and streamed", async () => {
    const grpc = createClient(ChatService, createGrpcTransport({ baseUrl: running.url }));
    const request = {
      model: "hello",
      messages: [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Hi" } } }],
      n: 3,
    };
    const { choices } = await grpc.createChatCompletion(request);
    expect(choices.map(({ message, finishReason }) => [message?.content, finishReason])).toEqual(
      new Array(3).fill(["Hello, world", FinishReason.STOP]),
    );
    const texts = ["", "", ""];
    const ends: number[] = [];
    for await (const chunk of grpc.streamChatCompletion(request)) {
      for (const { index, delta, finishReason } of chunk.choices) {
        texts[index] += delta?.content ?? "";
        if (finishReason !== undefined) ends.push(index);
      }
    }
    expect(texts).toEqual(new Array(3).fill("Hello, world"));
    expect(ends.toSorted()).toEqual([0, 1, 2]);
  });

  test("the prompt counts once, and what another request left of it is cached", async () => {
    const messages = [{ role: "user" as const, content: `${question}again` }];
    const { usage: first } = await client.chat.completions.create(ask({ messages, n: 4 }));
    const { usage: second } = await client.chat.completions.create(ask({ messages, n: 4 }));
    expect(second?.prompt_tokens).toBe(first?.prompt_tokens);
    expect(second?.prompt_tokens_details?.cached_tokens).toBe((first?.prompt_tokens ?? 0) - 1);
  });
});
