import { complement, normalise } from "./automaton.ts";
import {
  charClass,
  choice,
  createGrammarBuilder,
  type Expression,
  empty,
  type Grammar,
  type GrammarBuilder,
  literal,
  type OpenRule,
  type Range,
  references,
  sequence,
} from "./gbnf.ts";
import { type Budget, createBudget, grammarLimits } from "./limits.ts";

/** The most that a repetition may count to. */
const mostRepeated = 100_000;
/** Steps of llama.cpp's search for left recursion, which follows every way to a rule. */
const mostSearched = 200_000;

/** A grammar that a request brings. Throws as {@link gbnfExpression} does. */
export function compileGbnf(source: string, param: string): Grammar {
  const builder = createGrammarBuilder(createBudget(param));
  const grammar = builder.build(gbnfExpression(source, param, builder));
  if (grammar === undefined) throw new Error("the grammar is empty");
  return grammar;
}

/**
 * Reads GBNF (grammars/README.md and src/llama-grammar.cpp of llama.cpp) and
 * makes it part of a grammar of ours, so that llama.cpp never sees the text:
 * a left recursion that it overlooks ends the process, and of repetitions above
 * 2,000 it drops the bound. What can't end in a finite text is left out. Throws
 * `invalid_request` with line and column for what is no GBNF, for left
 * recursion, undefined rules, tokens (`<…>`), and beyond `grammarLimits`.
 */
export function gbnfExpression(source: string, param: string, builder: GrammarBuilder): Expression {
  const budget = builder.budget.for(param);
  budget.checkLength(source.length);
  const fail = (at: number, message: string) => refusal(budget, param, source, at, message);
  const { rules, endless } = readRules(source, builder, budget, fail);
  const root = rules.get("root");
  if (root === undefined) throw budget.refuse(`\`${param}\` has no rule \`root\``);
  for (const [name, { body, usedAt, open }] of rules) {
    if (body === undefined) throw fail(usedAt, `the rule \`${name}\` is not defined`);
    open.define(body);
  }
  const isEmpty = emptiness(builder.rules);
  const hollow = endless.find(({ item }) => isEmpty(item));
  if (hollow !== undefined) throw fail(hollow.at, "what is repeated without end may be empty");
  checkLeftmost(builder.rules, rules, isEmpty, fail);
  if (!builder.possible()(root.open.rule)) throw budget.refuse(`\`${param}\` matches no finite text`);
  return root.open.rule;
}

interface Rule {
  readonly open: OpenRule;
  /** Where its name stands first. */
  readonly usedAt: number;
  body: Expression | undefined;
}

function refusal(budget: Budget, param: string, source: string, at: number, message: string): Error {
  const before = source.slice(0, at).split(/\r\n|\r|\n/);
  const column = Array.from(before.at(-1) ?? "").length + 1;
  return budget.refuse(`\`${param}\`, line ${before.length}, column ${column}: ${message}`);
}

/** Something that is repeated without end, and where it stands. */
interface Endless {
  readonly item: Expression;
  readonly at: number;
}

