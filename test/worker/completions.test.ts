import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type OpenAI from "openai";
import type { APIError } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatService, FinishReason } from "../../gen/loqui/v1/chat_pb.ts";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";

/** Every byte of a prompt is a token. */
const scripts = {
  hello: { reply: ["Hello", ", ", "world", "!"] },
  begun: { reply: ["Hello"], addBos: true },
  filler: { reply: ["between"], controls: ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"] },
  endless: { reply: ["on ", "and ", "off "], loop: true, contextLength: 8192 },
  wild: { reply: ["one ", "two ", "three "], loop: true, logit: 1, contextLength: 1024 },
};

let server: OpenAiServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startWithOpenAi(scripts, { LOQUI_MAX_CHOICES: "12" });
  ({ client } = server);
});
afterAll(async () => {
  expect(await server.validating.settle()).toBeGreaterThan(30);
  await server[Symbol.asyncDispose]();
});

type Asked = Partial<OpenAI.CompletionCreateParamsNonStreaming> & Record<string, unknown>;
const complete = (asked: Asked) => client.completions.create({ model: "hello", prompt: "abc", ...asked });
const stream = async (asked: Asked) =>
  Array.fromAsync(await client.completions.create({ model: "hello", prompt: "abc", ...asked, stream: true }));
const textsOf = async (asked: Asked) => (await complete(asked)).choices.map(({ text }) => text);
const refusalOf = async (asked: Asked, streamed = false): Promise<APIError> => {
  const refused = streamed ? stream(asked) : complete(asked);
  return refused.then(
    () => expect.unreachable(),
    (error: APIError) => error,
  );
};

describe("one prompt", () => {
  test("a text", async () => {
    const answer = await complete({});
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: "text_completion",
      model: "hello",
      choices: [{ index: 0, text: "Hello, world!", logprobs: null, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 },
    });
  });

  test("token ids, taken as they are", async () => {
    const { choices, usage } = await complete({ prompt: [64, 65, 66, 67] });
    expect(choices[0]?.text).toBe("Hello, world!");
    expect(usage?.prompt_tokens).toBe(4);
    expect((await complete({ model: "begun", prompt: [64, 65] })).usage?.prompt_tokens).toBe(2);
  });

  test.each([
    ["abc", 4],
    ["", 1],
    ["<|endoftext|>abc", 4],
    ["<|im_end|>abc", 5],
  ])("a model that wants its texts begun: %j", async (prompt, tokens) => {
    expect((await complete({ model: "begun", prompt })).usage?.prompt_tokens).toBe(tokens);
  });

  test("16 tokens where nothing is said", async () => {
    const { choices, usage } = await complete({ model: "endless" });
    expect(choices[0]?.finish_reason).toBe("length");
    expect(usage?.completion_tokens).toBe(16);
  });

  test("max_tokens, stop, logit_bias", async () => {
    expect(await textsOf({ max_tokens: 2 })).toEqual(["Hello, "]);
    expect(await textsOf({ stop: ["wor"] })).toEqual(["Hello, "]);
    expect(await textsOf({ stop: "!" })).toEqual(["Hello, world"]);
    const [first] = await textsOf({ max_tokens: 1, temperature: 0, logit_bias: { "97": 100 } });
    expect(first).toBe("a");
  });

  test("a form of the answer", async () => {
    expect(await textsOf({ guided_choice: ["yes"] })).toEqual(["yes"]);
    expect(await textsOf({ response_format: { type: "json_object" }, json_schema: undefined, stop: ["}"] })).toEqual([
      expect.stringMatching(/^\{/),
    ]);
  });
});

describe("several prompts", () => {
  test("texts, and each prompt's choices in order", async () => {
    const { choices, usage } = await complete({ prompt: ["ab", "c", "def"], n: 2, echo: true });
    expect(choices.map(({ index, text }) => [index, text])).toEqual(
      ["ab", "ab", "c", "c", "def", "def"].map((prompt, index) => [index, `${prompt}Hello, world!`]),
    );
    expect(usage).toMatchObject({ prompt_tokens: 6, completion_tokens: 30, total_tokens: 36 });
  });

  test("lists of token ids, with the text that they stand for", async () => {
    const prompt = [[97, 98], [99]];
    expect(await textsOf({ prompt, echo: true, max_tokens: 1 })).toEqual(["abHello", "cHello"]);
  });

  test("are what each is alone, with the seed plus the choice's number", async () => {
    const asked = { model: "wild", max_tokens: 10, ignore_eos: true };
    const together = await textsOf({ ...asked, prompt: ["one", "another"], n: 3, seed: 7 });
    const alone: string[] = [];
    for (const prompt of ["one", "another"]) {
      for (const seed of [7, 8, 9]) alone.push(...(await textsOf({ ...asked, prompt, seed })));
    }
    expect(together).toEqual(alone);
    expect(new Set(alone).size).toBeGreaterThan(2);
  });
});

