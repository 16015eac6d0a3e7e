import type { Budget } from "./limits.ts";

/** Unicode code points from the first to the second, both included. */
export type Range = readonly [from: number, to: number];

/**
 * An expression of a grammar. Made by the functions of this file, which keep
 * it small: {@link never} matches nothing, {@link empty} the empty text.
 */
export type Expression =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "class"; readonly ranges: readonly Range[] }
  | { readonly kind: "sequence"; readonly items: readonly Expression[] }
  | { readonly kind: "choice"; readonly options: readonly Expression[] }
  /** `max` undefined: without bound. */
  | { readonly kind: "repeat"; readonly item: Expression; readonly min: number; readonly max: number | undefined }
  | { readonly kind: "rule"; readonly name: string };

/** A finished grammar. */
export interface Grammar {
  /** By name, in the order of the text; the first is `root`. */
  readonly rules: ReadonlyMap<string, Expression>;
  /** The same as llama.cpp's GBNF (grammars/README.md of llama.cpp). ASCII only. */
  readonly text: string;
}

export const never: Expression = { kind: "choice", options: [] };
export const empty: Expression = { kind: "literal", text: "" };

/** This text. One with U+0000, where llama.cpp's texts end, can't be matched. */
export function literal(text: string): Expression {
  if (text.includes("\0")) return never;
  return text === "" ? empty : { kind: "literal", text };
}

/** One character of these ranges, which are in order and apart, but for U+0000. */
export function charClass(ranges: readonly Range[]): Expression {
  const [first] = ranges;
  if (first === undefined) return never;
  if (first[0] === 0) return charClass(first[1] === 0 ? ranges.slice(1) : [[1, first[1]], ...ranges.slice(1)]);
  if (ranges.length === 1 && first[0] === first[1]) return literal(String.fromCodePoint(first[0]));
  return { kind: "class", ranges };
}

export function sequence(...parts: readonly Expression[]): Expression {
  const items: Expression[] = [];
  for (const part of parts) {
    if (part === never) return never;
    const last = items.at(-1);
    if (part.kind === "literal" && last?.kind === "literal") items[items.length - 1] = literal(last.text + part.text);
    else if (part.kind === "sequence" && part.items.length <= 8) items.push(...part.items);
    else if (part !== empty) items.push(part);
  }
  const [only = empty] = items;
  return items.length <= 1 ? only : { kind: "sequence", items };
}

export function choice(...parts: readonly Expression[]): Expression {
  const options = parts.filter((part) => part !== never);
  const [only = never] = options;
  return options.length <= 1 ? only : { kind: "choice", options };
}

/** A rule that may be used before it is defined. */
export interface OpenRule {
  readonly rule: Expression;
  define(expression: Expression): void;
}

/** Collects the rules of a grammar; they are named after their kind, in the order in which they are made. */
export interface GrammarBuilder {
  readonly budget: Budget;
  /** The rules so far, but for those that are not defined yet. */
  readonly rules: ReadonlyMap<string, Expression>;
  /** A reference to a rule of this content. Equal content is one rule. */
  share(kind: string, expression: Expression): Expression;
  /** A rule for content that refers to itself. */
  open(kind: string): OpenRule;
  /** `min` to `max` items (undefined: any number), which can't be empty. Its size grows with the logarithm of the bounds. */
  repeat(item: Expression, min: number, max: number | undefined): Expression;
  /** Tells whether some finite text matches an expression of the rules so far. */
  possible(): (expression: Expression) => boolean;
  /** The grammar from this root; undefined where no finite text matches. */
  build(root: Expression): Grammar | undefined;
}

/** Repetitions up to this are left to llama.cpp, which unrolls them. Above 2,000 it drops the bound. */
const unrolled = 32;

