import type { Range } from "./gbnf.ts";
import type { Budget } from "./limits.ts";

/** From one state to `target` by any code point of the range. */
export type Edge = readonly [from: number, to: number, target: number];

/**
 * A deterministic finite automaton over Unicode code points. State 0 is the
 * start; a missing edge is a failure. Every state but the start can be reached
 * and can reach an accepting one. Edges are in order and apart.
 */
export interface Automaton {
  readonly accepting: readonly boolean[];
  readonly edges: readonly (readonly Edge[])[];
}

/** Everything that UTF-8 can hold. */
export const anyChar: readonly Range[] = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** The automaton of every text. */
export const anyText: Automaton = { accepting: [true], edges: [anyChar.map(([from, to]): Edge => [from, to, 0])] };

/** Ranges in order, apart, and within {@link anyChar}. */
export function normalise(ranges: readonly Range[]): Range[] {
  const sorted = ranges.filter(([from, to]) => from <= to).sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return intersectRanges(merged, anyChar);
}

/** What is in {@link anyChar} but not in these ranges. */
export function complement(ranges: readonly Range[]): Range[] {
  const gaps: Range[] = [];
  let next = 0;
  for (const [from, to] of normalise(ranges)) {
    gaps.push([next, from - 1]);
    next = to + 1;
  }
  return normalise([...gaps, [next, 0x10ffff]]);
}

/** Both lists are in order and apart. */
export function intersectRanges(a: readonly Range[], b: readonly Range[]): Range[] {
  const both: Range[] = [];
  for (const [from, to] of a) {
    for (const [low, high] of b) if (low <= to && from <= high) both.push([Math.max(from, low), Math.min(to, high)]);
  }
  return both;
}

/** What a state of an implicit automaton is. */
export interface Step<S> {
  readonly accepting: boolean;
  /** Ranges that are in order and apart, each with the state behind it. */
  readonly edges: readonly (readonly [from: number, to: number, next: S])[];
}

/**
 * Makes an automaton of states that a function tells one by one; `key` is the
 * same for equal states. Spends a state each, and steps for its edges.
 */
export function explore<S>(
  start: S,
  key: (state: S) => string,
  step: (state: S) => Step<S>,
  budget: Budget,
): Automaton {
  const ids = new Map<string, number>([[key(start), 0]]);
  const states: S[] = [start];
  const accepting: boolean[] = [];
  const edges: Edge[][] = [];
  for (let id = 0; id < states.length; id++) {
    budget.spend("states");
    const found = step(states[id] as S);
    budget.spend("steps", found.edges.length);
    accepting.push(found.accepting);
    edges.push(
      found.edges.map(([from, to, next]): Edge => {
        const name = key(next);
        let target = ids.get(name);
        if (target === undefined) {
          target = states.push(next) - 1;
          ids.set(name, target);
        }
        return [from, to, target];
      }),
    );
  }
  return reduce({ accepting, edges }, budget);
}

/** Which texts of two automata are in their combination, from whether each accepts. */
export type Combination = "and" | "or" | "minus";

/** The automaton of what both, either, or the first but not the second accepts. */
export function combine(a: Automaton, b: Automaton, how: Combination, budget: Budget): Automaton {
  const dead = -1;
  const alive = (i: number, j: number) =>
    how === "and" ? i !== dead && j !== dead : how === "or" ? i !== dead || j !== dead : i !== dead;
  return explore<readonly [number, number]>(
    [0, 0],
    ([i, j]) => `${i},${j}`,
    ([i, j]) => {
      const left = a.accepting[i] ?? false;
      const right = b.accepting[j] ?? false;
      const edges: [number, number, readonly [number, number]][] = [];
      for (const [from, to, p, q] of overlay(a.edges[i] ?? [], b.edges[j] ?? [], dead)) {
        if (alive(p, q)) edges.push([from, to, [p, q]]);
      }
      return { accepting: how === "and" ? left && right : how === "or" ? left || right : left && !right, edges };
    },
    budget,
  );
}

/** The ranges of two lists of edges, cut so that each piece has one target in each list, or none. */
export function overlay(a: readonly Edge[], b: readonly Edge[], none: number): [number, number, number, number][] {
  const pieces: [number, number, number, number][] = [];
  let i = 0;
  let j = 0;
  let at = 0;
  for (;;) {
    while ((a[i]?.[1] ?? at) < at) i++;
    while ((b[j]?.[1] ?? at) < at) j++;
    const left = a[i];
    const right = b[j];
    if (left === undefined && right === undefined) return pieces;
    const inLeft = left !== undefined && left[0] <= at;
    const inRight = right !== undefined && right[0] <= at;
    const end = Math.min(
      left === undefined ? Infinity : inLeft ? left[1] : left[0] - 1,
      right === undefined ? Infinity : inRight ? right[1] : right[0] - 1,
    );
    if (inLeft || inRight) pieces.push([at, end, inLeft ? left[2] : none, inRight ? right[2] : none]);
    at = end + 1;
  }
}

