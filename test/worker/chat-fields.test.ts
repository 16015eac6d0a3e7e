import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

/** In the manner of Qwen3's. */
const qwen =
  "{% for message in messages %}<|im_start|>{{ message.role }}\n" +
  "{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}\n</think>\n\n{% endif %}" +
  "{{ message.content }}<|im_end|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}" +
  "<think>\n\n</think>\n\n{% endif %}{% endif %}";

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts({
    plain: { reply: ["one", " two", " three", " four"], controls: ["<|note|>"] },
    thinker: { reply: ["Hm", "m.", "</think>", "So"], template: qwen },
  });
});
afterAll(() => running[Symbol.asyncDispose]());

const messages = [{ role: "user", content: "Count." }];

interface Answer {
  readonly choices: readonly {
    message: { content: string | null; reasoning_content?: string };
    finish_reason: string;
  }[];
  readonly usage: { prompt_tokens: number; completion_tokens: number };
  readonly error?: { message: string; param: string; code: string };
}

// biome-ignore lint/suspicious/noExplicitAny: the answers of several methods.
async function post(path: string, body: object): Promise<any> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${running.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return response.json();
}

const ask = (body: object): Promise<Answer> =>
  post("/v1/chat/completions", { model: "plain", messages, temperature: 0, ...body });

interface Chunk {
  readonly choices: readonly { delta: { content?: string } }[];
}

/** The chunks of a streamed answer. */
async function chunksOf(body: object): Promise<Chunk[]> {
  const response = await fetch(`${running.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "plain", messages, temperature: 0, stream: true, ...body }),
  });
  const events = (await response.text()).split("\n\n").filter((event) => event.startsWith("data: {"));
  return events.map((event) => JSON.parse(event.slice("data: ".length)));
}

const textOf = ({ choices }: Answer) => choices[0]?.message.content;
const streamedText = (chunks: readonly Chunk[]) =>
  chunks
    .flatMap(({ choices }) => choices)
    .map(({ delta }) => delta.content ?? "")
    .join("");

describe("the end of the text", () => {
  test.each([
    { what: "is left out", body: { stop: [" thr"] }, text: "one two" },
    { what: "is kept", body: { stop: [" thr"], include_stop_str_in_output: true }, text: "one two thr" },
    { what: "is the first token", body: { stop: "one" }, text: "" },
    { what: "is the first token, and kept", body: { stop: "one", include_stop_str_in_output: true }, text: "one" },
    { what: "comes first of two that overlap", body: { stop: ["two three", "o th"] }, text: "one tw" },
    { what: "is a token", body: { stop_token_ids: [258] }, text: "one two" },
    {
      what: "is a token, and kept",
      body: { stop_token_ids: [258], include_stop_str_in_output: true },
      text: "one two three",
    },
  ])("a stop that $what", async ({ body, text }) => {
    const answer = await ask(body);
    expect(textOf(answer)).toBe(text);
    expect(answer.choices[0]?.finish_reason).toBe("stop");
    expect(streamedText(await chunksOf(body))).toBe(text);
  });

  test("an empty stop is refused by name", async () => {
    expect((await ask({ stop: ["a", ""] })).error).toMatchObject({ param: "stop[1]" });
  });

  test("control tokens are in the text where they are asked for", async () => {
    // 256 bytes, four pieces, three control tokens, and this one.
    const note = { logit_bias: { 263: 100 }, max_tokens: 1 };
    expect(textOf(await ask(note))).toBe("");
    expect(textOf(await ask({ ...note, skip_special_tokens: false }))).toBe("<|note|>");
    expect(streamedText(await chunksOf({ ...note, skip_special_tokens: false }))).toBe("<|note|>");
  });
});

describe("continuing the last message", () => {
  const assistant = (message: object) => [...messages, { role: "assistant", ...message }];

  test("the answer holds what is new alone", async () => {
    const answer = await ask({ messages: assistant({ content: "zero " }), continue_final_message: true });
    expect(textOf(answer)).toBe("one two three four");
    const { input_tokens } = await post("/v1/chat/completions/input_tokens", {
      model: "plain",
      messages: assistant({ content: "zero " }),
      continue_final_message: true,
    });
    expect(answer.usage.prompt_tokens).toBe(input_tokens);
  });

  test("reasoning that is continued ends as reasoning", async () => {
    const body = { model: "thinker", messages: assistant({ reasoning: "Well" }), continue_final_message: true };
    expect((await ask(body)).choices[0]?.message).toMatchObject({ reasoning_content: "Hmm.", content: "So" });
  });

  test("over the API it is refused by name", async () => {
    const { error } = await ask({ continue_final_message: true });
    expect(error).toMatchObject({
      param: "continue_final_message",
      message: "continue_final_message: the last message is not an assistant's",
    });
  });
});

test("a verbosity that the template doesn't know is refused by name", async () => {
  expect((await ask({ verbosity: "low" })).error).toMatchObject({ param: "verbosity", code: "unsupported" });
  expect(textOf(await ask({ verbosity: "medium" }))).toBe("one two three four");
});
