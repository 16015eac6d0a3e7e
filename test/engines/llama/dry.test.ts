import { describe, expect, it } from "vitest";
import { createDry } from "../../../src/engines/llama/dry.ts";
import type { DrySampling } from "../../../src/engines/token-engine.ts";

const settings: DrySampling = { multiplier: 1, base: 2, allowedLength: 2, window: 64, breakers: [] };

/** Tokens are characters. */
const tokensOf = (text: string) => Uint32Array.from(text, (char) => char.charCodeAt(0));
const dryOf = (text: string, changes: Partial<DrySampling> = {}) =>
  createDry({ ...settings, ...changes }, tokensOf(text), (token) => Buffer.from(String.fromCharCode(token)));
const penalised = (text: string, changes: Partial<DrySampling> = {}) =>
  Object.fromEntries(
    [...dryOf(text, changes).penalties()].map(([token, penalty]) => [String.fromCharCode(token), penalty]),
  );

describe("penalties", () => {
  it.each<[what: string, text: string, changes: Partial<DrySampling>, expected: Record<string, number>]>([
    ["nothing is repeated", "abcdefgh", {}, {}],
    ["the example of llama.cpp", "abccbcyabc", {}, { c: 2, y: 1 }],
    ["each allowed length", "abccbcyabc", { allowedLength: 1 }, { c: 4, y: 2, b: 1 }],
    ["a repetition that is too short", "abXab", { allowedLength: 3 }, {}],
    ["multiplier and base", "abcdXabcd", { multiplier: 3, base: 5 }, { X: 75 }],
    ["base 1 doesn't grow", "abcdXabcd", { base: 1 }, { X: 1 }],
    ["one letter over and over", "aaaaaa", {}, { a: 8 }],
    ["of several places the longest", "abXabcY.abc", { allowedLength: 1 }, { Y: 4 }],
    ["what has left the window", "abcXxxxxxxabc", { window: 6 }, {}],
    ["as much as the window holds", "abcXabc", { window: 7 }, { X: 2 }],
    ["a repetition across a breaker", "a:bXa:b", { breakers: [":"] }, {}],
    ["only what is behind the breaker counts", "ab:cdXab:cd", { breakers: [":"] }, { X: 1 }],
    ["a breaker is never punished itself", "ab:ab", { breakers: [":"] }, {}],
    ["a breaker of several tokens", "abc--deXabc--de", { breakers: ["--"] }, { X: 1 }],
    ["a breaker that is not complete", "ab-cdXab-cd", { breakers: ["--"] }, { X: 8 }],
    ["what would overflow", "a".repeat(64), { base: 100 }, { a: 1e30 }],
    ["allowed length 0 punishes all that was", "aba", { allowedLength: 0 }, { b: 2, a: 1 }],
    ["no text", "", {}, {}],
  ])("%s", (_what, text, changes, expected) => {
    expect(penalised(text, changes)).toEqual(expected);
  });

  it("are the same whether the text was there or came token by token", () => {
    let state = 1;
    const random = (below: number) => {
      state = (state * 48_271) % 2_147_483_647;
      return state % below;
    };
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: random(120) }, () => "ab:-"[random(4)]).join("");
      const changes = {
        allowedLength: random(3),
        window: 1 + random(40),
        breakers: [[":"], ["--"], [":", "b-"]][random(3)],
      };
      const grown = dryOf("", changes as Partial<DrySampling>);
      for (const token of tokensOf(text)) grown.push(token);
      expect(grown.penalties()).toEqual(slowPenalties(text, { ...settings, ...(changes as Partial<DrySampling>) }));
      expect(dryOf(text, changes as Partial<DrySampling>).penalties()).toEqual(grown.penalties());
    }
  });
});

/** The definition, without any algorithm. */
function slowPenalties(text: string, { multiplier, base, allowedLength, window, breakers }: DrySampling) {
  const past = text.slice(-window);
  const ends = breakers.map((breaker) => {
    const at = text.lastIndexOf(breaker);
    return at === -1 ? 0 : at + breaker.length;
  });
  const limit = Math.min(past.length, text.length - Math.max(...ends));
  const result = new Map<number, number>();
  if (past.length <= allowedLength) return result;
  for (let end = past.length - 1; end >= 1; end--) {
    let count = 0;
    while (count < end && count < limit && past[end - 1 - count] === past[past.length - 1 - count]) count++;
    const next = past.charCodeAt(end);
    if (count < allowedLength || breakers.includes(past[end] ?? "")) continue;
    const penalty = multiplier * base ** (count - allowedLength);
    if (penalty > (result.get(next) ?? 0)) result.set(next, penalty);
  }
  return result;
}
