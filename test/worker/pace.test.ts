import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createPace } from "../../src/worker/pace.ts";

const intervalMs = 30;

describe("sending at a pace", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function start() {
    const sent: string[] = [];
    const pace = createPace(intervalMs);
    return { sent, join: (name: string) => pace.join(() => sent.push(name)) };
  }

  test("the first sending comes at the end of the turn, not in it", async () => {
    const { sent, join } = start();
    join("a");
    expect(sent).toEqual([]);
    await turn();
    expect(sent).toEqual(["a"]);
  });

  test("what comes within the interval waits for its end, and leaves together", async () => {
    const { sent, join } = start();
    join("a");
    await turn();
    vi.advanceTimersByTime(10);
    join("b");
    vi.advanceTimersByTime(15);
    join("c");
    await turn();
    expect(sent).toEqual(["a"]);
    vi.advanceTimersByTime(4);
    expect(sent).toEqual(["a"]);
    vi.advanceTimersByTime(1);
    expect(sent).toEqual(["a", "b", "c"]);
  });

  test("after a longer silence nothing waits", async () => {
    const { sent, join } = start();
    join("a");
    await turn();
    vi.advanceTimersByTime(intervalMs);
    join("b");
    await turn();
    expect(sent).toEqual(["a", "b"]);
  });

  test("one that joins while all send is sent the next time", async () => {
    const sent: string[] = [];
    const pace = createPace(intervalMs);
    pace.join(() => {
      sent.push("a");
      pace.join(() => sent.push("again"));
    });
    await turn();
    expect(sent).toEqual(["a"]);
    vi.advanceTimersByTime(intervalMs);
    expect(sent).toEqual(["a", "again"]);
  });
});
