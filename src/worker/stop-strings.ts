/**
 * Looks for stop strings in a text that comes in pieces. What it lets through
 * holds no part of the stop string that ends it, or all of it, wherever the
 * pieces are cut.
 */
export interface StopScanner {
  /** Takes the next piece; returns the text that is certain, perhaps none. After a match it returns nothing more. */
  push(piece: string): string;
  /** The text that was held back, at the end of a text without a match. */
  flush(): string;
  /** The stop string that was found. */
  readonly matched: string | undefined;
}

/** A state of the automaton: the longest end of the text that begins some stop string. */
interface State {
  /** Length of that end, in UTF-16 units: what has to be held back. */
  readonly depth: number;
  readonly next: Map<number, State>;
  fallback: State | undefined;
  /** The longest stop string that ends here. */
  match: string | undefined;
}

/**
 * Makes scanners, one for each text. The first stop string to be complete wins;
 * of those that end at the same place, the longest. With `keep` it is let
 * through. An automaton after Aho and Corasick (1975): every unit of text is
 * looked at once, however many stop strings there are. All scanners share it:
 * at 16 stop strings of 256 bytes it takes a megabyte.
 */
export function stopScanners(stops: readonly string[], keep = false): () => StopScanner {
  const root = compile(stops.filter((stop) => stop !== ""));
  return () => createScanner(root, keep);
}

function createScanner(root: State, keep: boolean): StopScanner {
  let state = root;
  let held = "";
  let matched: string | undefined;

  return {
    push(piece) {
      if (matched !== undefined) return "";
      if (root.next.size === 0) return piece;
      const text = held + piece;
      for (let index = held.length; index < text.length; index++) {
        state = advance(root, state, text.charCodeAt(index));
        if (state.match === undefined) continue;
        matched = state.match;
        held = "";
        return text.slice(0, index + 1 - (keep ? 0 : matched.length));
      }
      held = text.slice(text.length - state.depth);
      return text.slice(0, text.length - state.depth);
    },
    flush() {
      const rest = held;
      held = "";
      state = root;
      return rest;
    },
    get matched() {
      return matched;
    },
  };
}

function compile(stops: readonly string[]): State {
  const root: State = { depth: 0, next: new Map(), fallback: undefined, match: undefined };
  for (const stop of stops) {
    let state = root;
    for (let index = 0; index < stop.length; index++) {
      const unit = stop.charCodeAt(index);
      let next = state.next.get(unit);
      if (next === undefined) {
        next = { depth: index + 1, next: new Map(), fallback: root, match: undefined };
        state.next.set(unit, next);
      }
      state = next;
    }
    state.match = stop;
  }
  // Breadth first: a state's fallback is shallower than itself, so it is complete already.
  const level = [...root.next.values()];
  for (const state of level) {
    for (const [unit, next] of state.next) {
      next.fallback = advance(root, state.fallback ?? root, unit);
      next.match ??= next.fallback.match;
      level.push(next);
    }
  }
  return root;
}

function advance(root: State, from: State, unit: number): State {
  for (let state: State | undefined = from; state !== undefined; state = state.fallback) {
    const next = state.next.get(unit);
    if (next !== undefined) return next;
  }
  return root;
}
