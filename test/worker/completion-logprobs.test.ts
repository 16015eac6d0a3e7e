/** Log-probabilities of completions in OpenAI's legacy form: whole, streamed, with the prompt's. */
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";
import { helloPieces, helloReply } from "../support/running-loqui.ts";

/** Every byte of a prompt is a token. */
const scripts = {
  hello: { reply: helloPieces },
  begun: { reply: ["Hello"], addBos: true },
  filler: { reply: ["between"], controls: ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"] },
  // The scripted token's logit is 3, all others' 0: others are drawn too.
  unsure: { reply: ["one ", "two ", "three "], loop: true, logit: 3 },
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

type Asked = Partial<OpenAI.CompletionCreateParamsNonStreaming> & Record<string, unknown>;
type Logprobs = OpenAI.CompletionChoice.Logprobs;
const complete = async (asked: Asked) => {
  const { choices } = await client.completions.create({ model: "hello", prompt: "abc", logprobs: 2, ...asked });
  return choices;
};
const first = async (asked: Asked) => {
  const [choice] = await complete(asked);
  if (choice?.logprobs == null) throw new Error("no log-probabilities");
  return { text: choice.text, ...choice.logprobs };
};
async function streamed(asked: Asked) {
  const chunks: { text: string; logprobs: Logprobs | null }[] = [];
  const answer = await client.completions.create({
    model: "hello",
    prompt: "abc",
    logprobs: 2,
    ...asked,
    stream: true,
  });
  for await (const { choices } of answer) {
    for (const { text, logprobs } of choices) if (text !== "" || logprobs) chunks.push({ text, logprobs });
  }
  return chunks;
}

/** The chunks' lists, one behind the other. */
const joined = (chunks: readonly { logprobs: Logprobs | null }[]) => ({
  tokens: chunks.flatMap(({ logprobs }) => logprobs?.tokens ?? []),
  token_logprobs: chunks.flatMap(({ logprobs }) => logprobs?.token_logprobs ?? []),
  top_logprobs: chunks.flatMap(({ logprobs }) => logprobs?.top_logprobs ?? []),
  text_offset: chunks.flatMap(({ logprobs }) => logprobs?.text_offset ?? []),
});

describe("of what is generated", () => {
  it("lists of one length; halves of characters by their bytes", async () => {
    const { text, tokens, token_logprobs, top_logprobs, text_offset } = await first({ max_tokens: 30 });
    expect(text).toBe(helloReply);
    expect(tokens).toEqual([
      ...["Hello", ", ", "this ", "is ", "a ", "scripted ", "reply "],
      ...["bytes:\\xf0\\x9f", "bytes:\\x91\\x8b", "."],
    ]);
    expect(token_logprobs).toHaveLength(helloPieces.length);
    for (const logprob of token_logprobs ?? []) expect(logprob).toBeCloseTo(0, 5);
    for (const [index, top] of (top_logprobs ?? []).entries()) {
      expect(Object.keys(top)).toHaveLength(2);
      expect(top[tokens?.[index] ?? ""]).toBe(token_logprobs?.[index]);
    }
    // The emoji's halves begin where it does, and it is one character.
    expect(text_offset).toEqual([0, 5, 7, 12, 15, 17, 26, 32, 32, 33]);
  });

  it("streamed the same, each with the chunk that has its text", async () => {
    const { text, ...whole } = await first({ max_tokens: 30, echo: true });
    const chunks = await streamed({ max_tokens: 30, echo: true });
    expect(joined(chunks)).toEqual(whole);
    expect(chunks.map((chunk) => chunk.text).join("")).toBe(text);
    let at = 0;
    for (const chunk of chunks) {
      expect(chunk.logprobs?.text_offset?.[0]).toBe(at);
      at += Array.from(chunk.text).length;
    }
  });

  it.each([
    ["a stop string", { stop: "this" }, ["Hello", ", "]],
    ["a stop string that is part of the text", { stop: "this", include_stop_str_in_output: true }, undefined],
    ["a stop string within a token", { stop: "llo" }, ["Hello"]],
  ])("end with %s", async (_name, asked, tokens) => {
    expect((await first({ max_tokens: 30, ...asked })).tokens).toEqual(tokens ?? ["Hello", ", ", "this "]);
  });

  it("0 lists the drawn tokens alone, an unlikely one is there beside the likeliest", async () => {
    const none = await first({ logprobs: 0, max_tokens: 3 });
    expect(none.top_logprobs?.map((top) => Object.keys(top))).toEqual([["Hello"], [", "], ["this "]]);
    const asked = { model: "unsure", temperature: 2, min_p: 0, seed: 3, max_tokens: 12, logprobs: 1 };
    const { token_logprobs, top_logprobs, tokens } = await first(asked);
    const counts = top_logprobs?.map((top) => Object.keys(top).length) ?? [];
    expect(new Set(counts)).toEqual(new Set([1, 2]));
    for (const [index, token] of (tokens ?? []).entries()) {
      expect(top_logprobs?.[index]?.[token]).toBe(token_logprobs?.[index]);
    }
  });

  it("there are none where they are not asked for, best_of or not", async () => {
    expect((await complete({ logprobs: null }))[0]?.logprobs).toBeNull();
    expect((await complete({ logprobs: null, best_of: 2 }))[0]?.logprobs).toBeNull();
    const best = { model: "unsure", best_of: 3, n: 2, temperature: 1, min_p: 0, seed: 4, max_tokens: 5 };
    const choices = await complete(best);
    const means = choices.map(({ logprobs }) => (logprobs?.token_logprobs ?? []).reduce((sum, each) => sum + each, 0));
    expect(choices.map(({ logprobs }) => logprobs?.tokens?.length)).toEqual([5, 5]);
    expect(means[0]).toBeGreaterThanOrEqual(means[1] ?? 0);
  });
});

describe("of an echoed prompt", () => {
  /** By hand, of one logit of 3 and about 260 of 0: no token of a prompt is the scripted one. */
  const unlikely = -Math.log(Math.exp(3) + 259);

  it.each([0, 1, 4])("with %d tokens behind it: null for its first token", async (max_tokens) => {
    const asked = { model: "unsure", prompt: "héllo", echo: true, max_tokens, temperature: 0, logprobs: 1 };
    const { text, tokens, token_logprobs, top_logprobs, text_offset } = await first(asked);
    expect(text).toBe(["héllo", "one ", "two ", "three ", "one "].slice(0, 1 + max_tokens).join(""));
    expect(tokens?.slice(0, 6)).toEqual(["h", "bytes:\\xc3", "bytes:\\xa9", "l", "l", "o"]);
    expect(text_offset?.slice(0, 7)).toEqual([0, 1, 1, 2, 3, 4, 5].slice(0, 6 + Math.min(max_tokens, 1)));
    expect([token_logprobs?.[0], top_logprobs?.[0]]).toEqual([null, null]);
    for (const logprob of token_logprobs?.slice(1, 6) ?? []) expect(logprob).toBeCloseTo(unlikely, 1);
    for (const logprob of token_logprobs?.slice(6) ?? []) expect(logprob).toBeCloseTo(3 + unlikely, 1);
    for (const top of top_logprobs?.slice(1, 6) ?? []) expect(Object.keys(top)[0]).toBe("one ");
    for (const list of [tokens, token_logprobs, top_logprobs, text_offset]) expect(list).toHaveLength(6 + max_tokens);
  });

  it("one entry for each token id; one for the token that the model begins with", async () => {
    const ids = await first({ prompt: [72, 105, 33], echo: true, max_tokens: 0 });
    expect([ids.text, ids.tokens, ids.text_offset]).toEqual(["Hi!", ["H", "i", "!"], [0, 1, 2]]);
    const begun = await first({ model: "begun", prompt: "Hi", echo: true, max_tokens: 1 });
    expect([begun.text, begun.tokens]).toEqual(["HiHello", ["<|endoftext|>", "H", "i", "Hello"]]);
    expect(begun.text_offset).toEqual([0, 0, 1, 2]);
    expect(begun.token_logprobs?.[0]).toBeNull();
  });

  it("of all of it, whatever the cache holds, and the same each time", async () => {
    const asked = { model: "unsure", prompt: "x".repeat(300), echo: true, max_tokens: 0 };
    const once = await first(asked);
    expect(once.tokens).toHaveLength(300);
    expect(await first(asked)).toEqual(once);
    const { usage } = await client.completions.create({
      model: "unsure",
      prompt: `${"x".repeat(300)}y`,
      max_tokens: 1,
    });
    expect(usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(250);
  });

  it("of each choice and each prompt", async () => {
    const choices = await complete({ prompt: ["ab", "cde"], n: 2, echo: true, max_tokens: 1 });
    expect(choices.map(({ logprobs }) => logprobs?.tokens)).toEqual([
      ["a", "b", "Hello"],
      ["a", "b", "Hello"],
      ["c", "d", "e", "Hello"],
      ["c", "d", "e", "Hello"],
    ]);
  });

  it("there are none without echo or without logprobs", async () => {
    expect((await first({ max_tokens: 1 })).tokens).toEqual(["Hello"]);
    expect((await complete({ echo: true, logprobs: null }))[0]?.logprobs).toBeNull();
  });

  it("a suffix has no place in the text", async () => {
    const asked = { model: "filler", prompt: "a", suffix: "b", logprobs: 1 };
    expect((await first(asked)).tokens).toEqual(["between"]);
    await expect(complete({ ...asked, echo: true })).rejects.toMatchObject({ status: 400, param: "suffix" });
  });
});

it.each([21, -1, 0.5])("%d log-probabilities are refused by name", async (logprobs) => {
  await expect(complete({ logprobs })).rejects.toMatchObject({ status: 400, param: "logprobs" });
});
