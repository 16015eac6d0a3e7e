import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

const reply = "one two three four five six seven eight".split(" ");
let running: RunningLoqui;

beforeAll(async () => {
  running = await startWithScripts(
    { talker: { reply } },
    {
      LOQUI_MAX_CHOICES: "2",
      LOQUI_MAX_OUTPUT_TOKENS: "3",
      LOQUI_MAX_STOP_STRINGS: "1",
      LOQUI_MAX_LOGIT_BIAS: "1",
    },
  );
});
afterAll(() => running[Symbol.asyncDispose]());

function ask(members: object): Promise<Response> {
  return fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "talker", messages: [{ role: "user", content: "go" }], ...members }),
  });
}

describe("the limits of a request", () => {
  test.each([
    [{ n: 3 }, "n", "n: 3 is above this server's maximum 2"],
    [{ max_tokens: 4 }, "max_tokens", "max_tokens: 4 is above this server's maximum 3"],
    [{ max_completion_tokens: 9, stream: true }, "max_completion_tokens", /: 9 is above/],
    [{ stop: ["a", "b"] }, "stop", "stop: 2 stop strings is above this server's maximum 1"],
    [{ logit_bias: { 1: 1, 2: 1 } }, "logit_bias", /2 entries is above this server's maximum 1/],
  ])("REST: %o is refused by name", async (members, param, message) => {
    const response = await ask(members);
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: Record<string, string> };
    expect(error).toMatchObject({ type: "invalid_request_error", param, code: "limit_exceeded" });
    expect(error.message).toMatch(message);
  });

  test.each([
    [{ stream_options: { include_usage: true } }, "stream_options", "stream_options is for streams only"],
    [{ stop_token_ids: [1, 4_000_000] }, "stop_token_ids[1]", /: 4000000 is not in the vocabulary of \d+ tokens$/],
  ])("REST: %o makes no sense and is refused", async (members, param, message) => {
    const response = await ask(members);
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: Record<string, string> };
    expect(error).toMatchObject({ type: "invalid_request_error", param });
    expect(error.message).toMatch(message);
  });

  test("gRPC: the same", async () => {
    const client = createClient(ChatService, createGrpcTransport({ baseUrl: running.url }));
    const messages = [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "go" } } }];
    await expect(client.createChatCompletion({ model: "talker", messages, maxTokens: 4 })).rejects.toThrow(
      "[invalid_argument] max_tokens: 4 is above this server's maximum 3",
    );
  });

  test("at the limits it is answered", async () => {
    const response = await ask({ max_tokens: 3, stop: ["nine"], logit_bias: { 1: 1 } });
    expect(response.status).toBe(200);
  });

  test("an answer without a maximum of its own has the server's", async () => {
    const answer = (await (await ask({})).json()) as {
      choices: { finish_reason: string }[];
      usage: { completion_tokens: number };
    };
    expect(answer.usage.completion_tokens).toBe(3);
    expect(answer.choices[0]?.finish_reason).toBe("length");
  });
});
