import { expect, test } from "vitest";
import { createTurns, type Turn } from "../../../src/backends/worker/turns.ts";

const never = new AbortController().signal;
const settle = () => new Promise((done) => setImmediate(done));

function setup() {
  const turns = createTurns();
  const entered: string[] = [];
  const held = new Map<string, Turn>();
  const enter = (name: string, alone: boolean, signal = never) =>
    turns.enter(alone, signal).then((turn) => {
      entered.push(name);
      held.set(name, turn);
    });
  return { enter, entered, turn: (name: string) => held.get(name) };
}

test("calls run side by side", async () => {
  const { enter, entered } = setup();
  void enter("a", false);
  void enter("b", false);
  await settle();
  expect(entered).toEqual(["a", "b"]);
});

test("one that must be alone waits for those that run, and those that come wait for it", async () => {
  const { enter, entered, turn } = setup();
  void enter("a", false);
  void enter("suspect", true);
  void enter("b", false);
  await settle();
  expect(entered).toEqual(["a"]);
  turn("a")?.leave();
  await settle();
  expect(entered).toEqual(["a", "suspect"]);
  turn("suspect")?.leave();
  turn("suspect")?.leave();
  await settle();
  expect(entered).toEqual(["a", "suspect", "b"]);
});

test("several that must be alone run one after the other, before all others", async () => {
  const { enter, entered, turn } = setup();
  void enter("first", true);
  void enter("b", false);
  void enter("second", true);
  await settle();
  expect(entered).toEqual(["first"]);
  turn("first")?.leave();
  await settle();
  expect(entered).toEqual(["first", "second"]);
  turn("second")?.leave();
  await settle();
  expect(entered).toEqual(["first", "second", "b"]);
});

test("one that shares lets others in, but not another that must be alone", async () => {
  const { enter, entered, turn } = setup();
  void enter("first", true);
  void enter("b", false);
  await settle();
  turn("first")?.share();
  await settle();
  expect(entered).toEqual(["first", "b"]);
  void enter("second", true);
  turn("b")?.leave();
  await settle();
  expect(entered).toEqual(["first", "b"]);
  turn("first")?.leave();
  await settle();
  expect(entered).toEqual(["first", "b", "second"]);
});

test("one that gives up holds nobody back", async () => {
  const { enter, entered } = setup();
  const controller = new AbortController();
  void enter("a", false);
  const gone = enter("suspect", true, controller.signal);
  void enter("b", false);
  controller.abort(new Error("enough"));
  await expect(gone).rejects.toThrow("enough");
  await settle();
  expect(entered).toEqual(["a", "b"]);
});