describe("streams", () => {
  test("the pieces of a text, why it ended, no usage", async () => {
    const chunks = await stream({ temperature: 0 });
    expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size).toBe(1);
    expect(chunks.map(({ choices }) => choices[0]?.text)).toEqual(["Hello", ", ", "world", "!", ""]);
    expect(chunks.map(({ choices }) => choices[0]?.finish_reason)).toEqual([null, null, null, null, "stop"]);
    expect(chunks.filter((chunk) => "usage" in chunk)).toEqual([]);
  });

  test("the usage where it is asked for, behind all choices", async () => {
    const chunks = await stream({ n: 2, stream_options: { include_usage: true } });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 10 } });
    expect(chunks.slice(0, -1).filter((chunk) => "usage" in chunk)).toEqual([]);
  });

  test("every prompt's choices under their indexes, the prompt first where it is echoed", async () => {
    const asked = { prompt: ["ab", "c"], n: 2, echo: true };
    const texts = ["", "", "", ""];
    const ends: number[] = [];
    for (const { choices } of await stream(asked)) {
      for (const { index, text, finish_reason: reason } of choices) {
        texts[index] += text;
        if (reason !== null) ends.push(index);
      }
    }
    expect(texts).toEqual(await textsOf(asked));
    expect(ends.toSorted()).toEqual([0, 1, 2, 3]);
  });

  test("end where a stop string begins, however it is cut", async () => {
    const chunks = await stream({ stop: ["o, wor", "never"] });
    expect(chunks.map(({ choices }) => choices[0]?.text).join("")).toBe("Hell");
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("stop");
  });

  test("end with [DONE]", async () => {
    const response = await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "hello", prompt: "abc", stream: true }),
    });
    expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
    expect(await response.text()).toMatch(/^data: \{"id":"cmpl-.*\n\ndata: \[DONE\]\n\n$/s);
  });
});

describe("echo", () => {
  test("begins with the prompt as it is, whatever the tokens", async () => {
    expect(await textsOf({ model: "begun", prompt: "<|im_end|>é", echo: true })).toEqual(["<|im_end|>éHello"]);
  });

  test("with no tokens at all: the prompt", async () => {
    const { choices, usage } = await complete({ echo: true, max_tokens: 0 });
    expect(choices[0]).toMatchObject({ text: "abc", finish_reason: "length" });
    expect(usage?.completion_tokens).toBe(0);
    expect((await stream({ echo: true, max_tokens: 0 })).map(({ choices: [choice] }) => choice?.text)).toEqual([
      "abc",
      "",
    ]);
  });
});

describe("a suffix", () => {
  test("is filled up to", async () => {
    const { choices, usage } = await complete({ model: "filler", prompt: "ab", suffix: "cd<|im_end|>" });
    expect(choices[0]?.text).toBe("between");
    // Three tokens of the model's own; names of special tokens are text, of a token a byte.
    expect(usage?.prompt_tokens).toBe(3 + 2 + 2 + 10);
  });

  test("is refused by a model that wasn't trained for it", async () => {
    expect(await refusalOf({ suffix: "cd" })).toMatchObject({ status: 400, param: "suffix", code: "unsupported" });
  });
});

describe("best_of", () => {
  const asked = { model: "wild", max_tokens: 8, ignore_eos: true, seed: 3, temperature: 1.5 };

  test("answers the likeliest, the likeliest first, and counts all", async () => {
    const all = await textsOf({ ...asked, n: 6 });
    const { choices, usage } = await complete({ ...asked, n: 2, best_of: 6 });
    expect(choices.map(({ index }) => index)).toEqual([0, 1]);
    expect(usage?.completion_tokens).toBe(6 * 8);
    // The script's tokens are the likely ones: the more of them, the likelier the text.
    const scripted = (text: string) => text.match(/one (?=two )|two (?=three )|three (?=one )/g)?.length ?? 0;
    const counts = all.map(scripted).toSorted((a, b) => b - a);
    expect(all).toEqual(expect.arrayContaining(choices.map(({ text }) => text)));
    expect(choices.map(({ text }) => scripted(text))).toEqual(counts.slice(0, 2));
  });

  test("of several prompts", async () => {
    const { choices } = await complete({ ...asked, prompt: ["a", "b"], n: 1, best_of: 3, echo: true });
    expect(choices.map(({ index, text }) => [index, text[0]])).toEqual([
      [0, "a"],
      [1, "b"],
    ]);
  });

  test("equal to n is what n is", async () => {
    expect(await textsOf({ ...asked, n: 3, best_of: 3 })).toEqual(await textsOf({ ...asked, n: 3 }));
  });
});

