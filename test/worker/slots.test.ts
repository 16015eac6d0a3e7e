import { expect, test } from "vitest";
import { createSlotPool, type SlotPool } from "../../src/worker/slots.ts";

/** Prompts that have nothing in common. */
let prompts = 0;

/** Takes a slot for a prompt like no other and has it hold so many tokens. */
function take(pool: SlotPool, tokens = 100) {
  prompts += 1;
  const slot = pool.take(Uint32Array.of(prompts), "");
  if (slot === undefined) throw new Error("all are busy");
  slot.cells.fill(prompts, 0, tokens);
  slot.length = tokens;
  return slot;
}

/** The sequences of generations that run together, once all have left. */
function together(pool: SlotPool, count: number, tokens?: number): number[] {
  const slots = Array.from({ length: count }, () => take(pool, tokens));
  for (const slot of slots) pool.release(slot);
  return slots.map(({ sequence }) => sequence).sort((a, b) => a - b);
}

test("those who come together get consecutive sequences, round after round", () => {
  const pool = createSlotPool(16, 2048);
  const rounds = Array.from({ length: 8 }, () => together(pool, 4));
  expect(rounds.slice(0, 5)).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9, 10, 11],
    [12, 13, 14, 15],
    [0, 1, 2, 3],
  ]);
  for (const [first = -1, ...others] of rounds) expect(others).toEqual([first + 1, first + 2, first + 3]);
});

test.each([2, 3, 5, 6])("consecutive where %i come together", (count) => {
  const pool = createSlotPool(16, 2048);
  for (let round = 0; round < 20; round += 1) {
    const sequences = together(pool, count);
    const [first = -1] = sequences;
    expect(sequences).toEqual(Array.from({ length: count }, (_, at) => first + at));
  }
});

test("a gap between busy ones is filled first", () => {
  const pool = createSlotPool(8, 2048);
  const [, second] = Array.from({ length: 5 }, () => take(pool));
  if (second !== undefined) pool.release(second);
  expect(take(pool).sequence).toBe(second?.sequence);
});

test("what holds much and was used lately is kept, though its place would suit", () => {
  const pool = createSlotPool(8, 2048);
  for (let round = 0; round < 3; round += 1) together(pool, 8, 2000);
  const [first, second, third] = Array.from({ length: 3 }, () => take(pool, 2000));
  if (first === undefined || second === undefined || third === undefined) throw new Error("unreachable");
  expect([first, second, third].map(({ sequence }) => sequence)).toEqual([0, 1, 2]);
  pool.release(second);
  // Its neighbours are busy, but it was used last.
  expect(take(pool).sequence).toBe(3);
});

test("a conversation comes back to its cells", () => {
  const pool = createSlotPool(8, 2048);
  together(pool, 8);
  const prompt = Uint32Array.from({ length: 64 }, (_, at) => 1_000_000 + at);
  const slot = pool.take(prompt, "");
  slot?.cells.set(prompt);
  if (slot === undefined) throw new Error("unreachable");
  slot.length = prompt.length;
  pool.release(slot);
  together(pool, 4);
  expect(pool.take(Uint32Array.of(...prompt, 1, 2, 3), "")).toBe(slot);
});