/** Throws the budget's `invalid_request` when there are too many rules or the text becomes too long. */
export function createGrammarBuilder(budget: Budget): GrammarBuilder {
  const rules = new Map<string, Expression>();
  const shared = new Map<string, Expression>();
  const counts = new Map<string, number>();

  const reserve = (kind: string): string => {
    budget.spend("rules");
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    return `${kind}-${count}`;
  };
  const share = (kind: string, expression: Expression): Expression => {
    if (expression === never || expression.kind === "rule") return expression;
    const key = print(expression);
    const found = shared.get(key);
    if (found !== undefined) return found;
    const name = reserve(kind);
    rules.set(name, expression);
    const rule: Expression = { kind: "rule", name };
    shared.set(key, rule);
    return rule;
  };

  const times = (item: Expression, min: number, max: number | undefined): Expression => {
    if (max === 0) return empty;
    return min === 1 && max === 1 ? item : { kind: "repeat", item, min, max };
  };
  const exactly = (item: Expression, count: number): Expression => {
    if (count <= unrolled) return times(item, count, count);
    const half = share("repeat", exactly(item, Math.floor(count / 2)));
    return sequence(half, half, count % 2 === 1 ? item : empty);
  };
  // At least half of them, or fewer than that: at any time about two stacks a level are alive in the matcher.
  const atMost = (item: Expression, count: number, known = new Map<number, Expression>()): Expression => {
    if (count <= unrolled) return times(item, 0, count);
    let found = known.get(count);
    if (found === undefined) {
      const half = Math.ceil((count + 1) / 2);
      const [more, fewer] = [atMost(item, count - half, known), atMost(item, half - 1, known)];
      found = share("repeat", choice(sequence(exactly(item, half), more), fewer));
      known.set(count, found);
    }
    return found;
  };

  return {
    budget,
    rules,
    share,
    open(kind) {
      const name = reserve(kind);
      return {
        rule: { kind: "rule", name },
        define: (expression) => rules.set(name, expression),
      };
    },
    repeat(item, min, max) {
      if (max !== undefined && max < min) return never;
      if (item === never) return min === 0 ? empty : never;
      const single = isSmall(item) ? item : share("item", item);
      if (max === undefined && min <= unrolled) return times(single, min, undefined);
      return sequence(
        exactly(single, min),
        max === undefined ? times(single, 0, undefined) : atMost(single, max - min),
      );
    },
    possible() {
      const productive = productiveRules(rules);
      return (expression) => isProductive(expression, productive);
    },
    build: (root) => finish(rules, root, budget),
  };
}

/** Whether a repetition may copy this instead of a reference to it. */
function isSmall(item: Expression): boolean {
  return item.kind === "rule" || item.kind === "literal" || (item.kind === "class" && item.ranges.length <= 3);
}

/**
 * Leaves out what can't end in a finite text and what the root doesn't reach,
 * and makes rules of equal content one. What is left is in the order of a walk
 * from the root: llama.cpp's search for left recursion visits a rule once more
 * for every earlier rule that comes after it in the text.
 */
function finish(rules: ReadonlyMap<string, Expression>, root: Expression, budget: Budget): Grammar | undefined {
  const productive = productiveRules(rules);
  const all = new Map<string, Expression>();
  for (const [name, expression] of rules) {
    if (productive.has(name))
      all.set(
        name,
        rewrite(expression, (rule) => (productive.has(rule) ? rule : undefined)),
      );
  }
  const start = rewrite(root, (rule) => (productive.has(rule) ? rule : undefined));
  if (start === never) return undefined;
  all.set("root", start);
  mergeEqual(all);

  const reached = new Map<string, Expression>();
  const waiting = ["root"];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const expression = all.get(name);
    if (expression === undefined || reached.has(name)) continue;
    reached.set(name, expression);
    waiting.push(...references(expression).reverse());
  }
  const lines: string[] = [];
  for (const [name, expression] of reached) {
    const line = `${name} ::= ${print(expression)}\n`;
    budget.spend("grammarChars", line.length);
    lines.push(line);
  }
  return { rules: reached, text: lines.join("") };
}

/** Names of the rules from which a finite text can be derived. */
function productiveRules(rules: ReadonlyMap<string, Expression>): ReadonlySet<string> {
  const productive = new Set<string>();
  const users = new Map<string, string[]>();
  for (const [name, expression] of rules) {
    for (const used of references(expression)) {
      const list = users.get(used);
      if (list === undefined) users.set(used, [name]);
      else list.push(name);
    }
  }
  const waiting = [...rules.keys()].reverse();
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const expression = rules.get(name);
    if (expression === undefined || productive.has(name) || !isProductive(expression, productive)) continue;
    productive.add(name);
    waiting.push(...(users.get(name) ?? []));
  }
  return productive;
}