/** The automaton of exactly these texts. */
export function textsAutomaton(texts: Iterable<string>, budget: Budget): Automaton {
  const accepting: boolean[] = [false];
  const next: Map<number, number>[] = [new Map()];
  for (const text of texts) {
    if (!text.isWellFormed()) continue;
    let state = 0;
    for (const char of text) {
      budget.spend("steps", 4);
      const point = char.codePointAt(0) ?? 0;
      let target = next[state]?.get(point);
      if (target === undefined) {
        target = next.push(new Map()) - 1;
        accepting.push(false);
        next[state]?.set(point, target);
      }
      state = target;
    }
    accepting[state] = true;
  }
  const edges = next.map((row) => [...row].map(([point, target]): Edge => [point, point, target]).sort(byStart));
  const reduced = reduce({ accepting, edges }, budget);
  budget.spend("states", reduced.edges.length);
  return reduced;
}

/** The automaton of texts of so many code points. */
export function lengthAutomaton(min: number, max: number | undefined, budget: Budget): Automaton {
  const last = max ?? min;
  return explore<number>(
    0,
    String,
    (count) => ({
      accepting: count >= min,
      edges:
        count < last
          ? anyChar.map(([from, to]) => [from, to, count + 1] as const)
          : max === undefined
            ? anyChar.map(([from, to]) => [from, to, count] as const)
            : [],
    }),
    budget,
  );
}

export function isEmpty({ accepting, edges }: Automaton): boolean {
  return accepting[0] !== true && (edges[0] ?? []).length === 0;
}

export function matches({ accepting, edges }: Automaton, text: string): boolean {
  let state = 0;
  for (const char of text) {
    const point = char.codePointAt(0) ?? 0;
    const edge = (edges[state] ?? []).find(([from, to]) => from <= point && point <= to);
    if (edge === undefined) return false;
    state = edge[2];
  }
  return accepting[state] ?? false;
}

/** Drops states that reach no accepting one, and makes states with equal edges one. */
function reduce(automaton: Automaton, budget: Budget): Automaton {
  const { accepting, edges } = automaton;
  const useful = canAccept(automaton);
  const order = postOrder(edges);
  budget.spend("steps", edges.length);
  // Equal states behind a state must be one before it is compared, so children first; a cycle takes rounds.
  const chosen = edges.map((_, id) => id);
  let remaining = -1;
  for (let round = 0; round < 4; round++) {
    const bySignature = new Map<string, number>();
    for (const id of order) {
      if (!useful[id]) continue;
      const row = (edges[id] ?? []).filter(([, , target]) => useful[target]);
      budget.spend("steps", row.length);
      const signature = `${accepting[id]};${row.map(([from, to, target]) => `${from},${to},${chosen[target]}`).join(";")}`;
      const same = bySignature.get(signature);
      if (same === undefined) bySignature.set(signature, id);
      chosen[id] = same ?? id;
    }
    if (bySignature.size === remaining) break;
    remaining = bySignature.size;
  }

  const start = useful[0] ? (chosen[0] ?? 0) : 0;
  const ids = new Map<number, number>([[start, 0]]);
  const old = [start];
  const result: { accepting: boolean[]; edges: Edge[][] } = { accepting: [], edges: [] };
  for (let id = 0; id < old.length; id++) {
    const from = old[id] ?? 0;
    result.accepting.push(accepting[from] ?? false);
    const row: [number, number, number][] = [];
    for (const [low, high, target] of edges[from] ?? []) {
      if (!useful[target]) continue;
      const kept = chosen[target] ?? target;
      let renamed = ids.get(kept);
      if (renamed === undefined) {
        renamed = old.push(kept) - 1;
        ids.set(kept, renamed);
      }
      const last = row.at(-1);
      if (last !== undefined && last[2] === renamed && last[1] + 1 === low) last[1] = high;
      else row.push([low, high, renamed]);
    }
    result.edges.push(row);
  }
  return result;
}

/** Whether an accepting state can be reached from each. */
function canAccept({ accepting, edges }: Automaton): boolean[] {
  const before: number[][] = edges.map(() => []);
  edges.forEach((row, id) => {
    for (const [, , target] of row) before[target]?.push(id);
  });
  const useful = accepting.map(() => false);
  const waiting = accepting.flatMap((accepts, id) => (accepts ? [id] : []));
  for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
    if (useful[id]) continue;
    useful[id] = true;
    waiting.push(...(before[id] ?? []));
  }
  return useful;
}

/** The states, each after those that it leads to, cycles apart. */
function postOrder(edges: readonly (readonly Edge[])[]): number[] {
  const order: number[] = [];
  const seen = edges.map(() => false);
  const open: { id: number; next: number }[] = [{ id: 0, next: 0 }];
  seen[0] = true;
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const target = edges[top.id]?.[top.next++]?.[2];
    if (target === undefined) {
      order.push(top.id);
      open.pop();
    } else if (!seen[target]) {
      seen[target] = true;
      open.push({ id: target, next: 0 });
    }
  }
  return order;
}

function byStart(a: Edge, b: Edge): number {
  return a[0] - b[0];
}
