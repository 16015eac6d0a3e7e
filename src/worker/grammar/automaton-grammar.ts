import { type Automaton, intersectRanges } from "./automaton.ts";
import {
  charClass,
  choice,
  type Expression,
  empty,
  type GrammarBuilder,
  literal,
  type OpenRule,
  type Range,
  sequence,
} from "./gbnf.ts";

/** How the characters of an automaton stand in the text of the grammar. */
export interface Spelling {
  /** One of these characters. */
  readonly chars: (ranges: readonly Range[]) => Expression;
  /** What ends the text. */
  readonly end: Expression;
}

/** Each character stands for itself. */
export const plain: Spelling = { chars: charClass, end: empty };

/** Inside a JSON string: what JSON requires to be escaped is, and nothing else; the closing quote ends it. */
export function jsonStringSpelling(builder: GrammarBuilder): Spelling {
  const known = new Map<string, Expression>();
  return {
    end: literal('"'),
    chars(ranges) {
      const bare = charClass(intersectRanges(ranges, unescaped));
      const special = intersectRanges(ranges, escaped);
      if (special.length === 0) return bare;
      const key = special.join(";");
      let escapes = known.get(key);
      if (escapes === undefined) {
        escapes = escapesOf(special);
        if (escapes.kind === "choice") escapes = builder.share("escape", escapes);
        known.set(key, escapes);
      }
      const char = choice(bare, sequence(literal("\\"), escapes));
      return char.kind === "choice" ? builder.share("char", char) : char;
    },
  };
}

/**
 * A right-linear grammar of an automaton: a rule for each state that several
 * lead to or that leads to several. It has one derivation of each text, so
 * that a matcher with a stack follows it without alternatives and its stack
 * doesn't grow.
 */
export function automatonExpression(automaton: Automaton, spelling: Spelling, builder: GrammarBuilder): Expression {
  const { accepting, edges } = automaton;
  const arrivals = edges.map(() => 0);
  const targetsOf = edges.map((row) => {
    const byTarget = new Map<number, Range[]>();
    for (const [from, to, target] of row) {
      const ranges = byTarget.get(target);
      if (ranges === undefined) byTarget.set(target, [[from, to]]);
      else ranges.push([from, to]);
    }
    return [...byTarget];
  });
  for (const targets of targetsOf) for (const [target] of targets) arrivals[target] = (arrivals[target] ?? 0) + 1;

  const isLast = (state: number) => accepting[state] === true && targetsOf[state]?.length === 0;
  const isLink = (state: number) => !accepting[state] && targetsOf[state]?.length === 1 && arrivals[state] === 1;
  const open = new Map<number, OpenRule>();
  const waiting: number[] = [];
  const behind = (state: number): Expression[] => {
    const parts: Expression[] = [];
    let at = state;
    while (isLink(at)) {
      const [next] = targetsOf[at] ?? [];
      if (next === undefined) break;
      parts.push(spelling.chars(next[1]));
      at = next[0];
    }
    if (isLast(at)) return [...parts, spelling.end];
    let rule = open.get(at);
    if (rule === undefined) {
      rule = builder.open("state");
      open.set(at, rule);
      waiting.push(at);
    }
    return [...parts, rule.rule];
  };
  const body = (state: number): Expression =>
    choice(
      ...(targetsOf[state] ?? []).map(([target, ranges]) => sequence(spelling.chars(ranges), ...behind(target))),
      ...(accepting[state] ? [spelling.end] : []),
    );

  const start = body(0);
  for (let state = waiting.pop(); state !== undefined; state = waiting.pop()) open.get(state)?.define(body(state));
  return start;
}

/** Characters that a JSON string holds as they are. */
const unescaped: readonly Range[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x10ffff],
];
const controls: Range = [0, 0x1f];
/** The others. */
const escaped: readonly Range[] = [controls, [0x22, 0x22], [0x5c, 0x5c]];
const letters: readonly (readonly [number, string])[] = [
  [0x22, '"'],
  [0x5c, "\\"],
  [0x08, "b"],
  [0x0c, "f"],
  [0x0a, "n"],
  [0x0d, "r"],
  [0x09, "t"],
];

/** The spellings, behind the backslash, of characters that must be escaped. */
function escapesOf(ranges: readonly Range[]): Expression {
  const byLetter = letters.filter(([point]) => ranges.some(([from, to]) => from <= point && point <= to));
  return choice(
    charClass(pointsOf(byLetter.map(([, letter]) => letter))),
    sequence(literal("u00"), hexPair(intersectRanges(ranges, [controls]))),
  );
}

/** Two hexadecimal digits, in either case, of a control character. */
function hexPair(ranges: readonly Range[]): Expression {
  const highs = [0, 1].map((high) => {
    const digits = Array.from({ length: 16 }, (_, low) => low)
      .filter((low) => ranges.some(([from, to]) => from <= high * 16 + low && high * 16 + low <= to))
      .map((low) => low.toString(16));
    return sequence(literal(String(high)), charClass(pointsOf([...digits, ...digits.map((d) => d.toUpperCase())])));
  });
  return choice(...highs);
}

/** The ranges of some single characters. */
function pointsOf(chars: readonly string[]): Range[] {
  const points = [...new Set(chars.map((char) => char.charCodeAt(0)))].sort((a, b) => a - b);
  const ranges: [number, number][] = [];
  for (const point of points) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] + 1 === point) last[1] = point;
    else ranges.push([point, point]);
  }
  return ranges;
}
