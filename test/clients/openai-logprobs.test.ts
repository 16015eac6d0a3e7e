/** Log-probabilities as OpenAI's SDK for Node gets them: whole, streamed, beside tools and reasoning. */
import type OpenAI from "openai";
import type { ChatCompletionTokenLogprob, ChatCompletionTool } from "openai/resources";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";
import { helloPieces, helloReply } from "../support/running-loqui.ts";

/** Templates in which the parser looks for reasoning and for calls. */
const chatml = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
`;
const thinking = `{# <think> </think> #}${chatml}`;
const calling = `{% if tools %}{{ tools | tojson }} <tool_call>{% endif %}${chatml}`;

const scripts = {
  hello: { reply: helloPieces },
  // The scripted token's logit is 3, all others' 0: others are drawn too.
  unsure: { reply: ["one ", "two ", "three "], loop: true, logit: 3 },
  thinker: {
    reply: ["<think>", "\n", "He ", "says", " hi", "</think>", "\n\nOh", ", ", "hello", "."],
    template: thinking,
  },
  caller: {
    reply: ["I look", ": ", "<tool", "_call>", '{"name": "f"', ', "arguments": ', "{}}", "</tool_call>"],
    template: calling,
  },
};

let server: OpenAiServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startWithOpenAi(scripts);
  ({ client } = server);
});
afterAll(async () => {
  expect(await server.validating.settle()).toBeGreaterThan(20);
  await server[Symbol.asyncDispose]();
});

const tools: ChatCompletionTool[] = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }];
type Ask = Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, "messages"> & Record<string, unknown>;
const ask = (request: Ask) => ({
  messages: [{ role: "user" as const, content: "Hi!" }],
  logprobs: true,
  ...request,
});

async function whole(request: Ask) {
  const { choices } = await client.chat.completions.create(ask(request));
  const [choice] = choices;
  if (choice === undefined) throw new Error("no choice");
  return choice;
}

/** The chunks that have content or log-probabilities. */
async function streamed(request: Ask) {
  const chunks: { content: string; logprobs: ChatCompletionTokenLogprob[] }[] = [];
  for await (const { choices } of await client.chat.completions.create({ ...ask(request), stream: true })) {
    const { delta, logprobs } = choices[0] ?? {};
    if (delta?.content || logprobs) chunks.push({ content: delta?.content ?? "", logprobs: logprobs?.content ?? [] });
  }
  return chunks;
}

const textOf = (logprobs: readonly ChatCompletionTokenLogprob[] | null | undefined) =>
  Buffer.from((logprobs ?? []).flatMap(({ bytes }) => bytes ?? [])).toString();

describe("the tokens of the content", () => {
  it("one entry each, whose bytes are the text's", async () => {
    const { message, logprobs } = await whole({ model: "hello" });
    expect(message.content).toBe(helloReply);
    expect(logprobs?.refusal).toBeNull();
    expect(logprobs?.content?.map(({ bytes }) => Buffer.from(bytes ?? []))).toEqual(
      helloPieces.map((piece) => Buffer.from(piece)),
    );
    expect(logprobs?.content?.map(({ token }) => token).slice(-3)).toEqual(["�", "��", "."]);
    for (const entry of logprobs?.content ?? []) {
      expect(entry.logprob).toBeCloseTo(0, 5);
      expect(entry.top_logprobs).toEqual([]);
    }
  });

  it("streamed, each with the chunk that has its text", async () => {
    const chunks = await streamed({ model: "hello", top_logprobs: 2 });
    const { logprobs } = await whole({ model: "hello", top_logprobs: 2 });
    expect(chunks.flatMap((chunk) => chunk.logprobs)).toEqual(logprobs?.content);
    for (const chunk of chunks) expect(textOf(chunk.logprobs)).toBe(chunk.content);
    expect(chunks.find(({ content }) => content === "👋")?.logprobs).toHaveLength(2);
  });

  it("none where they are not asked for", async () => {
    expect((await whole({ model: "hello", logprobs: false })).logprobs).toBeNull();
    expect((await streamed({ model: "hello", logprobs: null })).flatMap(({ logprobs }) => logprobs)).toEqual([]);
  });

  it.each([
    ["a stop string that cuts nothing", ["this"], "Hello, ", ["Hello", ", "]],
    ["a stop string from token to token", ["a scripted"], "Hello, this is ", ["Hello", ", ", "this ", "is "]],
    ["a stop string within a token: the token has text in the answer", ["llo, t"], "He", ["Hello"]],
    ["text that was held back for a stop string that didn't come", ["lo, that"], helloReply, undefined],
  ])("%s", async (_name, stop, content, tokens) => {
    const { message, logprobs } = await whole({ model: "hello", stop });
    expect(message.content).toBe(content);
    const expected = tokens ?? helloPieces.map((piece) => Buffer.from(piece).toString());
    expect(logprobs?.content?.map(({ token }) => token)).toEqual(expected);
    const chunks = await streamed({ model: "hello", stop });
    expect(chunks.flatMap((chunk) => chunk.logprobs)).toEqual(logprobs?.content);
    expect(chunks.map((chunk) => chunk.content).join("")).toBe(content);
  });

  it("the answer's end is no entry, but may be among the likeliest", async () => {
    const { logprobs } = await whole({ model: "hello", max_tokens: 30, top_logprobs: 1 });
    expect(logprobs?.content).toHaveLength(helloPieces.length);
    expect(logprobs?.content?.every((entry) => entry.token === entry.top_logprobs[0]?.token)).toBe(true);
  });
});

