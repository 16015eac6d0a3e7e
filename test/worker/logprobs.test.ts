import { describe, expect, test } from "vitest";
import {
  chatLogprobs,
  completionLogprobs,
  createTokenTrail,
  promptEntries,
  type TokenTrail,
} from "../../src/worker/logprobs.ts";

/** A vocabulary of these bytes. A token's log-probability is its negative id. */
const vocabulary = [
  Buffer.from("Hel"),
  Buffer.from("lo"),
  Buffer.from(" "),
  Buffer.from([0xf0, 0x9f]),
  Buffer.from([0xa6, 0x99]),
  Buffer.from("!"),
  Buffer.from("<|control|>"),
  Buffer.from([0x61, 0xf0]),
  Buffer.from([0x9f, 0xa6, 0x99, 0x62]),
];
const engine = { tokenBytes: (token: number) => vocabulary[token] ?? Buffer.alloc(0) };
const idOf = new Map(vocabulary.map((bytes, token) => [bytes.toString("hex"), token]));

/** A trail of tokens, each with the text that is complete with it. */
function trailOf(...tokens: readonly (readonly [token: number, text: string])[]): TokenTrail {
  const trail = createTokenTrail(engine);
  for (const [token, text] of tokens) trail.push(token, { token, logprob: -token, top: [] }, text);
  return trail;
}

const taken = (trail: TokenTrail, from: number, to: number) =>
  trail.take(from, to).map(({ bytes, at }) => [idOf.get(Buffer.from(bytes).toString("hex")), at]);

