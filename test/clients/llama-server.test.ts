/** What clients of llama-server rely on, by its own tests (docs/llama-server-tests.md), where no other test of ours holds it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agentScripts } from "../support/agent-scripts.ts";
import { eventData } from "../support/openapi-validator.ts";
import { helloReply, type RunningLoqui, startWithScripts, usualScripts } from "../support/running-loqui.ts";

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts({
    ...usualScripts,
    agent: agentScripts.agent,
    /** Nearly all tokens are as good as the scripted one. */
    wild: { reply: ["a", "b", "c"], loop: true, logit: 0.5 },
  });
});
afterAll(() => running[Symbol.asyncDispose]());

interface Answer {
  readonly id: string;
  readonly system_fingerprint: string;
  readonly choices: readonly {
    readonly finish_reason: string;
    readonly message: { readonly content: string; readonly tool_calls?: readonly unknown[] };
  }[];
  readonly usage: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details: { readonly cached_tokens: number };
  };
  readonly error?: { readonly param: string | null; readonly type: string; readonly code: string };
}

const question = [{ role: "user", content: "Hi!" }];

async function post(body: object): Promise<Response> {
  return fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "hello", messages: question, ...body }),
  });
}

async function ask(body: object): Promise<Answer> {
  const response = await post(body);
  expect(response.status).toBe(200);
  return (await response.json()) as Answer;
}

async function refusal(body: object): Promise<Answer["error"]> {
  const response = await post(body);
  expect(response.status).toBe(400);
  return ((await response.json()) as Answer).error;
}