describe("the model's own numbers", () => {
  /** By hand, of one logit of 3 and about 260 of 0; half-precision weights make it 3.00. */
  const total = Math.log(Math.exp(3) + 259);
  it.each([
    ["drawn at a temperature", { temperature: 2, min_p: 0, seed: 5 }],
    ["beside penalties", { temperature: 0, presence_penalty: 2, frequency_penalty: 2, repeat_penalty: 3 }],
    ["beside a bias", { temperature: 1, seed: 6, logit_bias: { 40: 5, 41: 5 } }],
    ["beside a grammar", { temperature: 0, guided_regex: "[a-f]{12}" }],
    ["beside top_k and top_p", { temperature: 2, min_p: 0, seed: 7, top_k: 5, top_p: 0.9 }],
  ])("%s", async (_name, sampling) => {
    const { logprobs } = await whole({ model: "unsure", max_tokens: 12, top_logprobs: 20, ...sampling });
    const { logprobs: plain } = await whole({ model: "unsure", max_tokens: 1, top_logprobs: 20, temperature: 0 });
    const [best] = plain?.content?.[0]?.top_logprobs ?? [];
    const [likely, unlikely] = [best?.logprob ?? 0, plain?.content?.[0]?.top_logprobs[1]?.logprob ?? 0];
    expect(likely).toBeCloseTo(3 - total, 1);
    expect(unlikely).toBeCloseTo(-total, 1);
    const drawn = (logprobs?.content ?? []).map(({ logprob }) => logprob);
    // What no sampling at all would hardly have drawn.
    expect(drawn.some((logprob) => Math.abs(logprob - unlikely) < 1e-4)).toBe(true);
    for (const { logprob, top_logprobs } of logprobs?.content ?? []) {
      expect([likely, unlikely].some((known) => Math.abs(known - logprob) < 1e-4)).toBe(true);
      expect(top_logprobs).toHaveLength(20);
      expect(top_logprobs[0]?.logprob).toBeCloseTo(likely, 4);
      for (const other of top_logprobs.slice(1)) expect(other.logprob).toBeCloseTo(unlikely, 4);
    }
  });

  it("change nothing in what is drawn", async () => {
    const request = { model: "unsure", max_tokens: 30, temperature: 1.5, min_p: 0, seed: 11 };
    const { message } = await whole({ ...request, top_logprobs: 5 });
    expect(message.content).toBe((await whole({ ...request, logprobs: false })).message.content);
  });
});

describe("beside what is no content", () => {
  it("reasoning has none", async () => {
    const { message, logprobs } = await whole({ model: "thinker" });
    expect(message.content).toBe("Oh, hello.");
    expect(message).toMatchObject({ reasoning_content: "He says hi" });
    // The line breaks before the answer are layout, but of one token with its beginning.
    expect(logprobs?.content?.map(({ token }) => token)).toEqual(["\n\nOh", ", ", "hello", "."]);
    const chunks = await streamed({ model: "thinker" });
    expect(chunks.flatMap((chunk) => chunk.logprobs)).toEqual(logprobs?.content);
    expect(chunks.every(({ content }) => content !== "")).toBe(true);
  });

  it("calls have none, what is said before them has", async () => {
    const { message, logprobs, finish_reason } = await whole({ model: "caller", tools });
    expect([message.content, finish_reason]).toEqual(["I look:", "tool_calls"]);
    expect(logprobs?.content?.map(({ token }) => token)).toEqual(["I look", ": "]);
    const chunks = await streamed({ model: "caller", tools });
    expect(chunks.flatMap((chunk) => chunk.logprobs)).toEqual(logprobs?.content);
  });

  it("an answer without content has the member, but no list", async () => {
    const { logprobs } = await whole({ model: "hello", stop: "Hel" });
    expect(logprobs).toEqual({ content: null, refusal: null });
  });
});

it.each([
  [{ top_logprobs: 3, logprobs: false }, "top_logprobs: needs `logprobs` to be true"],
  [{ top_logprobs: 3, logprobs: null }, "top_logprobs: needs `logprobs` to be true"],
  [{ top_logprobs: 21 }, "top_logprobs"],
  [{ top_logprobs: -1 }, "top_logprobs"],
])("%j is refused by name", async (fields, message) => {
  await expect(whole({ model: "hello", ...fields })).rejects.toMatchObject({
    status: 400,
    param: "top_logprobs",
    message: expect.stringContaining(message),
  });
});
