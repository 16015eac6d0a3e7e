import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { createChatPrompts } from "../../src/worker/chat-prompt.ts";
import { createTokenizationMethods } from "../../src/worker/tokenization.ts";
import { type RunningLoqui, startWithScripts, usualScripts } from "../support/running-loqui.ts";
import { transports } from "../support/transports.ts";
import { fakeCall, lastOf } from "./fake-call.ts";
import { FakeEngine } from "./fake-engine.ts";

const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];
/** Shows tools, and knows how to think. */
const template = `{% for tool in tools or [] %}{{ tool | tojson }}
{% endfor %}{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}`;

const longToken = `<|${"x".repeat(96)}|>`;

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts(
    {
      ...usualScripts,
      spaced: { reply: ["Hi"], tokenizer: "sentencepiece", addBos: true },
      tools: { reply: ["Hi"], template },
      long: { reply: ["Hi"], controls: [longToken] },
    },
    {},
    { endless: { sequences: 1 } },
  );
});
afterAll(() => running[Symbol.asyncDispose]());

interface Answer {
  readonly tokens: readonly number[];
  readonly count: number;
  readonly content: string;
  readonly prompt: string;
  readonly error: object;
  readonly usage: { readonly prompt_tokens: number };
}

async function post(path: string, body: object) {
  const response = await fetch(`${running.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Answer };
}

describe("Tokenize", () => {
  test("llama-server's shape: ids, or with_pieces ids and texts, bytes where they are not UTF-8", async () => {
    expect((await post("/tokenize", { model: "hello", content: "Hé" })).body).toEqual({
      tokens: [72, 195, 169],
      count: 3,
      max_model_len: 4096,
    });
    expect((await post("/tokenize", { model: "hello", content: "Hé", with_pieces: true })).body).toMatchObject({
      tokens: [
        { id: 72, piece: "H" },
        { id: 195, piece: [195] },
        { id: 169, piece: [169] },
      ],
    });
  });

  test("vLLM's shape: prompt, return_token_strs", async () => {
    const request = { model: "hello", prompt: "Hé", add_special_tokens: false, return_token_strs: true };
    for (const path of ["/tokenize", "/v1/tokenize"]) {
      expect((await post(path, request)).body).toEqual({
        tokens: [72, 195, 169],
        count: 3,
        max_model_len: 4096,
        token_strs: ["H", "\ufffd", "\ufffd"],
      });
    }
  });

  test("special tokens are parsed unless parse_special is false", async () => {
    const content = "<|im_end|>";
    const whole = await post("/tokenize", { model: "hello", content, with_pieces: true });
    expect(whole.body).toMatchObject({ count: 1, tokens: [{ piece: content }] });
    expect((await post("/tokenize", { model: "hello", content, parse_special: false })).body).toMatchObject({
      count: content.length,
    });
  });

  test("add_special adds what the model wants: nothing, or the beginning of the text", async () => {
    const tokensOf = async (request: object) => (await post("/tokenize", request)).body.tokens;
    const plain = { model: "hello", content: "Hi" };
    expect(await tokensOf({ ...plain, add_special: true })).toEqual(await tokensOf(plain));
    const spaced = { model: "spaced", content: "Hi" };
    expect(await tokensOf({ ...spaced, add_special: true })).toEqual([1, ...(await tokensOf(spaced))]);
  });

  test("an empty text has no tokens", async () => {
    expect((await post("/tokenize", { model: "hello", content: "" })).body).toMatchObject({ tokens: [], count: 0 });
  });

  test("a conversation: the tokens of the prompt that the template makes of it", async () => {
    const messages = [{ role: "user", content: "Hi" }];
    for (const more of [{}, { add_generation_prompt: false }, { tools }]) {
      const { body } = await post("/apply-template", { model: "tools", messages, ...more });
      const text = await post("/tokenize", { model: "tools", content: body.prompt });
      expect(await post("/tokenize", { model: "tools", messages, ...more })).toEqual(text);
    }
    const silent = { chat_template_kwargs: { enable_thinking: false } };
    const { body } = await post("/apply-template", { model: "tools", messages, ...silent });
    expect(body.prompt).toMatch(/<think><\/think>$/);
    expect((await post("/tokenize", { model: "tools", messages, ...silent })).body.count).toBe(
      (await post("/tokenize", { model: "tools", content: body.prompt })).body.count,
    );
  });

  test.each([
    [{ content: "a", tools }, "tools"],
    [{ content: "a", chat_template_kwargs: {} }, "chat_template_kwargs"],
    [{ content: "a", add_generation_prompt: true }, "add_generation_prompt"],
    [{ content: "a", continue_final_message: false }, "continue_final_message"],
    [{ content: "a", messages: [{ role: "user", content: "a" }] }, null],
    [{ content: "a".repeat(262_145) }, "content"],
    [{ content: "a".repeat(65_537), with_pieces: true }, "with_pieces"],
    [{ content: "a".repeat(65_537), return_token_strs: true }, "return_token_strs"],
    [
      { messages: [{ role: "user", content: "a" }], tools: [{ type: "custom", custom: { name: "c" } }] },
      "tools[0].custom",
    ],
    [
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "http://127.0.0.1/a" } }] }] },
      "messages[0].content[0].image_url",
    ],
    [{ messages: [{ role: "user", content: "a".repeat(8_000_000) }] }, "messages"],
  ])("what can't be done is refused by name: %#", async (request, param) => {
    const { status, body } = await post("/tokenize", { model: "hello", ...request });
    expect({ status, body }).toMatchObject({ status: 400, body: { error: { param } } });
  });

  test("the longest text that is allowed has every token", async () => {
    const { body } = await post("/tokenize", { model: "hello", content: "a".repeat(262_144) });
    expect(body).toMatchObject({ count: 262_144, max_model_len: 4096 });
  });
});

describe("Detokenize", () => {
  test.each(["hello", "spaced"])("is the inverse of Tokenize (%s)", async (model) => {
    const texts = [
      "Hi",
      " Hi",
      "",
      "  two  spaces ",
      "Zoë 👋🏽 漢字\n\t",
      "<|im_start|>user\nHi <|im_end|> Hi<|im_end|>Hi",
    ];
    for (const content of texts) {
      for (const parse_special of [true, false]) {
        const { tokens } = (await post("/tokenize", { model, content, parse_special })).body;
        expect((await post("/detokenize", { model, tokens })).body).toEqual({ content, prompt: content });
      }
    }
  });

  test("bytes that are not UTF-8 become replacement characters", async () => {
    const { body } = await post("/v1/detokenize", { model: "hello", tokens: [72, 195] });
    expect(body).toMatchObject({ content: "H\ufffd" });
  });

  test("an id that the model doesn't have is refused by its place", async () => {
    const { status, body } = await post("/detokenize", { model: "hello", tokens: [72, 99_999] });
    expect(status).toBe(400);
    expect(body.error).toMatchObject({
      param: "tokens[1]",
      message: expect.stringMatching(/^tokens\[1\]: 99999 is not in the vocabulary of \d+ tokens$/),
    });
  });

  test("more text than 16 MiB is refused before it is made", async () => {
    const [long] = (await post("/tokenize", { model: "long", content: longToken, parse_special: true })).body.tokens;
    const fits = await post("/detokenize", { model: "long", tokens: new Array(10_000).fill(long) });
    expect([fits.status, fits.body.content.length]).toEqual([200, 1_000_000]);
    const { status, body } = await post("/detokenize", { model: "long", tokens: new Array(200_000).fill(long) });
    expect([status, body.error]).toMatchObject([
      400,
      { param: "tokens", message: "tokens: their text of 20000000 bytes is above the maximum 16777216" },
    ]);
  });
});

describe("CountTokens and ApplyTemplate", () => {
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "Zoë?" }] },
    { role: "assistant", content: "Yes." },
    { role: "user", content: "漢字" },
  ];

  test.each([
    [{ model: "hello" }],
    [{ model: "spaced" }],
    [{ model: "tools", tools }],
    [{ model: "tools", tools, tool_choice: "none" }],
    [{ model: "tools", reasoning_effort: "none" }],
    [{ model: "tools", add_generation_prompt: false }],
    [{ model: "tools", chat_template_kwargs: { enable_thinking: false } }],
  ])("count what chat's usage says: %j", async (request) => {
    const { body } = await post("/v1/chat/completions", { messages, max_tokens: 1, ...request });
    expect((await post("/v1/chat/completions/input_tokens", { messages, ...request })).body).toEqual({
      object: "response.input_tokens",
      input_tokens: body.usage.prompt_tokens,
    });
    const { prompt } = (await post("/apply-template", { messages, ...request })).body;
    expect((await post("/tokenize", { model: request.model, content: prompt })).body.count).toBe(
      body.usage.prompt_tokens,
    );
  });

  test("a prompt above the context is counted as long as it may be below it", async () => {
    const long = [{ role: "user", content: "a".repeat(100) }];
    expect((await post("/v1/chat/completions", { model: "small", messages: long })).status).toBe(400);
    expect((await post("/v1/chat/completions/input_tokens", { model: "small", messages: long })).body).toMatchObject({
      input_tokens: 100 + 19,
    });
  });
});

describe("calls take turns", () => {
  const { input, output } = ChatService.method.tokenize;
  const asked: string[] = [];
  const engine = new FakeEngine();
  const tokenize = (text: string) => {
    asked.push(text);
    return Uint32Array.from(Buffer.from(text));
  };
  const tokenizing = (maxWaiting: number) => {
    const methods = createTokenizationMethods({
      engine: Object.assign(engine, { tokenize }),
      prompts: createChatPrompts(engine.info, undefined),
      maxWaiting,
    });
    return (content: string, signal?: AbortSignal) => {
      const method = methods.get("loqui.v1.ChatService/Tokenize");
      if (method === undefined) throw new Error("no method");
      const request = toBinary(input, create(input, { model: "m", content }));
      return method(
        request,
        fakeCall(() => {}, signal),
      );
    };
  };
  const call = tokenizing(1);

  test("one after another, with a turn of the event loop before each; too many are refused", async () => {
    const first = call("a");
    const second = call("b");
    await expect(call("c")).rejects.toMatchObject({ kind: "overloaded" });
    expect(asked).toEqual([]);
    await new Promise(setImmediate);
    expect(asked).toEqual(["a"]);
    const [bytes] = lastOf(await first);
    expect(fromBinary(output, bytes ?? new Uint8Array())).toMatchObject({ count: 1 });
    await second;
    expect(asked).toEqual(["a", "b"]);
    await call("d");
    expect(asked).toEqual(["a", "b", "d"]);
  });

  test("where none may wait one runs", async () => {
    asked.length = 0;
    const strict = tokenizing(0);
    const first = strict("a");
    await expect(strict("b")).rejects.toMatchObject({ kind: "overloaded" });
    await first;
    await strict("c");
    expect(asked).toEqual(["a", "c"]);
  });

  test("one whose client is gone is left out, and the next has its turn", async () => {
    asked.length = 0;
    const controller = new AbortController();
    const gone = call("gone", controller.signal);
    controller.abort(new Error("the client left"));
    const next = call("next");
    await expect(gone).rejects.toThrow("the client left");
    await next;
    expect(asked).toEqual(["next"]);
  });
});

test("on all protocols", async () => {
  const content = { content: { case: "text" as const, value: "Hi" } };
  const request = { model: "hello", messages: [{ role: ChatRole.USER, content }] };
  for (const [, transportTo] of transports) {
    const client = createClient(ChatService, transportTo(running.url));
    const tokenized = await client.tokenize({ model: "hello", content: "Hi" });
    expect(tokenized.tokens).toMatchObject({ case: "ids", value: { ids: [72, 105] } });
    const pieces = await client.tokenize({ model: "hello", content: "é", withPieces: true });
    expect(pieces.tokens.value).toMatchObject({ pieces: [{ piece: { value: { values: [195] } } }, {}] });
    expect((await client.detokenize({ model: "hello", tokens: [72, 105] })).content).toBe("Hi");
    expect((await client.countTokens(request)).inputTokens).toBe(21);
    expect((await client.applyTemplate(request)).prompt).toBe(
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    );
    await expect(client.detokenize({ model: "hello", tokens: [99_999] })).rejects.toThrow(/tokens\[0\]/);
  }
});

test("they take no sequence and wait for none, and are no tokens of the model's usage", async () => {
  const controller = new AbortController();
  const stream = await fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "endless", messages: [{ role: "user", content: "Hi" }], stream: true }),
    signal: controller.signal,
  });
  const reader = stream.body?.getReader();
  await reader?.read();
  expect((await post("/tokenize", { model: "endless", content: "Hi" })).body).toMatchObject({ count: 2 });
  await reader?.read();
  controller.abort();
  const metrics = await (await fetch(`${running.url}/v1/models/long:metrics`)).json();
  expect(metrics).toMatchObject({ prompt_tokens_total: 0 });
  expect(metrics).not.toHaveProperty("time_to_first_token");
});
