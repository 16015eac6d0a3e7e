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
  const plain = { reply: ["one", " two", " three", " four"], controls: ["<|note|>"] };
  running = await startWithScripts(
    {
      plain,
      thinker: { reply: ["Hm", "m.", "</think>", "So"], template: qwen },
      small: plain,
      looping: { ...plain, loop: true },
      unsure: { reply: ["yes"], logit: 2 },
    },
    {},
    { small: { n_ctx: 64 }, plain: { stream_interval_ms: 0 } },
  );
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

const complete = (body: object) =>
  post("/v1/completions", { model: "plain", prompt: "Count.", temperature: 0, ...body });

const ask = (body: object): Promise<Answer> =>
  post("/v1/chat/completions", { model: "plain", messages, temperature: 0, ...body });

interface Chunk {
  readonly choices: readonly {
    index: number;
    delta: { role?: string; content?: string };
    finish_reason: string | null;
  }[];
  readonly usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
  readonly timings?: {
    cache_n: number;
    prompt_n: number;
    prompt_ms: number;
    predicted_n: number;
    predicted_ms: number;
  };
  readonly prompt_progress?: { total: number; cache: number; processed: number; time_ms: number };
}

/** The chunks of a streamed answer. */
async function chunksOf(body: object, path = "/v1/chat/completions"): Promise<Chunk[]> {
  const response = await fetch(`${running.url}${path}`, {
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

describe("what a stream says beside the answer", () => {
  test("the usage so far, with every chunk of a choice", async () => {
    const stream_options = { include_usage: true, continuous_usage_stats: true };
    const chunks = await chunksOf({ stream_options, n: 2, max_tokens: 3 });
    const last = chunks.at(-1);
    expect(last?.choices).toEqual([]);
    expect(last?.usage).toMatchObject({ completion_tokens: 6 });
    for (const index of [0, 1]) {
      const said = chunks.filter(({ choices }) => choices[0]?.index === index);
      expect(said.map(({ usage }) => usage?.completion_tokens)).toEqual([1, 1, 2, 3, 3]);
      expect(new Set(said.map(({ usage }) => usage?.prompt_tokens))).toEqual(new Set([last?.usage?.prompt_tokens]));
    }
  });

  test("the usage so far without the usage is refused by name", async () => {
    const answer = await post("/v1/chat/completions", {
      model: "plain",
      messages,
      stream: true,
      stream_options: { continuous_usage_stats: true },
    });
    expect(answer.error).toMatchObject({ param: "stream_options.continuous_usage_stats" });
  });

  test("the timings with every chunk", async () => {
    const chunks = await chunksOf({ timings_per_token: true });
    expect(chunks.map(({ timings }) => timings?.predicted_n)).toEqual([1, 1, 2, 3, 4, 5]);
    const times = chunks.map(({ timings }) => timings?.predicted_ms ?? Number.NaN);
    expect(times.every((time, index) => time >= (times[index - 1] ?? 0))).toBe(true);
    const { cache_n = 0, prompt_n = 0, prompt_ms = 0 } = chunks[0]?.timings ?? {};
    expect(cache_n + prompt_n).toBeGreaterThan(0);
    expect(prompt_ms).toBeGreaterThan(0);
    expect(chunks.every(({ timings }) => timings?.prompt_ms === prompt_ms)).toBe(true);
    const plain = await chunksOf({});
    expect(plain.map(({ timings }) => timings !== undefined)).toEqual([false, false, false, false, false, true]);
  });

  test("how far the prompt is evaluated, before the first token", async () => {
    const content = "A prompt of more than two batches. ".repeat(40);
    const body = { messages: [{ role: "user", content }], return_progress: true };
    const chunks = await chunksOf(body);
    expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
    const progress = chunks.flatMap((chunk) => chunk.prompt_progress ?? []);
    expect(chunks.slice(1, 1 + progress.length).every((chunk) => chunk.prompt_progress !== undefined)).toBe(true);
    const { total = 0, cache = 0 } = progress[0] ?? {};
    expect(total).toBeGreaterThan(1400);
    expect(cache).toBeLessThan(100);
    expect(progress.map(({ processed }) => processed)).toEqual([cache, cache + 512, cache + 1024, total]);
    expect(progress.every((each, index) => each.time_ms >= (progress[index - 1]?.time_ms ?? 0))).toBe(true);
    expect(streamedText(chunks)).toBe("one two three four");
    expect(chunks[1]?.timings).toBeUndefined();

    const again = (await chunksOf(body)).flatMap((chunk) => chunk.prompt_progress ?? []);
    expect(again).toMatchObject([
      { total, cache: total - 1, processed: total - 1 },
      { total, cache: total - 1, processed: total },
    ]);
    expect(textOf(await ask(body))).toBe("one two three four");
  });

  test("timings and usage with the progress of the prompt: what is evaluated so far", async () => {
    const content = "A prompt of two batches, which nobody had before. ".repeat(18);
    const chunks = await chunksOf({
      messages: [{ role: "user", content }],
      return_progress: true,
      timings_per_token: true,
      stream_options: { include_usage: true, continuous_usage_stats: true },
    });
    const progress = chunks.filter((chunk) => chunk.prompt_progress !== undefined);
    expect(progress).toHaveLength(3);
    for (const { prompt_progress, timings, usage } of progress) {
      const { processed = 0, cache = 0 } = prompt_progress ?? {};
      expect(timings).toMatchObject({ cache_n: cache, prompt_n: processed - cache, predicted_n: 0, predicted_ms: 0 });
      expect(usage).toMatchObject({ prompt_tokens: processed, completion_tokens: 0 });
    }
    expect(chunks.every(({ usage }) => usage !== undefined)).toBe(true);
  });
});

test("an answer without a limit of its own", async () => {
  const { choices, usage } = await ask({ model: "small", max_tokens: -1, ignore_eos: true });
  expect(choices[0]?.finish_reason).toBe("length");
  expect(usage.prompt_tokens + usage.completion_tokens).toBe(64);
  expect((await ask({ model: "small", max_completion_tokens: -1, max_tokens: 2 })).usage.completion_tokens).toBe(5);
  expect((await ask({ model: "small", n_predict: -1 })).usage.completion_tokens).toBe(5);
  expect((await ask({ model: "small", max_tokens: 0 })).usage).toMatchObject({ completion_tokens: 0 });
  expect((await ask({ max_tokens: -2 })).error).toMatchObject({ param: "max_tokens" });
});

test("DRY leaves a loop", async () => {
  const text = (body: object) => complete({ model: "looping", max_tokens: 12, ...body }).then((a) => a.choices[0].text);
  const round = "one two three four";
  expect(await text({})).toBe(round.repeat(3));
  const dry = { dry_multiplier: 50, dry_allowed_length: 2, dry_sequence_breakers: ["#"] };
  // From the third token on it would repeat the first round.
  expect((await text(dry)).startsWith(`${round}one two three`)).toBe(false);
  expect((await text(dry)).startsWith(`${round}one two`)).toBe(true);
  // A penalty of 5 is nothing beside the logit of 32, but where it grows it comes to be more.
  expect(await text({ ...dry, dry_multiplier: 5, dry_base: 1 })).toBe(round.repeat(3));
  expect(await text({ ...dry, dry_multiplier: 5, dry_base: 8 })).not.toBe(round.repeat(3));
  expect(await text({ ...dry, dry_penalty_last_n: 0 })).toBe(round.repeat(3));
  expect(await text({ ...dry, dry_allowed_length: 20 })).toBe(round.repeat(3));
  expect(await text({ ...dry, dry_sequence_breakers: ["two", "four"] })).toBe(round.repeat(3));
});

test("XTC leaves the likeliest token out, where another one is likely enough", async () => {
  const text = (body: object) =>
    complete({ temperature: 1, top_k: 2, max_tokens: 1, ...body }).then((a) => a.choices[0].text);
  const unsure = { model: "unsure", xtc_probability: 1, xtc_threshold: 0.05 };
  for (let seed = 0; seed < 10; seed++) {
    expect(await text({ ...unsure, seed })).not.toBe("yes");
    expect(await text({ ...unsure, model: "plain", seed })).toBe("one");
  }
  expect(await text({ ...unsure, temperature: 0, xtc_probability: 0 })).toBe("yes");
  expect(await text({ ...unsure, temperature: 0, xtc_threshold: 0.51 })).toBe("yes");
});

describe("completions too", () => {
  test.each([
    { body: { stop: [" thr"], include_stop_str_in_output: true }, text: "one two thr" },
    { body: { logit_bias: { 263: 100 }, max_tokens: 1, skip_special_tokens: false }, text: "<|note|>" },
    { body: { max_tokens: 2 }, text: "one two" },
  ])("$body", async ({ body, text }) => {
    expect((await complete(body)).choices[0].text).toBe(text);
  });

  test("no limit of its own", async () => {
    const { usage } = await complete({ model: "small", max_tokens: -1, ignore_eos: true });
    expect(usage.total_tokens).toBe(64);
  });

  test("what a stream says beside the answer", async () => {
    const prompt = "A text of two batches. ".repeat(30);
    const stream_options = { include_usage: true, continuous_usage_stats: true };
    const body = { messages: undefined, prompt, return_progress: true, timings_per_token: true, stream_options };
    const chunks = await chunksOf(body, "/v1/completions");
    const progress = chunks.flatMap((chunk) => chunk.prompt_progress ?? []);
    expect(progress.map(({ processed }) => processed)).toEqual([progress[0]?.cache, 512, progress[0]?.total]);
    expect(chunks.every(({ usage, timings }) => usage !== undefined && timings !== undefined)).toBe(true);
    expect(chunks.at(-1)?.usage).toMatchObject({ completion_tokens: 5, total_tokens: prompt.length + 5 });
  });
});