function readRules(
  source: string,
  builder: GrammarBuilder,
  budget: Budget,
  refuse: (at: number, message: string) => Error,
): { rules: Map<string, Rule>; endless: Endless[] } {
  const rules = new Map<string, Rule>();
  const endless: Endless[] = [];
  let at = 0;
  const fail = (message: string, where = at) => refuse(where, message);

  const ruleOf = (name: string, usedAt: number): Rule => {
    let rule = rules.get(name);
    if (rule === undefined) {
      rule = { open: builder.open("rule"), usedAt, body: undefined };
      rules.set(name, rule);
    }
    return rule;
  };
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const space = (isNested: boolean) => match(isNested ? anySpace : lineSpace);

  const escaped = (): number => {
    const where = at;
    at++;
    const letter = source.charAt(at++);
    const digits = { x: 2, u: 4, U: 8 }[letter];
    if (digits !== undefined) {
      const hex = source.slice(at, at + digits);
      const point = /^[0-9a-fA-F]+$/.test(hex) && hex.length === digits ? Number.parseInt(hex, 16) : Infinity;
      if (point > 0x10ffff) throw fail(`\\${letter} needs ${digits} hexadecimal digits of a character`, where);
      at += digits;
      return point;
    }
    const known = { t: 0x09, r: 0x0d, n: 0x0a }[letter];
    if (known !== undefined) return known;
    if (letter !== "" && '\\"[]-^'.includes(letter)) return letter.charCodeAt(0);
    throw fail("an unknown escape", where);
  };
  const char = (what: string, from: number): number => {
    budget.spend("steps");
    if (at >= source.length) throw fail(`${what} is not closed`, from);
    if (source[at] === "\\") return escaped();
    const point = source.codePointAt(at) ?? 0;
    at += point > 0xffff ? 2 : 1;
    return point;
  };

  const readLiteral = (): Expression => {
    const from = at++;
    const points: number[] = [];
    while (source[at] !== '"') points.push(char("a text", from));
    at++;
    return literal(points.map((point) => String.fromCodePoint(point)).join(""));
  };
  const readClass = (): Expression => {
    const from = at++;
    const isNegated = source[at] === "^";
    if (isNegated) at++;
    const ranges: Range[] = [];
    while (source[at] !== "]") {
      const low = char("a class", from);
      if (source[at] !== "-" || source[at + 1] === "]") {
        ranges.push([low, low]);
        continue;
      }
      at++;
      const high = char("a class", from);
      if (high < low) throw fail("a range that runs backwards", from);
      ranges.push([low, high]);
    }
    at++;
    return charClass(isNegated ? complement(ranges) : normalise(ranges));
  };
  const readItem = (depth: number): Expression | undefined => {
    const c = source.charAt(at);
    if (c === '"') return readLiteral();
    if (c === "[") return readClass();
    if (c === ".") {
      at++;
      return charClass(complement([]));
    }
    if (c === "<" || c === "!") throw fail("tokens (`<…>`) are not supported");
    if (c === "(") {
      if (depth === grammarLimits.depth) throw fail(`groups nest deeper than ${grammarLimits.depth}`);
      const from = at++;
      space(true);
      const inner = readChoice(depth + 1);
      if (source[at] !== ")") throw fail("a group is not closed", from);
      at++;
      return builder.share("group", inner);
    }
    const from = at;
    const name = match(ruleName);
    return name === undefined ? undefined : ruleOf(name, from).open.rule;
  };
  const readCount = (): number => {
    const from = at;
    const digits = match(number);
    if (digits === undefined) throw fail("a number is missing");
    if (Number(digits) > mostRepeated) throw fail(`a repetition counts to ${mostRepeated} at most`, from);
    return Number(digits);
  };
  /** How often the item before is repeated; undefined where no quantifier stands here. */
  const readQuantifier = (isNested: boolean): readonly [min: number, max: number | undefined] | undefined => {
    const c = source.charAt(at);
    if (c === "" || !"*+?{".includes(c)) return undefined;
    at++;
    if (c !== "{") return c === "*" ? [0, undefined] : c === "+" ? [1, undefined] : [0, 1];
    space(isNested);
    const min = readCount();
    space(isNested);
    let max: number | undefined = min;
    if (source[at] === ",") {
      at++;
      space(isNested);
      max = source[at] === "}" ? undefined : readCount();
      space(isNested);
    }
    if (source[at] !== "}") throw fail("`}` is missing");
    if (max !== undefined && max < min) throw fail(`the repetition {${min},${max}} has no count`);
    at++;
    return [min, max];
  };
  const readSequence = (depth: number): Expression => {
    const items: Expression[] = [];
    for (;;) {
      const from = at;
      let item = readItem(depth);
      if (item === undefined) {
        if (readQuantifier(false) !== undefined) throw fail("a quantifier without an item", from);
        return sequence(...items);
      }
      budget.spend("values");
      space(depth > 0);
      for (let count = readQuantifier(depth > 0); count !== undefined; count = readQuantifier(depth > 0)) {
        if (count[1] === undefined) endless.push({ item, at: from });
        item = builder.repeat(item, ...count);
        space(depth > 0);
      }
      items.push(item);
    }
  };
  const readChoice = (depth: number): Expression => {
    const options = [readSequence(depth)];
    while (source[at] === "|") {
      at++;
      space(true);
      options.push(readSequence(depth));
    }
    return choice(...options);
  };

  space(true);
  while (at < source.length) {
    const from = at;
    const name = match(ruleName);
    if (name === undefined) throw fail("the name of a rule is missing");
    space(false);
    if (!source.startsWith("::=", at)) throw fail("`::=` is missing");
    at += 3;
    space(true);
    const rule = ruleOf(name, from);
    if (rule.body !== undefined) throw fail(`the rule \`${name}\` is defined twice`, from);
    rule.body = readChoice(0);
    if (at < source.length && match(lineEnd) === undefined) throw fail("a line break or the end is missing");
    space(true);
  }
  return { rules, endless };
}