describe("refusals", () => {
  test.each<[asked: Asked, param: string, message: string]>([
    [{ n: 3, best_of: 2 }, "best_of", "best_of: 2 is below n, which is 3"],
    [{ prompt: "" }, "prompt", "prompt has no tokens"],
    [{ prompt: ["a", ""] }, "prompt[1]", "prompt[1] has no tokens"],
    [{ prompt: [64, 100_000] }, "prompt[1]", "prompt[1]: 100000 is not in the vocabulary of "],
    [{ prompt: [[64], [65, 66, 4_000_000_000]] }, "prompt[1][2]", "prompt[1][2]: 4000000000 is not in"],
    [
      { prompt: ["a", "b", "c", "d", "e"], n: 3 },
      "prompt",
      "prompt: 15 answers to 5 prompts is above this server's maximum 12",
    ],
    [{ n: 13 }, "n", "n: 13 is above this server's maximum 12"],
    [{ stream_options: { include_usage: true } }, "stream_options", "stream_options is for streams only"],
    [{ typical_p: 0.5 }, "typical_p", "`typical_p` is not supported yet by this model"],
    [
      { prompt: ["a", "b".repeat(5_000)] },
      "prompt[1]",
      "This model's maximum context length is 4096 tokens. However, your prompt[1] resulted in 5000 tokens.",
    ],
    [{ prompt: new Array(5_000).fill(64) }, "prompt", "your prompt resulted in 5000 tokens."],
  ])("%j", async (asked, param, message) => {
    const error = await refusalOf(asked);
    expect(error).toMatchObject({ status: 400, param });
    expect(error.message).toContain(message);
  });

  test.each([undefined, null, [], [[]], ["a", 64], [64, "a"], [[64], "a"], 7, { text: "a" }, [1.5], [-1]])(
    "a prompt that is none: %j",
    async (prompt) => {
      const error = await refusalOf({ prompt: prompt as never });
      expect(error.status).toBe(400);
      expect(error.message).toContain("prompt");
    },
  );

  test("best_of and a stream", async () => {
    const error = await refusalOf({ best_of: 2 }, true);
    expect(error).toMatchObject({ status: 400, param: "best_of" });
    expect(await stream({ n: 1, best_of: 1 })).not.toEqual([]);
  });
});

test("over gRPC, whole and streamed", async () => {
  const grpc = createClient(ChatService, createGrpcTransport({ baseUrl: server.url }));
  const request = {
    model: "hello",
    prompt: { case: "promptTexts" as const, value: { texts: ["a", "b"] } },
    n: 2,
  };
  const { choices, usage } = await grpc.createCompletion(request);
  expect(choices.map(({ index, text, finishReason }) => [index, text, finishReason])).toEqual(
    [0, 1, 2, 3].map((index) => [index, "Hello, world!", FinishReason.STOP]),
  );
  expect(usage?.promptTokens).toBe(2);
  const texts = ["", "", "", ""];
  for await (const chunk of grpc.streamCompletion(request)) {
    for (const { index, text } of chunk.choices) texts[index] += text;
  }
  expect(texts).toEqual(new Array(4).fill("Hello, world!"));
});

test("who leaves in mid-stream frees all sequences", async () => {
  const controller = new AbortController();
  const endless = await client.completions.create(
    { model: "endless", prompt: ["a", "b"], n: 4, max_tokens: 8_000, stream: true },
    { signal: controller.signal },
  );
  let seen = 0;
  for await (const _ of endless) {
    seen += 1;
    if (seen === 20) break;
  }
  controller.abort();
  const { choices } = await complete({ model: "endless", prompt: ["a", "b", "c", "d"], max_tokens: 2 });
  expect(choices.map(({ text }) => text)).toEqual(new Array(4).fill("on and "));
});
