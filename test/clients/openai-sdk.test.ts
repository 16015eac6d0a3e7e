/** OpenAI's SDK for Node, unchanged, against the whole server; what it gets is held against /openapi.json. */
import type OpenAI from "openai";
import { APIError, BadRequestError, NotFoundError } from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";
import { helloReply, usualScripts } from "../support/running-loqui.ts";

let server: OpenAiServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startWithOpenAi(usualScripts);
  ({ client } = server);
});
afterAll(async () => {
  expect(await server.validating.settle()).toBeGreaterThan(35);
  await server[Symbol.asyncDispose]();
});

const messages = [{ role: "user" as const, content: "Hi!" }];

describe("chat completions", () => {
  it("answers", async () => {
    const answer = await client.chat.completions.create({ model: "hello", messages });
    expect(answer).toMatchObject({ object: "chat.completion", model: "hello" });
    expect(answer.choices).toEqual([
      expect.objectContaining({
        index: 0,
        finish_reason: "stop",
        logprobs: null,
        message: { role: "assistant", content: helloReply, refusal: null },
      }),
    ]);
    expect(answer.usage?.total_tokens).toBe(
      (answer.usage?.prompt_tokens ?? 0) + (answer.usage?.completion_tokens ?? 0),
    );
  });

  it("streams with one id, the role first and no usage unless asked for", async () => {
    const chunks = await Array.fromAsync(
      await client.chat.completions.create({ model: "hello", messages, stream: true }),
    );
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
    expect(new Set(chunks.map((chunk) => chunk.created)).size).toBe(1);
    expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(helloReply);
    expect(chunks.at(-1)?.choices[0]).toMatchObject({ delta: {}, finish_reason: "stop" });
    expect(chunks.filter((chunk) => "usage" in chunk)).toEqual([]);
  });

  it("adds the usage chunk when asked for", async () => {
    const chunks = await Array.fromAsync(
      await client.chat.completions.create({
        model: "hello",
        messages,
        stream: true,
        stream_options: { include_usage: true },
      }),
    );
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: expect.any(Number) } });
  });

  it("works with the streaming helper", async () => {
    const stream = client.chat.completions.stream({ model: "hello", messages });
    expect(await stream.finalContent()).toBe(helloReply);
  });

  it("ends at a stop string that spans tokens, and leaves it out", async () => {
    const answer = await client.chat.completions.create({ model: "hello", messages, stop: ["s a scr", "zzz"] });
    expect(answer.choices[0]?.message.content).toBe("Hello, this i");
    expect(answer.choices[0]?.finish_reason).toBe("stop");
  });

  it("ends at max_tokens", async () => {
    const answer = await client.chat.completions.create({ model: "endless", messages, max_completion_tokens: 4 });
    expect(answer.choices[0]?.finish_reason).toBe("length");
    expect(answer.usage?.completion_tokens).toBe(4);
  });

  it("reports cached tokens for a repeated prompt", async () => {
    const request = {
      model: "hello",
      messages: [{ role: "user" as const, content: "the same words again ".repeat(9) }],
    };
    await client.chat.completions.create(request);
    const { usage } = await client.chat.completions.create(request);
    expect(usage?.prompt_tokens_details?.cached_tokens).toBe((usage?.prompt_tokens ?? 0) - 1);
  });

  it("frees its place when the client leaves a stream", async () => {
    for (let i = 0; i < 12; i++) {
      const stream = await client.chat.completions.create({ model: "endless", messages, stream: true });
      for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    }
    const answer = await client.chat.completions.create({ model: "endless", messages, max_tokens: 2 });
    expect(answer.usage?.completion_tokens).toBe(2);
  });

  it("answers many at once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 24 }, () => client.chat.completions.create({ model: "hello", messages })),
    );
    expect(answers.map((answer) => answer.choices[0]?.message.content)).toEqual(Array(24).fill(helloReply));
  });
});

describe("errors", () => {
  it("an unknown model is NotFoundError with the nearest names", async () => {
    const error = await client.chat.completions.create({ model: "helo", messages }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error).toMatchObject({ code: "model_not_found", type: "invalid_request_error", param: "model" });
    expect((error as APIError).message).toContain("did you mean hello?");
  });

  it("a prompt that does not fit is context_length_exceeded with both counts", async () => {
    const error = await client.chat.completions
      .create({ model: "small", messages: [{ role: "user", content: "x".repeat(500) }] })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ code: "context_length_exceeded" });
    expect((error as APIError).message).toMatch(/64.*5\d\d/);
  });

  it("a value out of bounds names its parameter", async () => {
    const error = await client.chat.completions
      .create({ model: "hello", messages, temperature: 3.5 })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ param: "temperature" });
  });

  it("what no engine answers yet is 501 in the proper shape", async () => {
    const error = await client.audio.speech
      .create({ model: "hello", input: "x", voice: "alloy" })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ status: 501, type: "server_error", code: "unimplemented" });
  });
});

describe("models", () => {
  it("lists and retrieves", async () => {
    const models = await Array.fromAsync(client.models.list());
    expect(models.map((model) => model.id)).toEqual(["hello", "endless", "small"]);
    expect(await client.models.retrieve("hello")).toMatchObject({
      id: "hello",
      object: "model",
      owned_by: "local",
      state: "ready",
      engine: "llama.cpp",
      context_length: expect.any(Number),
    });
  });
});