/** Tells whether an expression matches the empty text. */
function emptiness(rules: ReadonlyMap<string, Expression>): (expression: Expression) => boolean {
  const known = new Set<string>();
  const isEmpty = (expression: Expression): boolean => {
    switch (expression.kind) {
      case "literal":
        return expression.text === "";
      case "class":
        return false;
      case "sequence":
        return expression.items.every(isEmpty);
      case "choice":
        return expression.options.some(isEmpty);
      case "repeat":
        return expression.min === 0 || isEmpty(expression.item);
      case "rule":
        return known.has(expression.name);
      default:
        return expression satisfies never;
    }
  };
  const users = new Map<string, string[]>();
  for (const [name, expression] of rules) {
    for (const used of references(expression)) users.set(used, [...(users.get(used) ?? []), name]);
  }
  const waiting = [...rules.keys()];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const expression = rules.get(name);
    if (expression === undefined || known.has(name) || !isEmpty(expression)) continue;
    known.add(name);
    waiting.push(...(users.get(name) ?? []));
  }
  return isEmpty;
}

/** Refuses rules that begin with themselves, and too many ways through the beginnings of rules. */
function checkLeftmost(
  all: ReadonlyMap<string, Expression>,
  rules: ReadonlyMap<string, Rule>,
  isEmpty: (expression: Expression) => boolean,
  fail: (at: number, message: string) => Error,
): void {
  const leftmost = (expression: Expression): string[] => {
    switch (expression.kind) {
      case "literal":
      case "class":
        return [];
      case "sequence": {
        const end = expression.items.findIndex((item) => !isEmpty(item));
        return expression.items.slice(0, end === -1 ? undefined : end + 1).flatMap(leftmost);
      }
      case "choice":
        return expression.options.flatMap(leftmost);
      case "repeat":
        return leftmost(expression.item);
      case "rule":
        return [expression.name];
      default:
        return expression satisfies never;
    }
  };
  const byName = new Map(
    [...rules].map(([name, rule]) => [rule.open.rule.kind === "rule" ? rule.open.rule.name : "", { name, rule }]),
  );
  /** Ways through the beginnings below a rule; 0 while they are being counted. */
  const ways = new Map<string, number>();
  let total = 0;
  for (const [name, { rule }] of byName) {
    const open = [{ name, next: leftmost(all.get(name) ?? empty), count: 1 }];
    if (ways.has(name)) continue;
    ways.set(name, 0);
    for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
      const below = top.next.pop();
      if (below === undefined) {
        ways.set(top.name, top.count);
        total += top.count;
        if (total > mostSearched) throw fail(rule.usedAt, "too many rules begin with one another");
        open.pop();
        continue;
      }
      const known = ways.get(below);
      if (known === 0) {
        const cycle = open
          .slice(open.findIndex((each) => each.name === below))
          .flatMap((each) => byName.get(each.name) ?? []);
        const [first] = cycle;
        throw fail(first?.rule.usedAt ?? 0, `the rule \`${first?.name}\` begins with itself: left recursion`);
      }
      if (known === undefined) {
        top.next.push(below);
        ways.set(below, 0);
        open.push({ name: below, next: leftmost(all.get(below) ?? empty), count: 1 });
      } else {
        top.count += known;
      }
    }
  }
}

const lineSpace = /(?:[ \t]|#[^\r\n]*)*/y;
const anySpace = /(?:[ \t\r\n]|#[^\r\n]*)*/y;
const lineEnd = /\r\n|\r|\n/y;
const ruleName = /[a-zA-Z0-9-]+/y;
const number = /[0-9]+/y;