describe("a trail", () => {
  const hello = () => trailOf([0, "Hel"], [1, "lo"], [2, " "], [3, ""], [4, "🦙"], [5, "!"]);

  test("gives each token once, in order, with the first of its text", () => {
    const trail = hello();
    expect(taken(trail, 0, 2)).toEqual([[0, 0]]);
    expect(taken(trail, 2, 3)).toEqual([]);
    expect(taken(trail, 3, 6)).toEqual([
      [1, 3],
      [2, 5],
    ]);
    expect(taken(trail, 6, 8)).toEqual([
      [3, 6],
      [4, 6],
    ]);
    // A llama is two UTF-16 units and one character.
    expect(taken(trail, 8, 9)).toEqual([[5, 7]]);
    expect(taken(trail, 9, 99)).toEqual([]);
  });

  test("drops what is before a place, but for a token that reaches over it", () => {
    const trail = hello();
    trail.drop(4);
    expect(trail.length).toBe(5);
    expect(taken(trail, 4, 6).map(([token]) => token)).toEqual([1, 2]);
    trail.drop(9);
    expect(trail.length).toBe(0);
  });

  test("gives all of a character that came in pieces together, wherever the text is cut", () => {
    expect(taken(hello(), 0, 9).map(([token]) => token)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(taken(hello(), 6, 7).map(([token]) => token)).toEqual([3, 4]);
    expect(taken(hello(), 0, 6).map(([token]) => token)).toEqual([0, 1, 2]);
  });

  test("a token that ends one character and begins another goes with the one it ends", () => {
    const trail = trailOf([7, "a"], [8, "🦙b"]);
    expect(taken(trail, 0, 1)).toEqual([[7, 0]]);
    expect(taken(trail, 1, 3)).toEqual([[8, 1]]);
    expect(taken(trail, 3, 4)).toEqual([]);
  });

  test("drops the tokens of text that is left out, and takes those that reach over its edge", () => {
    const trail = hello();
    expect(taken(trail, 4, 5)).toEqual([[1, 3]]);
    expect(taken(trail, 7, 8).map(([token]) => token)).toEqual([3, 4]);
  });

  test("leaves control tokens out that aren't shown, and those that are not", () => {
    expect(taken(trailOf([0, "Hel"], [6, ""], [1, "lo"]), 0, 9).map(([token]) => token)).toEqual([0, 1]);
    expect(taken(trailOf([0, "Hel"], [6, "<|control|>"], [1, "lo"]), 0, 99).map(([token]) => token)).toEqual([0, 6, 1]);
    expect(taken(trailOf([3, ""], [6, ""], [4, "🦙"]), 0, 9).map(([token]) => token)).toEqual([3, 4]);
  });

  test("has a place for forced tokens, but no entry", () => {
    const trail = createTokenTrail(engine);
    trail.push(0, undefined, "Hel");
    trail.push(1, { token: 1, logprob: -1, top: [] }, "lo");
    expect(taken(trail, 0, 3)).toEqual([]);
    expect(taken(trail, 3, 5)).toEqual([[1, 3]]);
  });

  test("a character that stays open goes with what stands for it", () => {
    const trail = trailOf([0, "Hel"], [3, ""]);
    expect(taken(trail, 0, 3)).toEqual([[0, 0]]);
    trail.end("�");
    expect(taken(trail, 3, 4)).toEqual([[3, 3]]);
  });
});

test("in chat: text, bytes, −9999 for the impossible, the likeliest in order", () => {
  const trail = createTokenTrail(engine);
  const impossible = { token: 1, logprob: Number.NEGATIVE_INFINITY };
  trail.push(3, { token: 3, logprob: -0.5, top: [{ token: 3, logprob: -0.5 }, impossible] }, "");
  trail.push(4, { ...impossible, token: 4, top: [] }, "🦙");
  expect(chatLogprobs(trail.take(0, 2))).toEqual([
    {
      token: "�",
      logprob: -0.5,
      bytes: [0xf0, 0x9f],
      topLogprobs: [
        { token: "�", logprob: -0.5, bytes: [0xf0, 0x9f] },
        { token: "lo", logprob: -9999, bytes: [0x6c, 0x6f] },
      ],
    },
    { token: "��", logprob: -9999, bytes: [0xa6, 0x99], topLogprobs: [] },
  ]);
});

describe("in completions", () => {
  test("lists of one length, the token itself among the likeliest, bytes where it is no whole character", () => {
    const trail = createTokenTrail(engine);
    const other = { token: 1, logprob: -0.25 };
    trail.push(0, { token: 0, logprob: -1.5, top: [other] }, "Hel");
    trail.push(7, { token: 7, logprob: -0.5, top: [{ token: 7, logprob: -0.5 }, other] }, "a");
    trail.push(8, { token: 8, logprob: Number.NEGATIVE_INFINITY, top: [] }, "🦙b");
    trail.push(5, { token: 5, logprob: -0.75, top: [] }, "!");
    expect(completionLogprobs(trail.take(0, 99))).toEqual({
      tokens: ["Hel", "bytes:a\\xf0", "bytes:\\x9f\\xa6\\x99b", "!"],
      tokenLogprobs: [{ logprob: -1.5 }, { logprob: -0.5 }, { logprob: -9999 }, { logprob: -0.75 }],
      topLogprobs: [
        { logprobs: { logprobs: { lo: -0.25, Hel: -1.5 } } },
        { logprobs: { logprobs: { "bytes:a\\xf0": -0.5, lo: -0.25 } } },
        { logprobs: { logprobs: { "bytes:\\x9f\\xa6\\x99b": -9999 } } },
        { logprobs: { logprobs: { "!": -0.75 } } },
      ],
      // A llama is one character.
      textOffset: [0, 3, 4, 6],
    });
  });

  test("of two tokens with one text the likelier", () => {
    const twins = { tokenBytes: () => Buffer.from("x") };
    const trail = createTokenTrail(twins);
    trail.push(1, { token: 1, logprob: -3, top: [{ token: 0, logprob: -1 }] }, "x");
    expect(completionLogprobs(trail.take(0, 1)).topLogprobs).toEqual([{ logprobs: { logprobs: { x: -1 } } }]);
  });

  /** Whole tokens as text, the control token by its name. */
  const decoding = {
    ...engine,
    createTextDecoder: () => {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      return {
        push: (token: number) => decoder.decode(engine.tokenBytes(token), { stream: true }),
        flush: () => decoder.decode(),
      };
    },
  };
  const logprobsOf = (tokens: readonly number[]) =>
    tokens.slice(1).map((token) => ({ token, logprob: -token, top: [{ token, logprob: -token }] }));

  test.each([
    ["as its text says", [0, 1, 3, 4, 5], "Hello🦙!", [0, 3, 5, 5, 6]],
    ["behind a beginning-of-sequence token that isn't in its text", [6, 0, 1], "Hello", [0, 0, 3]],
    ["behind a beginning-of-sequence token that is", [6, 0, 1], "<|control|>Hello", [0, 11, 14]],
    ["behind that and a space of the tokenizer's", [6, 2, 0, 1], "Hello", [0, 0, 0, 3]],
    ["with a character that stays open", [0, 3], "Hel�", [0, 3]],
  ])("every token of a prompt has its place, %s", (_name, tokens, text, places) => {
    const prompt = { text, tokens: Uint32Array.from(tokens) };
    const entries = promptEntries(prompt, logprobsOf(tokens), decoding);
    const { tokens: labels, tokenLogprobs, topLogprobs, textOffset } = completionLogprobs(entries);
    expect(textOffset).toEqual(places);
    expect(labels).toHaveLength(tokens.length);
    // Nothing is before the first.
    expect(tokenLogprobs).toEqual([{}, ...tokens.slice(1).map((token) => ({ logprob: -token }))]);
    expect(topLogprobs?.[0]).toEqual({});
    expect(Object.values(topLogprobs?.[1]?.logprobs?.logprobs ?? {})).toEqual([-(tokens[1] ?? 0)]);
  });
});
