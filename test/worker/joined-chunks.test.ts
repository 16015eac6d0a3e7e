/** What waits for a stream's interval leaves as one chunk, where no token has something of its own to tell. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

const thinking =
  "{% for message in messages %}{{ message.content }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}" +
  "{% if tools %}{{ tools | tojson }} <tool_call></tool_call>{% endif %}{% if enable_thinking is defined %}<think></think>{% endif %}";
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];

let running: RunningLoqui;
beforeAll(async () => {
  // It doesn't end before the answers do.
  const slow = { stream_interval_ms: 10_000 };
  const plain = { reply: ["one", " two", " three", " four", " five"] };
  running = await startWithScripts(
    {
      plain,
      prompt: plain,
      thinker: { template: thinking, reply: ["<think>", "H", "m", "m.", "</think>", "S", "o", "."] },
      caller: {
        template: thinking,
        reply: [
          "Wait",
          ". ",
          "<tool_call>",
          '{"name": "weather", "arguments": {',
          '"a": 1, ',
          '"b": 2',
          "}}",
          "</tool_call>",
        ],
      },
    },
    {},
    { plain: slow, thinker: slow, caller: slow, prompt: { stream_interval_ms: 0 } },
  );
  // The interval begins with the first sending that is not a stream's first one.
  for (const model of ["plain", "thinker", "caller"]) await chat({ model });
});
afterAll(() => running[Symbol.asyncDispose]());

interface StreamChoice {
  readonly index: number;
  readonly text?: string;
  readonly delta?: object;
  readonly logprobs?: { content: unknown[] } | null;
}

async function choicesOf(path: string, body: object): Promise<StreamChoice[]> {
  const response = await fetch(`${running.url}/v1/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "plain", temperature: 0, stream: true, ...body }),
  });
  const events = (await response.text()).trim().split("\n\n");
  expect(events.pop()).toBe("data: [DONE]");
  return events.flatMap((event) => (JSON.parse(event.slice("data: ".length)) as { choices: StreamChoice[] }).choices);
}

const chat = (body: object) =>
  choicesOf("chat/completions", { messages: [{ role: "user", content: "Count." }], ...body });
const deltasOf = async (body: object) => (await chat(body)).map(({ delta }) => delta);
const opening = { role: "assistant", content: "" };

test("content: the first token is sent at once, and then all that came until the end", async () => {
  expect(await deltasOf({})).toEqual([opening, { content: "one" }, { content: " two three four five" }, {}]);
});

test("each choice by itself", async () => {
  const choices = await chat({ n: 2 });
  for (const index of [0, 1]) {
    const deltas = choices.filter((choice) => choice.index === index).map(({ delta }) => delta);
    expect(deltas[0]).toEqual(opening);
    const contents = deltas.map((delta) => (delta as { content?: string }).content ?? "");
    expect(contents.join("")).toBe("one two three four five");
    expect(deltas.length).toBeLessThanOrEqual(5);
  }
});

test("reasoning and content stay apart", async () => {
  const deltas = await deltasOf({ model: "thinker" });
  expect(deltas).toEqual([opening, { reasoning_content: "Hmm.", reasoning: "Hmm." }, { content: "So." }, {}]);
});

test("the pieces of a call's arguments, but not its name", async () => {
  const deltas = await deltasOf({ model: "caller", tools });
  expect(deltas.slice(-3)).toEqual([
    {
      tool_calls: [
        { index: 0, id: expect.any(String), type: "function", function: { name: "weather", arguments: "" } },
      ],
    },
    { tool_calls: [{ index: 0, function: { arguments: '{"a": 1, "b": 2}' } }] },
    {},
  ]);
});

test("completions", async () => {
  const choices = await choicesOf("completions", { prompt: "Count." });
  expect(choices.map(({ text }) => text)).toEqual(["one", " two three four five", ""]);
});

test.each([
  ["timings", { timings_per_token: true }],
  ["usage", { stream_options: { include_usage: true, continuous_usage_stats: true } }],
  ["log-probabilities", { logprobs: true }],
])("not with %s of each token", async (_, asked) => {
  const deltas = await deltasOf(asked);
  const each = ["one", " two", " three", " four", " five"].map((content) => ({ content }));
  expect(deltas).toEqual([opening, ...each, {}]);
});

test("not where the interval is 0", async () => {
  const deltas = await deltasOf({ model: "prompt" });
  const each = ["one", " two", " three", " four", " five"].map((content) => ({ content }));
  expect(deltas).toEqual([opening, ...each, {}]);
});
