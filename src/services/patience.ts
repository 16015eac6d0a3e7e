/** How long a call waits for its handler. */
export interface Patience {
  /** The promise's outcome, or the signal's reason where the patience ends first. One wait at a time. */
  wait<T>(promise: Promise<T>): Promise<T>;
  /** Begins the grace now, though nothing is aborted: whoever wanted the answer has left. */
  lose(): void;
  /** Lets go of the signal and the timer. */
  [Symbol.dispose](): void;
}

/**
 * Ends waits `graceMs` after the signal was aborted: a handler that notices is
 * waited for, one that doesn't can't hold up the end of its call. What it does
 * goes on, and its outcome is dropped.
 */
export function patienceOf(signal: AbortSignal, graceMs: number): Patience {
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  let giveUp: ((reason: unknown) => void) | undefined;

  function lose(): void {
    timer ??= setTimeout(() => {
      over = true;
      giveUp?.(signal.reason);
    }, graceMs);
  }

  if (signal.aborted) lose();
  else signal.addEventListener("abort", lose, { once: true });
  return {
    // Not a race of promises: one that never settles would keep what each race leaves with it.
    wait: (promise) =>
      new Promise((resolve, reject) => {
        promise.then(resolve, reject);
        if (over) reject(signal.reason);
        else giveUp = reject;
      }),
    lose,
    [Symbol.dispose]() {
      signal.removeEventListener("abort", lose);
      clearTimeout(timer);
    },
  };
}
