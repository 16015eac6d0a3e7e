import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileRegex } from "../../../src/worker/grammar/regex.ts";
import { seededRandom } from "../../codec/random-message.ts";
import { type GrammarEngine, openGrammarEngine } from "../../support/grammar-engine.ts";
import { grammarWalker } from "../../support/grammar-walk.ts";

let engine: GrammarEngine;
beforeAll(async () => {
  engine = await openGrammarEngine();
});
afterAll(() => engine.close());

/** Texts over a few characters, all up to three long, and some of each walk. */
const alphabet = ["a", "b", "c", "A", "1", "-", " ", "\n", '"', "\\", "é", "🎉"];
const shortTexts = [
  "",
  ...alphabet,
  ...alphabet.flatMap((x) => alphabet.map((y) => x + y)),
  "aab",
  "abc",
  "a-1",
  "bab",
  "111",
];

describe("a regular expression", () => {
  it.each([
    "a",
    "",
    "a|b|",
    "(a|b)*c",
    "a+?b??c*?",
    "[abc]{2}",
    "[^ab]",
    "[^]",
    "[a-]",
    "[-a]",
    "[\\w-]+",
    "\\d+",
    "\\D",
    "\\s|\\S",
    "\\W{1,2}",
    ".",
    ".*",
    "(?:a(?<name>b)?)+",
    "^a$",
    "^(?:a|b)$|^c$",
    "(?:^)a(?:$)",
    "\\x61\\u0062\\u{63}",
    "\\ud83c\\udf89",
    "[🎉é]",
    '["\\\\]+',
    "(a*)*",
    "(a|aa)+b",
    "(?:a?){3}a{3}",
    "x{0}a",
    "a{2,}",
    "[^\\S ]",
    "[\\d-]",
    "}]",
  ])("/%s/ allows what the whole match of JavaScript's does", (source) => {
    // A lone } or ] is itself, except with the flag.
    const isMatch = new RegExp(`^(?:${source})$`, source === "}]" ? "" : "u");
    const grammar = compileRegex(source, "guided_regex");
    const opened = engine.open(grammar.text);
    for (const text of shortTexts) expect([text, opened.accepts(text)]).toEqual([text, isMatch.test(text)]);
    const walk = grammarWalker(grammar, seededRandom(1));
    for (let i = 0; i < 10; i++) {
      const text = walk();
      expect([text, isMatch.test(text)]).toEqual([text, true]);
      expect([text, opened.accepts(text)]).toEqual([text, true]);
    }
  });

  it.each([
    ["a(?=b)", "lookahead can't be expressed as a grammar: at character 1"],
    ["(?!a)", "lookahead can't be expressed as a grammar: at character 0"],
    ["(?<=a)b", "lookbehind can't be expressed as a grammar: at character 0"],
    ["(?<!a)b", "lookbehind can't be expressed as a grammar: at character 0"],
    ["(a)\\1", "a backreference can't be expressed as a grammar: at character 3"],
    ["(?<x>a)\\k<x>", "a backreference can't be expressed as a grammar: at character 7"],
    ["\\bword", "the word boundary \\b can't be expressed as a grammar: at character 0"],
    ["a\\B", "the word boundary \\B can't be expressed as a grammar: at character 1"],
    ["\\p{L}", "the Unicode property \\p can't be expressed as a grammar: at character 0"],
    ["[\\P{L}]", "the Unicode property \\P can't be expressed as a grammar: at character 1"],
    ["(?i)a", "an inline flag can't be expressed as a grammar: at character 0"],
    ["(?P<x>a)", "the group (?P can't be expressed as a grammar: at character 0"],
    ["(a", "a group without its ) at character 0"],
    ["a)", "a ) without its group at character 1"],
    ["[a", "a class without its ] at character 0"],
    ["*a", "a quantifier with nothing before it at character 0"],
    ["a**", "a quantifier after a quantifier at character 2"],
    ["a{2}{3}", "a quantifier after a quantifier at character 4"],
    ["a{3,2}", "a quantifier with its bounds reversed at character 1"],
    ["a{,5}", "a { that begins no quantifier (write \\{) at character 1"],
    ["{", "a { that begins no quantifier (write \\{) at character 0"],
    ["^*", "a quantifier after an anchor at character 2"],
    ["[z-a]", "a range whose end is before its start at character 1"],
    ["[\\d-z]", "a range that begins or ends with a class at character 1"],
    ["\\u{110000}", "a code point above 10FFFF at character 0"],
    ["\\ud800", "a lone surrogate at character 0"],
    ["\\x4", "a malformed hexadecimal escape at character 0"],
    ["\\q", "the unknown escape \\q at character 0"],
    ["a\\", "a \\ at the end at character 1"],
    ["\\01", "an octal escape at character 0"],
    ["(".repeat(70), "groups nest deeper than 64 at character 64"],
  ])("/%s/ is refused with the place", (source, message) => {
    const shown = JSON.stringify(source.length > 64 ? `${source.slice(0, 64)}…` : source);
    expect(() => compileRegex(source, "guided_regex")).toThrow(
      `${message} of the regular expression ${shown} in \`guided_regex\``,
    );
  });

  it("leaves U+0000 out, which llama.cpp can't match", () => {
    const opened = engine.open(compileRegex("[\\0a]|b\0?", "guided_regex").text);
    for (const text of ["a", "b"]) expect([text, opened.accepts(text)]).toEqual([text, true]);
  });

  it("without a text that matches is refused", () => {
    for (const source of ["[]", "a^b", "$a", "\0", "a\\0", "[\\0]+"]) {
      expect(() => compileRegex(source, "guided_regex")).toThrow(
        "no text matches the regular expression in `guided_regex`",
      );
    }
  });
});