function isProductive(expression: Expression, productive: ReadonlySet<string>): boolean {
  switch (expression.kind) {
    case "literal":
    case "class":
      return true;
    case "sequence":
      return expression.items.every((item) => isProductive(item, productive));
    case "choice":
      return expression.options.some((option) => isProductive(option, productive));
    case "repeat":
      return expression.min === 0 || isProductive(expression.item, productive);
    case "rule":
      return productive.has(expression.name);
    default:
      return expression satisfies never;
  }
}

/** Names of the rules that an expression uses, in order. */
export function references(expression: Expression): string[] {
  switch (expression.kind) {
    case "literal":
    case "class":
      return [];
    case "sequence":
      return expression.items.flatMap(references);
    case "choice":
      return expression.options.flatMap(references);
    case "repeat":
      return references(expression.item);
    case "rule":
      return [expression.name];
    default:
      return expression satisfies never;
  }
}

/** The expression with rules renamed, and those without a name left out. */
function rewrite(expression: Expression, rename: (rule: string) => string | undefined): Expression {
  switch (expression.kind) {
    case "literal":
    case "class":
      return expression;
    case "sequence":
      return sequence(...expression.items.map((item) => rewrite(item, rename)));
    case "choice":
      return choice(...expression.options.map((option) => rewrite(option, rename)));
    case "repeat": {
      const item = rewrite(expression.item, rename);
      if (item !== never) return { ...expression, item };
      return expression.min === 0 ? empty : never;
    }
    case "rule": {
      const name = rename(expression.name);
      return name === undefined ? never : { kind: "rule", name };
    }
    default:
      return expression satisfies never;
  }
}

/** Makes rules of equal text one, a few rounds: each brings the next level of equal rules to light. */
function mergeEqual(rules: Map<string, Expression>): void {
  for (let round = 0; round < 4; round++) {
    const byText = new Map<string, string>();
    const same = new Map<string, string>();
    for (const [name, expression] of rules) {
      if (name === "root") continue;
      const text = print(expression);
      const first = byText.get(text);
      if (first === undefined) byText.set(text, name);
      else same.set(name, first);
    }
    if (same.size === 0) return;
    for (const name of same.keys()) rules.delete(name);
    for (const [name, expression] of rules)
      rules.set(
        name,
        rewrite(expression, (rule) => same.get(rule) ?? rule),
      );
  }
}

/** The expression in GBNF, as it stands after `::=`. */
function print(expression: Expression): string {
  switch (expression.kind) {
    case "literal":
      return `"${Array.from(expression.text, (char) => spell(char.codePointAt(0) ?? 0, '"\\')).join("")}"`;
    case "class":
      return `[${expression.ranges.map(printRange).join("")}]`;
    case "sequence":
      return expression.items.map(group).join(" ");
    case "choice":
      return expression.options.map(print).join(" | ");
    case "repeat":
      return `${group(expression.item)}${quantifier(expression.min, expression.max)}`;
    case "rule":
      return expression.name;
    default:
      return expression satisfies never;
  }
}

function group(item: Expression): string {
  return item.kind === "choice" || item.kind === "sequence" ? `(${print(item)})` : print(item);
}

function quantifier(min: number, max: number | undefined): string {
  if (max === undefined) return min === 0 ? "*" : min === 1 ? "+" : `{${min},}`;
  if (min === 0 && max === 1) return "?";
  return min === max ? `{${min}}` : `{${min},${max}}`;
}

function printRange([from, to]: Range): string {
  const first = spell(from, "\\[]-^");
  return from === to ? first : `${first}-${spell(to, "\\[]-^")}`;
}

/** llama.cpp knows few escapes by letter; the rest is spelt as a number. */
function spell(codePoint: number, special: string): string {
  const char = String.fromCodePoint(codePoint);
  if (special.includes(char)) return char === "^" ? "\\x5E" : `\\${char}`;
  if (codePoint >= 0x20 && codePoint < 0x7f) return char;
  if (codePoint === 0x0a) return "\\n";
  if (codePoint <= 0xff) return `\\x${hex(codePoint, 2)}`;
  return codePoint <= 0xffff ? `\\u${hex(codePoint, 4)}` : `\\U${hex(codePoint, 8)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
}
