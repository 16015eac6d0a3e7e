import { expect, test } from "vitest";
import { sharePieces } from "../../src/worker/prompt-pieces.ts";

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
