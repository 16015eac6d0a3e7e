import { type Automaton, anyChar, complement, explore, normalise } from "./automaton.ts";
import { automatonExpression, plain } from "./automaton-grammar.ts";
import { createGrammarBuilder, type Expression, type Grammar, type GrammarBuilder, type Range } from "./gbnf.ts";
import { quoted } from "./json-text.ts";
import { type Budget, createBudget, grammarLimits } from "./limits.ts";

/** Where the match may lie: the whole text, as guided decoding has it, or anywhere in it, as JSON Schema's `pattern`. */
export type Anchoring = "whole" | "anywhere";

type Node =
  | { readonly kind: "class"; readonly ranges: readonly Range[] }
  | { readonly kind: "sequence"; readonly items: readonly Node[] }
  | { readonly kind: "choice"; readonly options: readonly Node[] }
  | { readonly kind: "repeat"; readonly item: Node; readonly min: number; readonly max: number | undefined }
  | { readonly kind: "start" }
  | { readonly kind: "end" };

/**
 * A grammar of the texts that a regular expression matches as a whole; `^` and
 * `$` change nothing at its ends. `param` is the request field. Throws
 * `invalid_request` where {@link regexAutomaton} does, and where no text matches.
 */
export function compileRegex(source: string, param: string): Grammar {
  const builder = createGrammarBuilder(createBudget(param));
  const grammar = builder.build(regexExpression(source, param, builder));
  if (grammar === undefined) throw new Error("the grammar is empty");
  return grammar;
}

/** What {@link compileRegex} compiles, as a part of a grammar. */
export function regexExpression(source: string, param: string, builder: GrammarBuilder): Expression {
  const budget = builder.budget.for(param);
  budget.checkLength(source.length);
  const automaton = regexAutomaton(source, "whole", budget, `\`${param}\``);
  const expression = automatonExpression(automaton, plain, builder);
  if (builder.possible()(expression)) return expression;
  throw budget.refuse(`no text matches the regular expression in \`${param}\``);
}

/**
 * The automaton of an ECMAScript regular expression (ECMA-262, 22.2, as with
 * the flag `u`; an escaped punctuation mark is itself also where `u` forbids
 * it). Groups only group; lazy quantifiers match what greedy ones do; `.`
 * excludes the four line terminators. Lookaround, backreferences, `\b`, `\B`,
 * `\p` and inline flags throw the budget's `invalid_request` with their
 * position; `place` says where the expression stands.
 */
export function regexAutomaton(source: string, anchoring: Anchoring, budget: Budget, place: string): Automaton {
  return determinise(parseRegex(source, budget, place), anchoring, budget);
}

