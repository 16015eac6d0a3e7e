import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createWatchdog } from "../../../src/backends/worker/watchdog.ts";
import type { Pulse } from "../../../src/worker/pulse.ts";

const limitMs = 10_000;
const intervalMs = limitMs / 10;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A worker that answers each ping with what `pulse` says, while `answers`. */
function setup(limit = limitMs) {
  const worker = { answers: true, pings: 0, pulse: { open: 1, done: 0, cpuMs: 0, pagesRead: 0 } as Pulse };
  const hangs: string[] = [];
  const watchdog = createWatchdog({
    limitMs: limit,
    ping() {
      worker.pings += 1;
      const { answers, pulse } = worker;
      if (answers) queueMicrotask(() => watchdog.take(pulse));
    },
    onHang: (why) => hangs.push(why),
  });
  /** Lets time pass; the worker's pulse changes with each ping. */
  const pass = async (ms: number, change: (pulse: Pulse) => Partial<Pulse> = () => ({})) => {
    for (let passed = 0; passed < ms; passed += intervalMs) {
      worker.pulse = { ...worker.pulse, ...change(worker.pulse) };
      await vi.advanceTimersByTimeAsync(intervalMs);
    }
  };
  return { worker, hangs, watchdog, pass };
}

test("a worker that answers no ping for the limit hangs, once", async () => {
  const { worker, hangs, watchdog, pass } = setup();
  watchdog.watch();
  worker.answers = false;
  await pass(limitMs);
  expect(hangs).toEqual([]);
  await pass(2 * intervalMs);
  expect(hangs).toEqual(["it did not answer for 10 s"]);
  await pass(5 * limitMs);
  expect(hangs).toHaveLength(1);
  expect(worker.pings).toBe(1);
});

test("a worker of whose work no piece ends hangs, though its event loop turns", async () => {
  const { hangs, watchdog, pass } = setup();
  watchdog.watch();
  await pass(limitMs);
  expect(hangs).toEqual([]);
  await pass(2 * intervalMs);
  expect(hangs).toEqual(["its work made no progress for 10 s"]);
});

test.each([
  { what: "computes", change: ({ cpuMs }: Pulse) => ({ cpuMs: cpuMs + intervalMs / 100 }) },
  { what: "reads from a disk", change: ({ pagesRead }: Pulse) => ({ pagesRead: pagesRead + 1 }) },
])("a decode that $what gets ten times as long", async ({ change }) => {
  const { hangs, watchdog, pass } = setup();
  watchdog.watch();
  await pass(9 * limitMs, change);
  expect(hangs).toEqual([]);
  await pass(2 * limitMs, change);
  expect(hangs).toEqual(["its work made no progress for 10 s"]);
});

test("the odd task of a runtime is no computing", async () => {
  const { hangs, watchdog, pass } = setup();
  watchdog.watch();
  await pass(2 * limitMs, ({ cpuMs }) => ({ cpuMs: cpuMs + intervalMs / 1_000 }));
  expect(hangs).toHaveLength(1);
});

test("each piece that ends gives it the whole time again; a worker with nothing to do does not hang", async () => {
  const { worker, hangs, watchdog, pass } = setup();
  watchdog.watch();
  for (let piece = 1; piece <= 5; piece++) {
    await pass(limitMs - 2 * intervalMs);
    worker.pulse = { ...worker.pulse, done: piece };
  }
  // A reader that is slow: the call goes on here, the worker has long answered it.
  await pass(5 * limitMs, () => ({ open: 0 }));
  expect(hangs).toEqual([]);
});

test("who called may go: it is watched until it says that nothing is left", async () => {
  const { worker, hangs, watchdog, pass } = setup();
  const leave = watchdog.watch();
  await pass(2 * intervalMs);
  leave();
  leave();
  await pass(2 * limitMs);
  expect(hangs).toHaveLength(1);

  const other = setup();
  other.watchdog.watch()();
  await other.pass(2 * intervalMs, () => ({ open: 0 }));
  const { pings } = other.worker;
  await other.pass(limitMs);
  expect([other.worker.pings, pings]).toEqual([1, 1]);
  expect(worker.pings).toBeGreaterThan(10);
});

test("time in which this process or the machine stood still does not count", async () => {
  const { worker, hangs, watchdog, pass } = setup();
  const clock = vi.spyOn(performance, "now");
  let asleepMs = 0;
  clock.mockImplementation(() => Date.now() + asleepMs);
  watchdog.watch();
  worker.answers = false;
  await pass(2 * intervalMs);
  asleepMs = 8 * 3_600_000;
  await pass(intervalMs);
  expect(hangs).toEqual([]);
  watchdog.take(worker.pulse);
  worker.answers = true;
  await pass(limitMs - 2 * intervalMs, ({ done }) => ({ done: done + 1 }));
  expect(hangs).toEqual([]);
  clock.mockRestore();
});

test("0 switches it off; a process that is gone hangs no more", async () => {
  const off = setup(0);
  off.watchdog.watch();
  await off.pass(100 * limitMs);
  expect([off.hangs, off.worker.pings]).toEqual([[], 0]);

  const gone = setup();
  gone.watchdog.watch();
  gone.worker.answers = false;
  await gone.pass(limitMs / 2);
  gone.watchdog.end();
  gone.watchdog.watch();
  await gone.pass(2 * limitMs);
  expect(gone.hangs).toEqual([]);
});
