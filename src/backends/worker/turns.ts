/** A call's right to run. Both methods may be called again, to no effect. */
export interface Turn {
  /** Whether no other call can have run beside it. */
  readonly alone: boolean;
  /** Lets others run beside a call that was alone. */
  share(): void;
  /** Ends the turn. */
  leave(): void;
}

/**
 * Lets calls run side by side, or one alone: after a crash each call that was
 * in flight is under suspicion, and only alone it shows which one it was.
 */
export interface Turns {
  /**
   * Resolves when the call may run: `alone`, when no other runs; else, when no
   * call is or waits to be alone. Rejects with the signal's reason.
   */
  enter(alone: boolean, signal: AbortSignal): Promise<Turn>;
}

export function createTurns(): Turns {
  let running = 0;
  let alone: Turn | undefined;
  const suspects: (() => void)[] = [];
  const others: (() => void)[] = [];

  function begin(isAlone: boolean): Turn {
    let left = false;
    const turn: Turn = {
      get alone() {
        return alone === turn;
      },
      share() {
        if (alone !== turn) return;
        alone = undefined;
        admit();
      },
      leave() {
        if (left) return;
        left = true;
        running -= 1;
        if (alone === turn) alone = undefined;
        admit();
      },
    };
    running += 1;
    if (isAlone) alone = turn;
    return turn;
  }

  function admit(): void {
    if (alone !== undefined) return;
    if (suspects.length > 0) {
      if (running === 0) suspects.shift()?.();
      return;
    }
    for (const enter of others.splice(0)) enter();
  }

  return {
    enter(isAlone, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const queue = isAlone ? suspects : others;
        const enter = () => {
          signal.removeEventListener("abort", giveUp);
          resolve(begin(isAlone));
        };
        const giveUp = () => {
          queue.splice(queue.indexOf(enter), 1);
          reject(signal.reason);
          admit();
        };
        signal.addEventListener("abort", giveUp, { once: true });
        queue.push(enter);
        admit();
      });
    },
  };
}
