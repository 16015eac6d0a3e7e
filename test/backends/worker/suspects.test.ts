import { expect, test } from "vitest";
import { createSuspects, holdMs } from "../../../src/backends/worker/suspects.ts";

function setup() {
  const clock = { now: 0 };
  return { clock, suspects: createSuspects(() => clock.now) };
}

const alone = { alone: true, messages: 0 };
const beside = { alone: false, messages: 0 };

test("the second death puts an input into quarantine, where it was alone then", () => {
  const { suspects } = setup();
  expect(suspects.none).toBe(true);
  expect(suspects.died("a", alone)).toBe(false);
  expect(suspects.suspicion("a")).toMatchObject({ messages: 0 });
  expect(suspects.quarantinedUntil("a")).toBeUndefined();
  expect(suspects.died("a", beside)).toBe(false);
  expect(suspects.died("a", alone)).toBe(true);
  expect(suspects.quarantinedUntil("a")).toBe(holdMs);
  expect(suspects.suspicion("a")).toBeUndefined();
  // One more that was under way is no second quarantine.
  expect(suspects.died("a", alone)).toBe(false);
  expect(suspects.quarantinedUntil("a")).toBe(holdMs);
  expect(suspects.quarantinedUntil("b")).toBeUndefined();
});

test("an answer acquits an input, but not one in quarantine", () => {
  const { suspects } = setup();
  suspects.died("a", beside);
  suspects.acquit("a");
  expect(suspects.none).toBe(true);
  suspects.died("a", beside);
  suspects.died("a", alone);
  suspects.acquit("a");
  expect(suspects.quarantinedUntil("a")).toBe(holdMs);
});

test("how far an answer had come at most is kept", () => {
  const { suspects } = setup();
  suspects.died("a", { alone: false, messages: 7 });
  suspects.died("a", { alone: false, messages: 3 });
  expect(suspects.suspicion("a")?.messages).toBe(7);
});

test("nothing is held against an input for longer than an hour", () => {
  const { suspects, clock } = setup();
  suspects.died("a", alone);
  clock.now = holdMs - 1;
  expect(suspects.died("a", alone)).toBe(true);
  expect(suspects.died("b", alone)).toBe(false);
  clock.now = 2 * holdMs - 2;
  expect(suspects.quarantinedUntil("a")).toBeDefined();
  clock.now += 1;
  expect(suspects.quarantinedUntil("a")).toBeUndefined();
  expect(suspects.suspicion("b")).toBeUndefined();
  expect(suspects.none).toBe(true);
});

test("of more than 1,024 inputs the oldest is forgotten", () => {
  const { suspects } = setup();
  for (let input = 0; input <= 1_024; input++) suspects.died(`${input}`, beside);
  expect(suspects.suspicion("0")).toBeUndefined();
  expect(suspects.suspicion("1")).toBeDefined();
  expect(suspects.suspicion("1024")).toBeDefined();
});
