import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  charClass,
  choice,
  createGrammarBuilder,
  type Expression,
  empty,
  type GrammarBuilder,
  literal,
  never,
  sequence,
} from "../../../src/worker/grammar/gbnf.ts";
import { compileChoice } from "../../../src/worker/grammar/json-schema.ts";
import { createBudget } from "../../../src/worker/grammar/limits.ts";
import { type GrammarEngine, openGrammarEngine } from "../../support/grammar-engine.ts";

let engine: GrammarEngine;
beforeAll(async () => {
  engine = await openGrammarEngine();
});
afterAll(() => engine.close());

const build = (make: (builder: GrammarBuilder) => Expression) => {
  const builder = createGrammarBuilder(createBudget("grammar"));
  return builder.build(make(builder));
};

describe("GBNF", () => {
  it("spells what is special so that llama.cpp reads it as it is", () => {
    const text = '"\\\n\t\u0001[]-^{}|#é\u2028🎉\u007f';
    const grammar = build(() => literal(text));
    expect(grammar?.text).toBe('root ::= "\\"\\\\\\n\\x09\\x01[]-^{}|#\\xE9\\u2028\\U0001F389\\x7F"\n');
    expect(engine.open(grammar?.text ?? "").accepts(text)).toBe(true);
    expect(engine.open(grammar?.text ?? "").accepts(`${text}x`)).toBe(false);
  });

  it("spells every boundary of a class", () => {
    const chars = ["\n", "-", "[", "\\", "]", "^", '"', "é", "🎉"];
    for (const char of chars) {
      const point = char.codePointAt(0) ?? 0;
      const opened = engine.open(build(() => charClass([[point, point + 1]]))?.text ?? "");
      for (const other of chars)
        expect([other, opened.accepts(other)]).toEqual([other, other === char || other.codePointAt(0) === point + 1]);
    }
  });

  it.each([
    [0, 0],
    [0, 1],
    [3, 3],
    [0, 33],
    [31, 32],
    [40, 100],
    [65, 65],
    [0, 2100],
    [2050, 2051],
  ])("repeats %i to %i times, exactly", (min, max) => {
    const opened = engine.open(build((b) => sequence(b.repeat(literal("a"), min, max), literal(".")))?.text ?? "");
    for (const count of [0, 1, min - 1, min, min + 1, Math.floor((min + max) / 2), max - 1, max, max + 1]) {
      if (count < 0) continue;
      expect([count, opened.accepts(`${"a".repeat(count)}.`)]).toEqual([count, count >= min && count <= max]);
    }
  });

  it("keeps a large bound in few rules", () => {
    expect(build((b) => b.repeat(literal("a"), 0, 1e15))?.rules.size).toBeLessThan(200);
  });

  it("makes equal rules one, and names them in order", () => {
    const grammar = build((b) => {
      const pair = () =>
        b.share("pair", sequence(literal("("), b.share("digit", charClass([[0x30, 0x39]])), literal(")")));
      return sequence(pair(), pair());
    });
    expect(grammar?.text).toBe('root ::= pair-1 pair-1\npair-1 ::= "(" digit-1 ")"\ndigit-1 ::= [0-9]\n');
  });

  it("leaves out what never ends, and has no grammar where nothing is left", () => {
    const endless = (b: GrammarBuilder) => {
      const rule = b.open("endless");
      rule.define(sequence(literal("a"), rule.rule));
      return rule.rule;
    };
    expect(build((b) => choice(endless(b), literal("b")))?.text).toBe('root ::= "b"\n');
    expect(build((b) => b.repeat(endless(b), 0, 3))?.text).toBe('root ::= ""\n');
    expect(build(endless)).toBeUndefined();
    expect(build(() => never)).toBeUndefined();
    expect(build(() => empty)?.text).toBe('root ::= ""\n');
  });
});

describe("a choice of texts", () => {
  it.each([
    [["yes", "no"]],
    [["a", "ab", "abc", "b", ""]],
    [["🎉", "🎊", "\ud83c\udf8a\ud83c\udf89", "é"]],
    [["same", "same"]],
    [['"', "\\", "\n", "]"]],
    [Array.from({ length: 300 }, (_, i) => "x".repeat(i))],
    [Array.from({ length: 500 }, (_, i) => String(i * 37))],
  ])("allows exactly them: %#", (texts) => {
    const opened = engine.open(compileChoice(texts, "guided_choice").text);
    for (const text of texts) expect([text, opened.accepts(text)]).toEqual([text, true]);
    for (const text of texts.flatMap((each) => [`${each}~`, each.slice(0, -1), `~${each}`])) {
      expect([text, opened.accepts(text)]).toEqual([text, texts.includes(text)]);
    }
  });

  it("leaves out texts with U+0000, which llama.cpp can't match", () => {
    expect(compileChoice(["\0", "yes", "no\0"], "guided_choice").text).toBe('root ::= "yes"\n');
  });

  it("of none is refused", () => {
    for (const texts of [[], ["\0"], ["a\0b", "\ud800"]])
      expect(() => compileChoice(texts, "guided_choice")).toThrow("`guided_choice` has no text to choose from");
  });
});
