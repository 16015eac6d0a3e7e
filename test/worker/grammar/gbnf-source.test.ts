import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compileGbnf } from "../../../src/worker/grammar/gbnf-source.ts";
import { seededRandom } from "../../codec/random-message.ts";
import { type GrammarEngine, openGrammarEngine } from "../../support/grammar-engine.ts";
import { grammarWalker } from "../../support/grammar-walk.ts";

let engine: GrammarEngine;
beforeAll(async () => {
  engine = await openGrammarEngine();
});
afterAll(() => engine.close());

/** llama.cpp takes the source as it is, and what we make of it: both must accept the same texts. */
describe("a grammar means what it means to llama.cpp", () => {
  test.each([
    ['root ::= "a"', ["a"], ["", "b", "aa"]],
    ["root ::= [a-c^-]+ # why\n", ["abc", "^-"], ["", "d"]],
    ["root ::= [^a-c\\n]", ["d", "é", "😀"], ["a", "\n", "dd"]],
    ["root ::= . .", ["ab", "\n😀"], ["a"]],
    ['root ::= "\\x41\\u00e9\\U0001F600\\t\\r\\n\\\\\\"\\[\\]"', ['Aé😀\t\r\n\\"[]'], ["A"]],
    ["root ::= [\\]\\[\\-\\\\]{4}", ["][-\\"], ["aaaa"]],
    ['root ::= ("a" |\n "b" # one\n | ) "c"', ["c", "ac", "bc"], ["a"]],
    ['root ::= "a"{2} "b"{1,} "c"{0,2} "d"?', ["aab", "aabbccd"], ["ab", "aa", "aabccc"]],
    ['root ::= item+\nitem ::= "x" ("," item)? | y-1\ny-1 ::= "y"+\n', ["x", "x,y", "yyx"], ["", ","]],
    ['root ::= "(" root ")" | ""', ["", "(())"], ["(", ")("]],
    ["\r\n# first\r\nroot ::= a\r\na ::= [0-9]\r\n\r\n", ["7"], ["77"]],
  ] as [string, string[], string[]][])("%j", (source, accepted, refused) => {
    const ours = compileGbnf(source, "grammar");
    for (const grammar of [engine.open(source), engine.open(ours.text)]) {
      for (const text of accepted) expect([text, grammar.accepts(text)]).toEqual([text, true]);
      for (const text of refused) expect([text, grammar.accepts(text)]).toEqual([text, false]);
    }
    const walk = grammarWalker(ours, seededRandom(3));
    const original = engine.open(source);
    for (let i = 0; i < 20; i++) {
      const text = walk();
      expect([text, original.accepts(text)]).toEqual([text, true]);
    }
  });

  test("a bound above 2,000, which llama.cpp would drop, holds", () => {
    const grammar = engine.open(compileGbnf('root ::= "a"{0,3000} "b"', "grammar").text);
    expect(grammar.accepts(`${"a".repeat(3000)}b`)).toBe(true);
    expect(grammar.accepts(`${"a".repeat(3001)}b`)).toBe(false);
  });

  test("what can't end is left out", () => {
    const grammar = engine.open(compileGbnf('root ::= "a" | loop\nloop ::= "b" loop', "grammar").text);
    expect([grammar.accepts("a"), grammar.accepts("b")]).toEqual([true, false]);
  });
});

describe("what is refused, with line and column", () => {
  const chain = Array.from({ length: 40 }, (_, i) => `a${i} ::= a${i + 1} | a${i + 1} "x"\n`).join("");
  test.each([
    ['root ::= "a" b', "line 1, column 14: the rule `b` is not defined"],
    ['a ::= "a"', "`grammar` has no rule `root`"],
    ["", "`grammar` has no rule `root`"],
    ["root", "line 1, column 5: `::=` is missing"],
    ['root ::= "a"\n  "b"', "line 2, column 3: the name of a rule is missing"],
    ['root ::= "a" )', "line 1, column 14: a line break or the end is missing"],
    ['root ::= "é" ("a"', "line 1, column 14: a group is not closed"],
    ['root ::= "a', "line 1, column 10: a text is not closed"],
    ["root ::= [a", "line 1, column 10: a class is not closed"],
    ["root ::= [b-a]", "line 1, column 10: a range that runs backwards"],
    ['root ::= "\\q"', "line 1, column 11: an unknown escape"],
    ['root ::= "\\x4"', "line 1, column 11: \\x needs 2 hexadecimal digits"],
    ['root ::= "\\UFFFFFFFF"', "line 1, column 11: \\U needs 8"],
    ["root ::= *", "line 1, column 10: a quantifier without an item"],
    ['root ::= "a"{x}', "line 1, column 14: a number is missing"],
    ['root ::= "a"{3,2}', "the repetition {3,2} has no count"],
    ['root ::= "a"{1', "line 1, column 15: `}` is missing"],
    ['root ::= "a"{100001}', "line 1, column 14: a repetition counts to 100000 at most"],
    ["root ::= <think>", "line 1, column 10: tokens (`<…>`) are not supported"],
    ["root ::= !<[1]>", "tokens"],
    ['root ::= "a"\nroot ::= "b"', "line 2, column 1: the rule `root` is defined twice"],
    ['root ::= root "a" | "b"', "line 1, column 1: the rule `root` begins with itself: left recursion"],
    ['root ::= e root "a" | "b"\ne ::= f\nf ::= ""', "line 1, column 1: the rule `root` begins with itself"],
    ['root ::= "x"\na ::= b?  c\nb ::= "b"\nc ::= (b* a)', "begins with itself"],
    ['root ::= ("a"?)*', "line 1, column 10: what is repeated without end may be empty"],
    ['root ::= (e)+\ne ::= ""', "what is repeated without end may be empty"],
    ['root ::= "a" root', "`grammar` matches no finite text"],
    ['root ::= "\\x00"', "`grammar` matches no finite text"],
    [`root ::= ${"(".repeat(65)}"a"${")".repeat(65)}`, "groups nest deeper than 64"],
    [`root ::= a0\n${chain}a40 ::= "y"`, "too many rules begin with one another"],
    [`root ::= "${"a".repeat(140_000)}"`, "characters; the limit is"],
    [`root ::= ${'("a" | "b") '.repeat(1)}${Array.from({ length: 6000 }, (_, i) => `r${i}`).join(" ")}`, "too complex"],
  ])("%.60j", (source, message) => {
    expect(() => compileGbnf(source, "grammar")).toThrow(message);
  });
});