const digits: readonly Range[] = [[0x30, 0x39]];
const wordChars: readonly Range[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
/** ECMA-262's WhiteSpace and LineTerminator. */
const spaces: readonly Range[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const notDot: readonly Range[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const classEscapes: Readonly<Record<string, readonly Range[]>> = {
  d: digits,
  D: complement(digits),
  w: wordChars,
  W: complement(wordChars),
  s: spaces,
  S: complement(spaces),
};
const controlEscapes: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, "0": 0 };
const dot = complement(notDot);

function parseRegex(source: string, budget: Budget, place: string): Node {
  const chars = Array.from(source);
  let at = 0;
  let depth = 0;
  const fail = (what: string, position = at) =>
    budget.refuse(`${what} at character ${position} of the regular expression ${quoted(source)} in ${place}`);
  const unsupported = (what: string, position: number) => fail(`${what} can't be expressed as a grammar:`, position);
  const take = (char: string): boolean => {
    if (chars[at] !== char) return false;
    at++;
    return true;
  };

  const parseChoice = (): Node => {
    if (++depth > grammarLimits.depth) throw fail(`groups nest deeper than ${grammarLimits.depth}`);
    const options = [parseSequence()];
    while (take("|")) options.push(parseSequence());
    depth--;
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { kind: "choice", options };
  };
  const parseSequence = (): Node => {
    const items: Node[] = [];
    while (at < chars.length && chars[at] !== "|" && chars[at] !== ")") {
      budget.spend("steps");
      const atom = parseAtom();
      const quantifier = parseQuantifier();
      if (quantifier === undefined) items.push(atom);
      else if (atom.kind === "start" || atom.kind === "end") throw fail("a quantifier after an anchor");
      else items.push({ kind: "repeat", item: atom, ...quantifier });
    }
    return { kind: "sequence", items };
  };
  const parseQuantifier = (): { min: number; max: number | undefined } | undefined => {
    const begin = at;
    let bounds: { min: number; max: number | undefined };
    if (take("*")) bounds = { min: 0, max: undefined };
    else if (take("+")) bounds = { min: 1, max: undefined };
    else if (take("?")) bounds = { min: 0, max: 1 };
    else {
      const braces = parseBraces();
      if (braces === undefined) return undefined;
      bounds = braces;
    }
    if (bounds.max !== undefined && bounds.max < bounds.min) throw fail("a quantifier with its bounds reversed", begin);
    // Greedy or lazy, the same texts match. A possessive quantifier is no ECMAScript.
    take("?");
    if (chars[at] === "*" || chars[at] === "+" || chars[at] === "?" || bracesAt(at) !== undefined) {
      throw fail("a quantifier after a quantifier");
    }
    return bounds;
  };
  const bracesAt = (position: number) =>
    /^\{(\d*)(,?)(\d*)\}/.exec(chars.slice(position, position + 24).join("")) ?? undefined;
  const parseBraces = (): { min: number; max: number | undefined } | undefined => {
    if (chars[at] !== "{") return undefined;
    const [text, low = "", comma, high = ""] = bracesAt(at) ?? [];
    // Elsewhere a lone brace is itself or an error, and {,n} is {0,n} in other dialects only.
    if (text === undefined || low === "") throw fail("a { that begins no quantifier (write \\{)");
    at += text.length;
    return { min: Number(low), max: comma === "" ? Number(low) : high === "" ? undefined : Number(high) };
  };
  const parseAtom = (): Node => {
    const begin = at;
    const char = chars[at++] ?? "";
    switch (char) {
      case "^":
        return { kind: "start" };
      case "$":
        return { kind: "end" };
      case ".":
        return { kind: "class", ranges: dot };
      case "[":
        return { kind: "class", ranges: parseClass(begin) };
      case "(":
        return parseGroup(begin);
      case "*":
      case "+":
      case "?":
        throw fail("a quantifier with nothing before it", begin);
      case "{":
        throw fail("a { that begins no quantifier (write \\{)", begin);
      case "\\":
        return { kind: "class", ranges: parseEscape(begin, false) };
      default:
        return { kind: "class", ranges: single(char.codePointAt(0) ?? 0, begin) };
    }
  };
  const parseGroup = (begin: number): Node => {
    if (take("?")) {
      if (take("=") || take("!")) throw unsupported("lookahead", begin);
      if (take("<")) {
        if (take("=") || take("!")) throw unsupported("lookbehind", begin);
        const name = chars.slice(at, at + 64).join("");
        const found = /^[\p{ID_Start}$_][\p{ID_Continue}$]*>/u.exec(name)?.[0];
        if (found === undefined) throw fail("a malformed group name");
        at += Array.from(found).length;
      } else if (!take(":")) {
        throw unsupported(chars[at] === "P" ? "the group (?P" : "an inline flag", begin);
      }
    }
    const node = parseChoice();
    if (!take(")")) throw fail("a group without its )", begin);
    return node;
  };
  const parseClass = (begin: number): Range[] => {
    const negated = take("^");
    const ranges: Range[] = [];
    while (!take("]")) {
      budget.spend("steps");
      const position = at;
      if (at >= chars.length) throw fail("a class without its ]", begin);
      const first = parseClassAtom();
      if (chars[at] !== "-" || chars[at + 1] === "]" || at + 1 >= chars.length) {
        ranges.push(...first);
        continue;
      }
      at++;
      const last = parseClassAtom();
      const [from, to] = [pointOf(first), pointOf(last)];
      if (from === undefined || to === undefined) throw fail("a range that begins or ends with a class", position);
      if (from > to) throw fail("a range whose end is before its start", position);
      ranges.push([from, to]);
    }
    return negated ? complement(ranges) : normalise(ranges);
  };
  const parseClassAtom = (): readonly Range[] => {
    const begin = at;
    const char = chars[at++] ?? "";
    return char === "\\" ? parseEscape(begin, true) : single(char.codePointAt(0) ?? 0, begin);
  };
  const parseEscape = (begin: number, inClass: boolean): readonly Range[] => {
    const char = chars[at++];
    if (char === undefined) throw fail("a \\ at the end", begin);
    const ranges = Object.hasOwn(classEscapes, char) ? classEscapes[char] : undefined;
    if (ranges !== undefined) return ranges;
    if (inClass && char === "b") return single(8, begin);
    if (char === "b" || char === "B") throw unsupported(`the word boundary \\${char}`, begin);
    if (char === "p" || char === "P") throw unsupported(`the Unicode property \\${char}`, begin);
    if (char === "k" || /[1-9]/.test(char)) throw unsupported("a backreference", begin);
    if (char === "0" && /[0-9]/.test(chars[at] ?? "")) throw fail("an octal escape", begin);
    const control = Object.hasOwn(controlEscapes, char) ? controlEscapes[char] : undefined;
    if (control !== undefined) return single(control, begin);
    if (char === "c") {
      const letter = chars[at++] ?? "";
      if (!/^[A-Za-z]$/.test(letter)) throw fail("a malformed \\c", begin);
      return single(letter.charCodeAt(0) % 32, begin);
    }
    if (char === "x") return single(parseHex(2, begin), begin);
    if (char === "u") return single(parseUnicode(begin), begin);
    if (/[A-Za-z0-9_]/.test(char)) throw fail(`the unknown escape \\${char}`, begin);
    return single(char.codePointAt(0) ?? 0, begin);
  };
  const parseHex = (length: number, begin: number): number => {
    const text = chars.slice(at, at + length).join("");
    if (text.length !== length || !/^[0-9A-Fa-f]+$/.test(text)) throw fail("a malformed hexadecimal escape", begin);
    at += length;
    return Number.parseInt(text, 16);
  };
  const parseUnicode = (begin: number): number => {
    if (take("{")) {
      const end = chars.indexOf("}", at);
      const text = chars.slice(at, end).join("");
      if (end < 0 || !/^[0-9A-Fa-f]{1,8}$/.test(text)) throw fail("a malformed hexadecimal escape", begin);
      at = end + 1;
      return Number.parseInt(text, 16);
    }
    const unit = parseHex(4, begin);
    if (unit < 0xd800 || unit > 0xdbff || chars[at] !== "\\" || chars[at + 1] !== "u") return unit;
    at += 2;
    const low = parseHex(4, begin);
    if (low < 0xdc00 || low > 0xdfff) throw fail("a lone surrogate", begin);
    return (unit - 0xd800) * 0x400 + (low - 0xdc00) + 0x10000;
  };
  const single = (point: number, position: number): Range[] => {
    if (point > 0x10ffff) throw fail("a code point above 10FFFF", position);
    if (point >= 0xd800 && point <= 0xdfff) throw fail("a lone surrogate", position);
    return [[point, point]];
  };

  const node = parseChoice();
  if (at < chars.length) throw fail("a ) without its group");
  return node;
}

/** The code point of a class of one. */
function pointOf(ranges: readonly Range[]): number | undefined {
  const [range] = ranges;
  return ranges.length === 1 && range !== undefined && range[0] === range[1] ? range[0] : undefined;
}

/**
 * A nondeterministic automaton (Thompson 1968). `atStart` edges are free while
 * nothing has been read; after an `atEnd` edge nothing may be read any more.
 */
interface Nfa {
  readonly free: number[][];
  readonly atStart: number[][];
  readonly atEnd: number[][];
  readonly moves: { ranges: readonly Range[]; target: number }[][];
}

function determinise(root: Node, anchoring: Anchoring, budget: Budget): Automaton {
  const nfa: Nfa = { free: [], atStart: [], atEnd: [], moves: [] };
  const state = (): number => {
    budget.spend("states");
    nfa.atStart.push([]);
    nfa.atEnd.push([]);
    nfa.moves.push([]);
    return nfa.free.push([]) - 1;
  };
  const build = (node: Node, from: number): number => {
    switch (node.kind) {
      case "class": {
        const target = state();
        nfa.moves[from]?.push({ ranges: node.ranges, target });
        return target;
      }
      case "sequence":
        return node.items.reduce((at, item) => build(item, at), from);
      case "choice": {
        const end = state();
        for (const option of node.options) {
          const begin = state();
          nfa.free[from]?.push(begin);
          nfa.free[build(option, begin)]?.push(end);
        }
        return end;
      }
      case "repeat": {
        let at = from;
        for (let i = 0; i < node.min; i++) at = build(node.item, at);
        const end = state();
        if (node.max === undefined) {
          const loop = state();
          nfa.free[at]?.push(loop);
          nfa.free[build(node.item, loop)]?.push(loop);
          nfa.free[loop]?.push(end);
          return end;
        }
        for (let i = node.min; i < node.max; i++) {
          nfa.free[at]?.push(end);
          // A state of its own, so that the way to the end is not open to what comes round again.
          const begin = state();
          nfa.free[at]?.push(begin);
          at = build(node.item, begin);
        }
        nfa.free[at]?.push(end);
        return end;
      }
      case "start": {
        const target = state();
        nfa.atStart[from]?.push(target);
        return target;
      }
      case "end": {
        const target = state();
        nfa.atEnd[from]?.push(target);
        return target;
      }
      default:
        return node satisfies never;
    }
  };
  const start = state();
  if (anchoring === "anywhere") nfa.moves[start]?.push({ ranges: anyChar, target: start });
  const begin = state();
  nfa.free[start]?.push(begin);
  const accept = build(root, begin);
  if (anchoring === "anywhere") nfa.moves[accept]?.push({ ranges: anyChar, target: accept });

  /** Members are `state * 2`, plus 1 where nothing may be read any more. */
  const close = (members: readonly number[], first: boolean): number[] => {
    const seen = new Set<number>();
    const waiting = [...members];
    for (let member = waiting.pop(); member !== undefined; member = waiting.pop()) {
      if (seen.has(member)) continue;
      seen.add(member);
      budget.spend("steps");
      const [at, ended] = [member >> 1, member & 1];
      for (const next of nfa.free[at] ?? []) waiting.push(next * 2 + ended);
      if (first) for (const next of nfa.atStart[at] ?? []) waiting.push(next * 2 + ended);
      for (const next of nfa.atEnd[at] ?? []) waiting.push(next * 2 + 1);
    }
    return [...seen].sort((a, b) => a - b);
  };
  return explore<readonly number[]>(
    close([start * 2], true),
    (members) => members.join(),
    (members) => {
      const moves = members.filter((m) => (m & 1) === 0).flatMap((m) => nfa.moves[m >> 1] ?? []);
      const closed = new Map<string, readonly number[]>();
      const edges: [number, number, readonly number[]][] = [];
      for (const [from, to, targets] of segments(moves, budget)) {
        const key = targets.join();
        let next = closed.get(key);
        if (next === undefined) {
          next = close(targets, false);
          closed.set(key, next);
        }
        edges.push([from, to, next]);
      }
      return { accepting: members.includes(accept * 2) || members.includes(accept * 2 + 1), edges };
    },
    budget,
  );
}

/** The moves' ranges, cut so that each piece leads to the same states throughout. */
function segments(moves: readonly { ranges: readonly Range[]; target: number }[], budget: Budget) {
  const events: { at: number; target: number; enter: boolean }[] = [];
  for (const { ranges, target } of moves) {
    for (const [from, to] of ranges) {
      events.push({ at: from, target, enter: true }, { at: to + 1, target, enter: false });
    }
  }
  budget.spend("steps", 6 * events.length);
  events.sort((a, b) => a.at - b.at);
  const active = new Map<number, number>();
  const pieces: [number, number, number[]][] = [];
  let begin = 0;
  for (const { at, target, enter } of events) {
    if (at > begin && active.size > 0) {
      budget.spend("steps", active.size);
      pieces.push([begin, at - 1, [...active.keys()].map((state) => state * 2).sort((a, b) => a - b)]);
    }
    begin = at;
    const count = (active.get(target) ?? 0) + (enter ? 1 : -1);
    if (count === 0) active.delete(target);
    else active.set(target, count);
  }
  return pieces;
}

/** A regular expression of exactly this text. */
export function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
