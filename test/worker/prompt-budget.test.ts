import { describe, expect, test } from "vitest";
import { createPromptBudget } from "../../src/worker/prompt-budget.ts";

/** A processor on which a pass over the weights, a sequence that generates and a prompt token take their time. */
function machine(pass: number, sequence: number, promptToken: number) {
  const budget = createPromptBudget();
  /** How long those who generate wait: for a step of prompts where there are any, then for their own. */
  const gap = (generating: number, promptTokens: number) => {
    const promptMs = promptTokens === 0 ? 0 : pass + promptTokens * promptToken;
    const ownMs = pass + generating * sequence;
    if (promptTokens > 0) budget.notePrompts(promptTokens, promptMs);
    if (generating > 0) budget.noteTokens(generating, ownMs);
    return promptMs + ownMs;
  };
  return { budget, gap };
}

describe.each([
  { what: "a small model", pass: 10, sequence: 5, promptToken: 2 },
  { what: "a model that takes 40 ms a token", pass: 30, sequence: 10, promptToken: 2 },
  { what: "a GPU", pass: 5, sequence: 0.1, promptToken: 0.05 },
])("$what", ({ pass, sequence, promptToken }) => {
  test("a gap with a piece comes to be 150 ms", () => {
    const { budget, gap } = machine(pass, sequence, promptToken);
    gap(0, 512);
    for (let i = 0; i < 8; i++) gap(1, 0);
    let ms = 0;
    for (let i = 0; i < 8; i++) ms = gap(1, budget.tokens(1));
    expect(ms).toBeGreaterThan(130);
    expect(ms).toBeLessThan(160);
  });
});

test("where many generate, a piece takes as long as they do", () => {
  const { budget, gap } = machine(10, 5, 2);
  gap(0, 512);
  for (let i = 0; i < 8; i++) gap(64, 0);
  let ms = 0;
  for (let i = 0; i < 8; i++) ms = gap(64, budget.tokens(64));
  expect(ms).toBeGreaterThan(2 * 330 - 20);
  expect(ms).toBeLessThan(2 * 330 + 20);
});

test.each([
  { what: "a pass over the weights that costs little", pass: 10, waiting: 1, whole: 0 },
  { what: "a costly pass", pass: 40, waiting: 1, whole: 255 },
  { what: "a costly pass, and another prompt waits", pass: 40, waiting: 2, whole: 380 },
  { what: "a costly pass, and ten prompts wait", pass: 40, waiting: 10, whole: 630 },
])("$what: $whole tokens are evaluated whole", ({ pass, waiting, whole }) => {
  const { budget, gap } = machine(pass, 5, 2);
  expect(budget.wholeTokens(1, waiting)).toBe(0);
  for (let i = 0; i < 8; i++) gap(1, 0);
  for (let i = 0; i < 16; i++) gap(1, budget.tokens(1));
  // 600 ms, and 250 for each further prompt, less what the other one takes, the pass of the piece, and 2 ms for each of its tokens.
  expect(budget.wholeTokens(1, waiting)).toBeGreaterThanOrEqual(whole);
  expect(budget.wholeTokens(1, waiting)).toBeLessThanOrEqual(whole * 1.1);
});

test("where even the smallest piece takes too long, it stays that", () => {
  const { budget, gap } = machine(200, 50, 30);
  gap(0, 512);
  gap(1, 0);
  for (let i = 0; i < 8; i++) gap(1, budget.tokens(1));
  expect(budget.tokens(1)).toBe(6);
});

test("nothing is known before a prompt was timed", () => {
  const budget = createPromptBudget();
  expect(budget.tokens(1)).toBe(64);
  // The last token of a prompt that was in the cache says nothing of long ones.
  budget.notePrompts(1, 12);
  expect(budget.tokens(1)).toBe(64);
});

test("follows a prompt whose tokens take longer and longer", () => {
  const { budget } = machine(10, 5, 2);
  let tokens = 0;
  for (let promptToken = 1; promptToken <= 4; promptToken *= 1.1) {
    tokens = budget.tokens(1);
    budget.notePrompts(tokens, tokens * promptToken);
    budget.noteTokens(1, 15);
  }
  expect(15 + tokens * 4).toBeLessThan(190);
});
