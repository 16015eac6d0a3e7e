import { expect, test } from "vitest";
import { sharePieces, wholePieces } from "../../src/worker/prompt-pieces.ts";

test.each([
  { what: "nothing waits", remaining: [], budget: 128, pieces: [] },
  { what: "one short prompt", remaining: [10], budget: 128, pieces: [10] },
  { what: "one long prompt takes all", remaining: [3000], budget: 128, pieces: [128] },
  { what: "of equal ones the older goes first", remaining: [3000, 3000], budget: 128, pieces: [128, 0] },
  { what: "a short one overtakes half of a long one", remaining: [3000, 20], budget: 128, pieces: [108, 20] },
  { what: "the oldest keeps half", remaining: [3000, 2000, 100], budget: 128, pieces: [64, 0, 64] },
  { what: "all fit", remaining: [64, 64, 64, 64], budget: 512, pieces: [64, 64, 64, 64] },
  { what: "an odd token goes to the oldest", remaining: [5, 4], budget: 5, pieces: [3, 2] },
  { what: "no budget", remaining: [5], budget: 0, pieces: [0] },
])("$what", ({ remaining, budget, pieces }) => {
  expect(sharePieces(remaining, budget)).toEqual(pieces);
});

test.each([
  { what: "the oldest doesn't fit", remaining: [100, 20], budget: 99, pieces: [0, 0] },
  { what: "the first two fit", remaining: [50, 40, 60, 5], budget: 100, pieces: [50, 40, 0, 0] },
  { what: "all fit", remaining: [50, 50], budget: 100, pieces: [50, 50] },
])("whole prompts: $what", ({ remaining, budget, pieces }) => {
  expect(wholePieces(remaining, budget)).toEqual(pieces);
});
