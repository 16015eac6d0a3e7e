import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  ChatRole,
  CreateChatCompletionRequestSchema,
  CreateCompletionRequestSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { createChatPrompts } from "../../src/worker/chat-prompt.ts";
import { createChatMethods } from "../../src/worker/chat-service.ts";
import { createCompletionMethods } from "../../src/worker/completion-service.ts";
import { createGenerator } from "../../src/worker/generator.ts";
import { createScheduler } from "../../src/worker/scheduler.ts";
import { fakeCall } from "./fake-call.ts";
import { FakeEngine } from "./fake-engine.ts";

/** Two choices of so many tokens, each with 20 others, are above 500,000 log-probabilities. */
const tokens = 12_000;

function setup() {
  const engine = new FakeEngine({ contextLength: 2 * tokens, batchSize: 512, next: () => 97 });
  const scheduler = createScheduler(engine, { maxQueuedRequests: 10, maxQueuedTokens: 100_000 });
  const generator = createGenerator({ engine, scheduler, defaults: {} });
  const prompts = createChatPrompts(engine.info, undefined);
  const methods = new Map([
    ...createChatMethods({ generator, prompts, defaults: {}, fingerprint: "" }),
    ...createCompletionMethods({ engine, generator, fingerprint: "" }),
  ]);
  let messages = 0;
  const call = (name: string, request: Uint8Array) => {
    const method = methods.get(`loqui.v1.ChatService/${name}`);
    if (method === undefined) throw new Error("no method");
    return method(
      request,
      fakeCall(() => messages++),
    );
  };
  return { engine, scheduler, call, messages: () => messages };
}

const chat = toBinary(
  CreateChatCompletionRequestSchema,
  create(CreateChatCompletionRequestSchema, {
    model: "m",
    messages: [{ role: ChatRole.USER, content: { content: { case: "text", value: "hi" } } }],
    n: 2,
    maxTokens: tokens,
    logprobs: true,
    topLogprobs: 20,
  }),
);

const completion = (more: object) =>
  toBinary(
    CreateCompletionRequestSchema,
    create(CreateCompletionRequestSchema, {
      model: "m",
      prompt: { case: "promptText", value: "a" },
      n: 2,
      maxTokens: tokens,
      logprobs: 20,
      ...more,
    }),
  );

describe("log-probabilities that are too many to hold", () => {
  test("end a whole answer with an error that says so", async () => {
    const { engine, scheduler, call } = setup();
    const message = "top_logprobs: the answer has more than 500000 log-probabilities; stream it, or ask for fewer";
    const error = { kind: "invalid_request", code: "limit_exceeded", param: "top_logprobs", message };
    await expect(call("CreateChatCompletion", chat)).rejects.toMatchObject(error);
    await expect(call("CreateCompletion", completion({}))).rejects.toMatchObject({ param: "logprobs" });
    await new Promise((done) => setTimeout(done, 10));
    expect(scheduler.load).toEqual({ active: 0, queued: 0, queuedTokens: 0 });
    expect(engine.samplers).toBe(0);
  });

  test("come in a stream", async () => {
    const { call, messages } = setup();
    const { totals } = await call("StreamChatCompletion", chat);
    expect(totals?.completionTokens).toBe(2 * tokens);
    expect(messages()).toBeGreaterThanOrEqual(2 * tokens);
  });

  test("refuse an echoed prompt before it is evaluated", async () => {
    const { engine, call } = setup();
    const prompt = { case: "promptText", value: "a".repeat(tokens) };
    const request = completion({ prompt, echo: true, maxTokens: 0 });
    for (const name of ["CreateCompletion", "StreamCompletion"]) {
      await expect(call(name, request)).rejects.toMatchObject({ code: "limit_exceeded", param: "logprobs" });
    }
    expect(engine.batches).toEqual([]);
  });
});
