import { type Automaton, explore } from "./automaton.ts";
import { type Decimal, gcd } from "./decimal.ts";
import type { Budget } from "./limits.ts";

/** A bound of a number. */
export interface Bound {
  readonly value: Decimal;
  readonly exclusive: boolean;
}

/** What JSON Schema can say about a number. */
export interface NumberRules {
  readonly integer: boolean;
  readonly min: Bound | undefined;
  readonly max: Bound | undefined;
  readonly multipleOf: Decimal | undefined;
}

/** Digits before the decimal point, and after it: enough for all 64-bit integers. */
export const maxDigits = 20;
/** Decimal numbers of so many digits are different doubles (DBL_DIG). */
const doubleDigits = 15;
/** Largest `multipleOf`, in units of its last digit: each is so many states. */
const maxModulus = 1_000n;

/**
 * The automaton of the decimal spellings, without exponent, of the numbers
 * that keep to the rules: exactly, as decimals, and also once the text has
 * been read into a double. Undefined, with a reason, where the rules are
 * beyond it.
 */
export function numberAutomaton(rules: NumberRules, budget: Budget): Automaton | { readonly reason: string } {
  const min = rules.min && boundDigits(rules.min);
  const max = rules.max && boundDigits(rules.max);
  let fraction = rules.integer ? 0 : maxDigits;
  for (const bound of [min, max]) {
    if (bound === undefined || rules.integer || !bound.exclusive) continue;
    // Just below 1 there are decimals whose nearest double is 1.
    if (bound.integer.length + bound.fraction.length > doubleDigits) {
      return { reason: `an exclusive bound of more than ${doubleDigits} digits` };
    }
    fraction = Math.min(fraction, doubleDigits - bound.integer.length);
  }
  let modulus = 1n;
  let unit = fraction;
  if (rules.multipleOf !== undefined) {
    const { digits, scale } = rules.multipleOf;
    if (rules.integer) {
      // Integers that are multiples of a/10^k in lowest terms are multiples of a.
      modulus = digits / gcd(digits, 10n ** BigInt(scale));
      unit = 0;
    } else {
      modulus = digits;
      unit = Math.min(scale, maxDigits);
      if (scale > fraction) return { reason: `\`multipleOf\` with more than ${fraction} decimals` };
      fraction = scale;
    }
    if (modulus > maxModulus) return { reason: `\`multipleOf\` above ${maxModulus} units of its last digit` };
  }
  return explore<State>(
    start,
    stateKey,
    (state) => step(state, { min, max, modulus: Number(modulus), fraction, unit }),
    budget,
  );
}

interface BoundDigits {
  readonly negative: boolean;
  readonly exclusive: boolean;
  readonly integer: string;
  readonly fraction: string;
}

interface Context {
  readonly min: BoundDigits | undefined;
  readonly max: BoundDigits | undefined;
  /** Small: its products with 10 are exact. */
  readonly modulus: number;
  /** Most digits after the point. */
  readonly fraction: number;
  /** The remainder is counted in units of so many digits after the point. */
  readonly unit: number;
}

/** Where the reading of a number's text stands. */
interface State {
  readonly phase: "start" | "minus" | "zero" | "integer" | "point" | "fraction";
  readonly negative: boolean;
  /** Digits of the part that is being read. */
  readonly count: number;
  readonly nonzero: boolean;
  /** The magnitude so far against that of the bounds: of its first digits, in the integer part. */
  readonly toMin: number;
  readonly toMax: number;
  readonly remainder: number;
}

const start: State = {
  phase: "start",
  negative: false,
  count: 0,
  nonzero: false,
  toMin: 0,
  toMax: 0,
  remainder: 0,
};

function stateKey({ phase, negative, count, nonzero, toMin, toMax, remainder }: State): string {
  return `${phase}${negative ? "-" : ""}${count}${nonzero ? "+" : ""},${toMin},${toMax},${remainder}`;
}

