import {
  type Automaton,
  anyText,
  combine,
  complement,
  intersectRanges,
  isEmpty,
  lengthAutomaton,
} from "./automaton.ts";
import { automatonExpression, jsonStringSpelling, plain } from "./automaton-grammar.ts";
import { textsWithout, textUntil } from "./free-text.ts";
import {
  charClass,
  choice,
  type Expression,
  empty,
  type GrammarBuilder,
  literal,
  never,
  type Range,
  sequence,
} from "./gbnf.ts";
import { regexAutomaton } from "./regex.ts";

/** How the values of JSON are spelt where they are not written as JSON. */
export interface Notation {
  readonly words: { readonly true: string; readonly false: string; readonly null: string };
  /** Any string, with its quotes. */
  readonly anyString: Expression;
  /** Strings of so many code points. */
  stringOfLength(min: number, max: number | undefined): Expression;
  /** Strings that an automaton accepts. */
  stringOf(automaton: Automaton): Expression;
  /** A string; undefined where it can't be spelt. */
  spell(text: string): string | undefined;
  /** A member's name; undefined where it can't be spelt. */
  name(name: string): string | undefined;
  /** A member's name that the automaton accepts; any without one. */
  nameOf(names: Automaton | undefined): Expression;
}

const jsonWords = { true: "true", false: "false", null: "null" } as const;

/**
 * JSON as it is. Texts with a character of `escaped` have it as `\u….`: they may
 * stand in a syntax that ends at that character.
 */
export function jsonNotation(builder: GrammarBuilder, escaped = ""): Notation {
  return quotedNotation(builder, jsonWords, "/", escaped);
}

/** Python's literals, as far as models write them and `pythonArguments` reads them. */
export function pythonNotation(builder: GrammarBuilder): Notation {
  return quotedNotation(builder, { true: "True", false: "False", null: "None" }, "", "");
}

/** Strings in double quotes with JSON's escapes; `slash` is what else may be escaped by a backslash. */
function quotedNotation(builder: GrammarBuilder, words: Notation["words"], slash: string, escaped: string): Notation {
  const { share, repeat } = builder;
  const char = jsonChar(builder, slash, escaped);
  const spelling = jsonStringSpelling(builder);
  const inQuotes = (content: Expression) => (content === never ? never : sequence(literal('"'), content, literal('"')));
  const anyString = inQuotes(repeat(char, 0, undefined));
  const stringOf = (automaton: Automaton): Expression => {
    const bare =
      escaped === ""
        ? automaton
        : combine(automaton, textsWithout([...escaped], builder.budget), "and", builder.budget);
    return isEmpty(bare) ? never : sequence(literal('"'), automatonExpression(bare, spelling, builder));
  };
  const spell = (text: string): string =>
    [...escaped].reduce(
      (spelt, each) => spelt.replaceAll(each, `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`),
      JSON.stringify(text),
    );
  return {
    words,
    anyString,
    stringOfLength: (min, max) => inQuotes(repeat(char, min, max)),
    stringOf,
    spell,
    name: spell,
    nameOf: (names) => (names === undefined ? share("string", anyString) : share("string", stringOf(names))),
  };
}

/** One character of a JSON string: as it is, or in any of its escapes; never half of a surrogate pair. */
function jsonChar({ share, repeat }: GrammarBuilder, slash: string, escaped: string): Expression {
  const hexDigit = charClass([
    [0x30, 0x39],
    [0x41, 0x46],
    [0x61, 0x66],
  ]);
  const oneOf = (chars: string) => charClass(Array.from(chars, (c) => [c.charCodeAt(0), c.charCodeAt(0)] as const));
  // \uD800 to \uDBFF only before \uDC00 to \uDFFF: what is left could not be sent as UTF-8.
  const unicode = choice(
    sequence(
      charClass([
        [0x30, 0x39],
        [0x41, 0x43],
        [0x45, 0x46],
        [0x61, 0x63],
        [0x65, 0x66],
      ]),
      repeat(hexDigit, 3, 3),
    ),
    sequence(oneOf("Dd"), charClass([[0x30, 0x37]]), repeat(hexDigit, 2, 2)),
    sequence(
      oneOf("Dd"),
      charClass([
        [0x38, 0x39],
        [0x41, 0x42],
        [0x61, 0x62],
      ]),
      repeat(hexDigit, 2, 2),
      literal("\\u"),
      oneOf("Dd"),
      charClass([
        [0x43, 0x46],
        [0x63, 0x66],
      ]),
      repeat(hexDigit, 2, 2),
    ),
  );
  const escapes = share("escape", choice(oneOf(`"${slash}\\bfnrt`), sequence(literal("u"), share("unicode", unicode))));
  const bare: readonly Range[] = [
    [0x20, 0x21],
    [0x23, 0x5b],
    [0x5d, 0xd7ff],
    [0xe000, 0x10ffff],
  ];
  const points = Array.from(escaped, (c): Range => [c.charCodeAt(0), c.charCodeAt(0)]);
  return share("char", choice(charClass(intersectRanges(bare, complement(points))), sequence(literal("\\"), escapes)));
}

/**
 * Gemma's: strings as they are between two of `quote`, names bare. A string
 * holds neither `quote` nor `end`, which ends the call.
 */
export function gemmaNotation(builder: GrammarBuilder, quote: string, end: string): Notation {
  const { budget, share } = builder;
  const within = (content: Expression) => sequence(literal(quote), content);
  const clean = () => textsWithout([quote, end], budget);
  const ofAutomaton = (automaton: Automaton): Expression => {
    const bare = combine(automaton, clean(), "and", budget);
    return isEmpty(bare) ? never : sequence(literal(quote), automatonExpression(bare, plain, builder), literal(quote));
  };
  // What `gemmaArguments` reads as a name; white space around it is not part of it.
  const names = () => regexAutomaton("[^\\s:{}\\[\\],<]([^:{}\\[\\],<]*[^\\s:{}\\[\\],<])?", "whole", budget, "a name");
  return {
    words: jsonWords,
    anyString: within(
      textUntil(
        new Map([
          [quote, empty],
          [end, never],
        ]),
        never,
        builder,
      ),
    ),
    stringOfLength: (min, max) => ofAutomaton(lengthAutomaton(min, max, budget)),
    stringOf: ofAutomaton,
    spell: (text) => (text.includes(quote) || text.includes(end) ? undefined : `${quote}${text}${quote}`),
    name: (name) => (/^[^\s:{}[\],<]([^:{}[\],<]*[^\s:{}[\],<])?$/u.test(name) ? name : undefined),
    nameOf(automaton) {
      const spelt = combine(automaton ?? anyText, names(), "and", budget);
      return isEmpty(spelt) ? never : share("name", automatonExpression(spelt, plain, builder));
    },
  };
}
