/** Brings the sendings of all streams of a worker together. */
export interface Pace {
  /** Calls `send` with the next sending of all. */
  join(send: () => void): void;
}

/**
 * All send together, at most once in `intervalMs`: at once where the last time
 * is as long ago. Each sending wakes three processes, here and the reader's,
 * which costs a fast model more than its readers could notice; those that are
 * awake handle a second stream for a fraction of that.
 *
 * "At once" is the end of this turn of the event loop: a token is handed out in
 * the turn in which the next decode is started, and that comes first.
 */
export function createPace(intervalMs: number): Pace {
  let waiting: (() => void)[] = [];
  let sentAt = Number.NEGATIVE_INFINITY;

  function sendAll(): void {
    const sending = waiting;
    waiting = [];
    sentAt = performance.now();
    for (const send of sending) send();
  }

  return {
    join(send) {
      waiting.push(send);
      if (waiting.length > 1) return;
      const wait = sentAt + intervalMs - performance.now();
      if (wait > 0) setTimeout(sendAll, wait);
      else setImmediate(sendAll);
    },
  };
}
