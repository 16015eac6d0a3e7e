/** Our JSON against OpenAI's own schemas, as its specification publishes them. */
import { beforeEach, describe, expect, it } from "vitest";
import { openAiSchemas, withoutSchemas } from "../support/openai-schemas.ts";

const url = process.env.LOQUI_TEST_URL ?? "";
const schemas = openAiSchemas();

function expectValid(name: string, body: unknown): void {
  expect(schemas?.errors(name, body), JSON.stringify(body)).toEqual([]);
}

async function post(path: string, body: unknown): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, text: await response.text() };
}

const messages = [{ role: "user", content: "Hi!" }];

beforeEach(({ skip }) => skip(schemas === undefined, withoutSchemas));

describe("responses hold against OpenAI's schemas", () => {
  it("the check can fail", () => {
    expect(schemas?.errors("CreateChatCompletionResponse", { id: "x", choices: [] })).not.toEqual([]);
  });

  it.each([
    { model: "hello", messages },
    { model: "hello", messages, stop: "is", seed: 1, temperature: 0 },
    { model: "endless", messages, max_tokens: 3 },
    { model: "hello", messages, logprobs: true, top_logprobs: 3 },
  ])("CreateChatCompletionResponse for %j", async (request) => {
    const { status, text } = await post("/v1/chat/completions", request);
    expect(status).toBe(200);
    expectValid("CreateChatCompletionResponse", JSON.parse(text));
  });

  it.each([{}, { stream_options: { include_usage: true } }, { logprobs: true, top_logprobs: 3 }])(
    "CreateChatCompletionStreamResponse for %j",
    async (more) => {
      const { status, text } = await post("/v1/chat/completions", { model: "hello", messages, stream: true, ...more });
      expect(status).toBe(200);
      const events = text.split("\n\n").filter((event) => event.startsWith("data: "));
      expect(events.at(-1)).toBe("data: [DONE]");
      expect(events.length).toBeGreaterThan(8);
      for (const event of events.slice(0, -1))
        expectValid("CreateChatCompletionStreamResponse", JSON.parse(event.slice(6)));
    },
  );

  it.each([{}, { n: 2, echo: true }, { logprobs: 2 }, { logprobs: 0 }])(
    "CreateCompletionResponse for %j",
    async (more) => {
      const { status, text } = await post("/v1/completions", { model: "hello", prompt: "Hi!", ...more });
      expect(status).toBe(200);
      expectValid("CreateCompletionResponse", JSON.parse(text));
    },
  );

  it("ListModelsResponse and Model", async () => {
    expectValid("ListModelsResponse", await (await fetch(`${url}/v1/models`)).json());
    expectValid("Model", await (await fetch(`${url}/v1/models/hello`)).json());
    expectValid("Model", await (await fetch(`${url}/v1/models/loqui%2Ftiny-chat`)).json());
  });

  it.each([
    [404, "/v1/chat/completions", { model: "helo", messages }],
    [400, "/v1/chat/completions", { model: "hello", messages, temperature: 3.5 }],
    [400, "/v1/chat/completions", { model: "hello", messages: [] }],
    [400, "/v1/chat/completions", { model: "small", messages: [{ role: "user", content: "x".repeat(500) }] }],
    [400, "/v1/embeddings", { model: "hello", input: "text" }],
    [501, "/v1/audio/speech", { model: "hello", input: "text", voice: "alloy" }],
    [404, "/v1/nothing", {}],
  ])("ErrorResponse of a %i at %s", async (status, path, body) => {
    const response = await post(path, body);
    expect(response.status).toBe(status);
    expectValid("ErrorResponse", JSON.parse(response.text));
  });
});