function step(state: State, context: Context): { accepting: boolean; edges: [number, number, State][] } {
  const { phase } = state;
  const edges: [number, number, State][] = [];
  const add = (char: string, next: State) => {
    if (!isHopeless(next, context)) edges.push([char.charCodeAt(0), char.charCodeAt(0), next]);
  };
  const digit = (value: number, next: "zero" | "integer" | "fraction") => {
    const index = next === "fraction" && phase !== "fraction" ? 0 : state.count;
    const compare = (result: number, bound: BoundDigits | undefined) => {
      if (bound === undefined || result !== 0) return result;
      const other = (next === "fraction" ? bound.fraction : bound.integer)[index];
      // Where the bound has no further integer digits the lengths decide, later.
      if (other === undefined && next !== "fraction") return result;
      return Math.sign(value - Number(other ?? 0));
    };
    add(String(value), {
      phase: next,
      negative: state.negative,
      count: index + 1,
      nonzero: state.nonzero || value > 0,
      toMin: compare(state.toMin, context.min),
      toMax: compare(state.toMax, context.max),
      remainder: (state.remainder * 10 + value) % context.modulus,
    });
  };

  if (phase === "start") add("-", { ...state, phase: "minus", negative: true });
  if (phase === "start" || phase === "minus") {
    digit(0, "zero");
    for (let value = 1; value <= 9; value++) digit(value, "integer");
  }
  if (phase === "integer" && state.count < maxDigits) for (let value = 0; value <= 9; value++) digit(value, "integer");
  if ((phase === "zero" || phase === "integer") && context.fraction > 0) {
    const resolved = {
      toMin: byLength(state, context.min, state.toMin),
      toMax: byLength(state, context.max, state.toMax),
    };
    add(".", { ...state, ...resolved, phase: "point", count: 0 });
  }
  if (phase === "point" || (phase === "fraction" && state.count < context.fraction)) {
    for (let value = 0; value <= 9; value++) digit(value, "fraction");
  }
  return { accepting: accepts(state, context), edges };
}

/** The comparison of magnitudes once the integer part is whole. */
function byLength(state: State, bound: BoundDigits | undefined, result: number): number {
  if (bound === undefined || state.count === bound.integer.length) return result;
  return state.count < bound.integer.length ? -1 : 1;
}

function accepts(state: State, context: Context): boolean {
  const { phase, negative } = state;
  if (phase !== "zero" && phase !== "integer" && phase !== "fraction") return false;
  // −0 is 0: spelt without the sign.
  if (negative && !state.nonzero) return false;
  const decimals = phase === "fraction" ? state.count : 0;
  let { remainder } = state;
  for (let missing = context.unit - decimals; missing > 0; missing--) remainder = (remainder * 10) % context.modulus;
  if (remainder !== 0) return false;
  const against = (bound: BoundDigits, result: number): number => {
    let magnitude = result;
    if (phase !== "fraction") magnitude = byLength(state, bound, result);
    if (magnitude === 0 && decimals < bound.fraction.length) magnitude = -1;
    if (negative) return bound.negative ? -magnitude : -1;
    return bound.negative ? 1 : magnitude;
  };
  if (context.min !== undefined) {
    const order = against(context.min, state.toMin);
    if (order < 0 || (order === 0 && context.min.exclusive)) return false;
  }
  if (context.max !== undefined) {
    const order = against(context.max, state.toMax);
    if (order > 0 || (order === 0 && context.max.exclusive)) return false;
  }
  return true;
}

/** Whether the sign and the length alone put a number beyond a bound. Only spares work. */
function isHopeless({ phase, negative, count }: State, { min, max }: Context): boolean {
  if (negative && min !== undefined && !min.negative) return true;
  const outer = negative ? min : max;
  return phase === "integer" && outer !== undefined && outer.negative === negative && count > outer.integer.length;
}

/** Digits of a bound. Bounds beyond the longest number are beyond all of them. */
function boundDigits({ value, exclusive }: Bound): BoundDigits {
  const text = value.digits.toString().padStart(value.scale + 1, "0");
  const cut = text.length - value.scale;
  return { negative: value.negative, exclusive, integer: text.slice(0, cut), fraction: text.slice(cut) };
}