describe("an answer", () => {
  it("has an id of its own and the fingerprint of its model", async () => {
    const [first, second, other] = [await ask({}), await ask({}), await ask({ model: "wild", max_tokens: 1 })];
    expect(first.id).toMatch(/^chatcmpl-[0-9a-f]{32}$/);
    expect(second.id).not.toBe(first.id);
    expect(first.system_fingerprint).toMatch(/\S/);
    expect(second.system_fingerprint).toBe(first.system_fingerprint);
    expect(other.system_fingerprint).not.toBe(first.system_fingerprint);
  });

  it("counts the prompt's tokens, also where the content is in parts", async () => {
    const system = { role: "system", content: "Book" };
    const text = "What is\nthe best book";
    const parts = ["What is", "the best book"].map((part) => ({ type: "text", text: part }));
    const whole = await ask({ messages: [system, { role: "user", content: text }] });
    // ChatML: a byte is a token here, and a control token is one.
    const length = `<system\nBook>\n<user\n${text}>\n<assistant\n`.length;
    expect(whole.usage.prompt_tokens).toBe(length);
    const inParts = await ask({ messages: [system, { role: "user", content: parts }] });
    expect(inParts.usage.prompt_tokens).toBe(length);
  });

  it("takes from the cache what the prompt has in common with those before", async () => {
    // In front of it <|im_start|>user\n, behind it <|im_end|>\n<|im_start|>assistant\n.
    const [before, behind] = [6, 13];
    const cached = async (content: string) => {
      const { usage } = await ask({ messages: [{ role: "user", content }], cache_salt: "sequence" });
      expect(usage.prompt_tokens).toBe(before + content.length + behind);
      return usage.prompt_tokens_details.cached_tokens;
    };
    const text = "1 2 3 4 5 6 ".repeat(8);
    expect(await cached(`${text}1 2 3 4 5 6`)).toBe(0);
    expect(await cached(`${text}1 2 3 4 5 6`)).toBe(before + text.length + 11 + behind - 1);
    expect(await cached(`${text}1 2 3 4 5 9`)).toBe(before + text.length + 10);
    expect(await cached(`${text}1 2 3 9 9 9`)).toBe(before + text.length + 6);
  });

  it("has finite times, whatever its length", async () => {
    for (const max_tokens of [0, 1, 8]) {
      const { timings } = (await ask({ max_tokens })) as unknown as { timings: Record<string, number> };
      expect(timings.predicted_n).toBe(max_tokens);
      for (const [name, value] of Object.entries(timings)) expect(value, name).toBeGreaterThanOrEqual(0);
      expect(timings.prompt_ms).toBeGreaterThan(0);
    }
  });

  it("is the same, whole and streamed", async () => {
    const { choices } = await ask({ model: "wild", seed: 5, max_tokens: 30 });
    const text = await (await post({ model: "wild", seed: 5, max_tokens: 30, stream: true })).text();
    const pieces = eventData(text)
      .filter((data) => data !== "[DONE]")
      .map(
        (data) => (JSON.parse(data) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? "",
      );
    expect(pieces.join("")).toBe(choices[0]?.message.content);
  });
});

describe("seeds", () => {
  const text = async (more: object) =>
    (await ask({ model: "wild", max_tokens: 24, temperature: 1, ...more })).choices[0]?.message.content;

  it("the same text with the same seed, alone or beside others", async () => {
    const alone = await text({ seed: 42 });
    expect(await text({ seed: 42, cache_prompt: false })).toBe(alone);
    const beside = await Promise.all([42, 1, 42, 2, 42, 3].map((seed) => text({ seed })));
    expect([beside[0], beside[2], beside[4]]).toEqual([alone, alone, alone]);
  });

  it("another text with another seed, and without one", async () => {
    const texts = [
      ...(await Promise.all([1, 2, 3, 4].map((seed) => text({ seed })))),
      ...(await Promise.all([1, 2, 3, 4].map(() => text({})))),
    ];
    expect(new Set(texts).size).toBe(8);
  });

  it("temperature 0 draws nothing at random", async () => {
    const texts = await Promise.all([1, 2, 3].map((seed) => text({ seed, temperature: 0 })));
    expect(new Set(texts).size).toBe(1);
  });
});

describe("refused by name", () => {
  it.each([
    ["null", null, "messages"],
    ["a text", "text", "messages"],
    ["a number among them", [123], "messages[0]"],
    ["an empty one", [{}], /^messages\[0\]/],
    ["a role that is a number", [{ role: 123 }], "messages[0].role"],
    ["an unknown role", [{ role: "robot", content: "x" }], "messages[0].role"],
    ["no role", [{ content: "x" }], "messages[0].role"],
    ["content that is a number", [{ role: "system", content: 123 }], "messages[0].content"],
    ["no content", [{ role: "user" }], /^messages\[0\]/],
    ["an empty second one", [{ role: "system", content: "test" }, {}], /^messages\[1\]/],
    ["a part of an unknown type", [{ role: "user", content: [{ type: "smell" }] }], /^messages\[0\]\.content\[0\]/],
  ])("messages: %s", async (_, messages, param) => {
    const error = await refusal({ messages });
    expect(error?.param).toMatch(typeof param === "string" ? new RegExp(`^${RegExp.escape(param)}$`) : param);
    expect(error?.type).toBe("invalid_request_error");
  });

  it.each([
    [{ type: "sound" }, /^response_format/],
    [{ type: "json_object", schema: 123 }, /^response_format\.schema/],
    [{ type: "json_object", schema: { type: 123 } }, /^response_format\.schema/],
    [{ type: "json_object", schema: { type: "hiccup" } }, /^response_format\.schema/],
    [{ type: "json_schema" }, /^response_format\.json_schema/],
    [{ type: "json_schema", json_schema: { name: "a", schema: { type: "hiccup" } } }, /^response_format\.json_schema/],
  ])("response_format %j", async (response_format, param) => {
    expect((await refusal({ response_format }))?.param).toMatch(param);
  });

  it.each([
    ["a little", 3, /64 tokens.* resulted in 98 tokens/],
    // What can't fit is not tokenized: its tokens are not known.
    ["far", 100, /64 tokens.* resulted in at least \d\d\d tokens/],
  ])(
    "a prompt that is %s too long is no stream either: both counts, before anything is sent",
    async (_, times, words) => {
      const messages = Array.from({ length: times }, () => ({ role: "user", content: "What is the best book" }));
      for (const stream of [false, true]) {
        expect(await refusal({ model: "small", messages, stream })).toMatchObject({
          code: "context_length_exceeded",
          message: expect.stringMatching(words),
        });
      }
    },
  );
});

describe("response_format holds a model that wants to say something else", () => {
  it.each([
    [{ type: "json_object", schema: { const: "42" } }, /^"42"$/],
    [{ type: "json_object", schema: { type: "array", items: { type: "integer" }, maxItems: 2 } }, /^\[/],
    [{ type: "json_schema", json_schema: { name: "a", schema: { const: "foooooo" } } }, /^"foooooo"$/],
    [{ type: "json_object" }, /^\{/],
    [{ type: "text" }, /^Hello, this is/],
  ])("%j", async (response_format, expected) => {
    const { choices } = await ask({ response_format, max_tokens: 60 });
    expect(choices[0]?.message.content).toMatch(expected);
  });
});

describe("tools", () => {
  it.each([null, []])("tools %j are none", async (tools) => {
    const { choices } = await ask({ tools });
    expect(choices[0]).toMatchObject({ finish_reason: "stop", message: { content: helloReply } });
    expect(choices[0]?.message.tool_calls).toBeUndefined();
  });

  const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];
  it.each([
    ["no tools", {}],
    ["tool_choice none", { tools, tool_choice: "none" }],
  ])("%s: what looks like a call is text, whole and streamed", async (_, more) => {
    const { choices } = await ask({ model: "agent", ...more });
    expect(choices[0]?.finish_reason).toBe("stop");
    expect(choices[0]?.message.content).toContain('<tool_call>\n{"name": "weather"');
    const streamed = await (await post({ model: "agent", stream: true, ...more })).text();
    expect(streamed).not.toContain('"tool_calls"');
    expect(streamed).toContain('"finish_reason":"stop"');
  });
});
