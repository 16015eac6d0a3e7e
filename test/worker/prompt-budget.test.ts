import { describe, expect, test } from "vitest";
import { createPromptBudget } from "../../src/worker/prompt-budget.ts";

/** A processor on which a pass over the weights, a sequence that generates and a prompt token take their time. */
function machine(pass: number, sequence: number, promptToken: number) {
  const budget = createPromptBudget();
  const step = (generating: number, promptTokens: number) => {
    const ms =
      (generating > 0 ? pass + generating * sequence : 0) + (promptTokens > 0 ? pass + promptTokens * promptToken : 0);
    budget.note({ generating, promptTokens, ms });
    return ms;
  };
  return { budget, step };
}

describe.each([
  { what: "a small model", pass: 10, sequence: 5, promptToken: 2 },
  { what: "a model that takes 40 ms a token", pass: 30, sequence: 10, promptToken: 2 },
  { what: "a GPU", pass: 5, sequence: 0.1, promptToken: 0.05 },
])("$what", ({ pass, sequence, promptToken }) => {
  test("a step with a piece comes to take 150 ms", () => {
    const { budget, step } = machine(pass, sequence, promptToken);
    step(0, 512);
    for (let i = 0; i < 8; i++) step(1, 0);
    let ms = 0;
    for (let i = 0; i < 8; i++) ms = step(1, budget.tokens(1));
    expect(ms).toBeGreaterThan(130);
    expect(ms).toBeLessThan(160);
  });
});

test("where many generate, a piece takes as long as they do", () => {
  const { budget, step } = machine(10, 5, 2);
  step(0, 512);
  for (let i = 0; i < 8; i++) step(64, 0);
  let ms = 0;
  for (let i = 0; i < 8; i++) ms = step(64, budget.tokens(64));
  expect(ms).toBeGreaterThan(2 * 330 - 20);
  expect(ms).toBeLessThan(2 * 330 + 20);
});

test.each([
  { what: "a pass over the weights that costs little", pass: 10, whole: 0 },
  { what: "a costly pass", pass: 40, whole: 250 },
])("$what: $whole tokens are evaluated whole", ({ pass, whole }) => {
  const { budget, step } = machine(pass, 5, 2);
  expect(budget.wholeTokens(1)).toBe(0);
  for (let i = 0; i < 8; i++) step(1, 0);
  for (let i = 0; i < 16; i++) step(1, budget.tokens(1));
  // 600 ms less what the other one takes, the pass of the piece, and 2 ms for each of its tokens.
  expect(budget.wholeTokens(1)).toBeGreaterThanOrEqual(whole);
  expect(budget.wholeTokens(1)).toBeLessThanOrEqual(whole * 1.1);
});

test("where even the smallest piece takes too long, it stays that", () => {
  const { budget, step } = machine(200, 50, 30);
  step(0, 512);
  step(1, 0);
  for (let i = 0; i < 8; i++) step(1, budget.tokens(1));
  expect(budget.tokens(1)).toBe(8);
});

test("nothing is known before a prompt was timed", () => {
  const budget = createPromptBudget();
  expect(budget.tokens(1)).toBe(64);
  // The last token of a prompt that was in the cache says nothing of long ones.
  budget.note({ generating: 0, promptTokens: 1, ms: 12 });
  expect(budget.tokens(1)).toBe(64);
});

test("follows a prompt whose tokens take longer and longer", () => {
  const { budget } = machine(10, 5, 2);
  let tokens = 0;
  for (let promptToken = 1; promptToken <= 4; promptToken *= 1.1) {
    tokens = budget.tokens(1);
    budget.note({ generating: 1, promptTokens: tokens, ms: 15 + tokens * promptToken });
    budget.note({ generating: 1, promptTokens: 0, ms: 15 });
  }
  expect(15 + tokens * 4).toBeLessThan(190);
});
