import type { Pulse } from "../../worker/pulse.ts";

export interface WatchdogOptions {
  /** Time without a sign of life after which the worker hangs, in milliseconds; 0 is never. */
  readonly limitMs: number;
  /** Asks the worker for its pulse. */
  readonly ping: () => void;
  /** Told once, with what the worker did not do. */
  readonly onHang: (why: string) => void;
}

/** Notices a worker that hangs. */
export interface Watchdog {
  /** Says that the worker has work; the function that it returns says that it is over. */
  watch(): () => void;
  /** Takes the worker's answer to a ping. */
  take(pulse: Pulse): void;
  /** The process is gone. */
  end(): void;
}

/** CPU time per time from which on a worker counts as computing: little, since the machine may be busy with other things. */
const computingShare = 0.005;
/** How much slower the time runs for a worker that computes or reads. */
const computingPatience = 10;

/**
 * Watches a worker while it has work. It hangs where its event loop answers no
 * ping for `limitMs`, or where it has work of which no piece ends for that long.
 * A decode gives no sign before its end, and on a slow machine that is far: as
 * long as the process computes or reads from a disk, it gets ten times as long.
 *
 * What this process did not see does not count: where it, or the whole machine,
 * was suspended or busy, a turn counts for two intervals at most.
 */
export function createWatchdog({ limitMs, ping, onHang }: WatchdogOptions): Watchdog {
  if (limitMs === 0) return { watch: () => () => {}, take() {}, end() {} };
  const intervalMs = Math.min(limitMs / 10, 2_000);
  let watches = 0;
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  let asked = false;
  let silentMs = 0;
  let idleMs = 0;
  let turnedAt = 0;
  let last: { readonly pulse: Pulse; readonly at: number } | undefined;

  /** Time since a moment, as far as it counts. */
  const since = (moment: number) => Math.min(performance.now() - moment, 2 * intervalMs);

  function turn(): void {
    const passedMs = since(turnedAt);
    turnedAt = performance.now();
    if (!asked) {
      asked = true;
      ping();
      return;
    }
    silentMs += passedMs;
    if (silentMs >= limitMs) hang("it did not answer");
  }

  function hang(what: string): void {
    end();
    onHang(`${what} for ${Math.round(limitMs / 100) / 10} s`);
  }

  function rest(): void {
    clearInterval(timer);
    timer = undefined;
    last = undefined;
    silentMs = 0;
    idleMs = 0;
  }

  function end(): void {
    rest();
    ended = true;
  }

  return {
    watch() {
      watches += 1;
      if (timer === undefined && !ended) {
        turnedAt = performance.now();
        timer = setInterval(turn, intervalMs).unref();
      }
      let over = false;
      return () => {
        if (!over) watches -= 1;
        over = true;
      };
    },
    take(pulse) {
      if (!asked || ended) return;
      asked = false;
      silentMs = 0;
      const before = last;
      last = { pulse, at: performance.now() };
      // Whoever called may be gone: the worker is watched until it says itself that nothing is left.
      if (pulse.open === 0 && watches === 0) return rest();
      if (pulse.open === 0 || before === undefined || pulse.done !== before.pulse.done) {
        idleMs = 0;
        return;
      }
      const passedMs = since(before.at);
      const computes =
        pulse.cpuMs - before.pulse.cpuMs > (last.at - before.at) * computingShare ||
        pulse.pagesRead > before.pulse.pagesRead;
      idleMs += computes ? passedMs / computingPatience : passedMs;
      if (idleMs >= limitMs) hang("its work made no progress");
    },
    end,
  };
}
