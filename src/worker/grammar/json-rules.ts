import type { Automaton } from "./automaton.ts";
import { charClass, choice, type Expression, empty, type GrammarBuilder, literal, never, sequence } from "./gbnf.ts";
import type { JsonText } from "./json-text.ts";
import type { Notation } from "./notations.ts";
import { maxDigits } from "./numbers.ts";

/** How the members of an object stand in it. */
export interface ObjectForm {
  /** All members, which hold what is between them, in what is around them. */
  wrap(members: Expression): Expression;
  /** Between two members. */
  readonly between: Expression;
  /** A member of this name; {@link never} where the name can't be spelt. */
  member(name: string, value: Expression): Expression;
  /** A member of any name that the automaton accepts; of any where there is none. */
  anyMember(names: Automaton | undefined, value: Expression): Expression;
  /** The value of the member of this name where it isn't spelt as other values are: its closing included. */
  ownValue?(name: string): ((way: TextRules) => Expression) | undefined;
}

/** What a text must be like: one of these, or what the automaton accepts, or of this length. */
export interface TextRules {
  readonly values: readonly string[] | undefined;
  readonly automaton: Automaton | undefined;
  readonly min: number;
  readonly max: number | undefined;
}

/** The rules of JSON's values (RFC 8259) in some notation, with bounded white space and numbers that a double holds. */
export interface JsonRules {
  readonly notation: Notation;
  readonly string: Expression;
  readonly integer: Expression;
  readonly number: Expression;
  readonly boolean: Expression;
  readonly object: Expression;
  readonly value: Expression;
  /** Between members or items. */
  readonly comma: Expression;
  /** How objects are written. */
  readonly form: ObjectForm;
  /** An array of these items, which hold the commas. */
  inBrackets(items: Expression): Expression;
  /** Exactly this value, its members in this order. */
  constant(value: JsonText): Expression;
  /** The text of a value that is no array and no object; undefined where it can't be spelt. */
  textOf(value: JsonText): string | undefined;
}

/** Indentation after a line break: sixteen levels of two spaces. */
const maxIndent = 32;

export function createJsonRules(builder: GrammarBuilder, notation: Notation): JsonRules {
  const { share, repeat } = builder;
  const digit = charClass([[0x30, 0x39]]);
  const oneOf = (chars: string) => charClass(Array.from(chars, (c) => [c.charCodeAt(0), c.charCodeAt(0)] as const));
  const string = share("string", notation.anyString);
  const integer = share(
    "integer",
    sequence(
      repeat(literal("-"), 0, 1),
      choice(literal("0"), sequence(charClass([[0x31, 0x39]]), repeat(digit, 0, maxDigits - 1))),
    ),
  );
  const exponent = sequence(oneOf("Ee"), repeat(oneOf("+-"), 0, 1), repeat(digit, 1, 2));
  const number = share(
    "number",
    sequence(
      integer,
      repeat(share("fraction", sequence(literal("."), repeat(digit, 1, maxDigits))), 0, 1),
      repeat(share("exponent", exponent), 0, 1),
    ),
  );
  const boolean = share("boolean", choice(literal(notation.words.true), literal(notation.words.false)));

  const indent = share("indent", repeat(literal(" "), 0, maxIndent));
  const space = share("space", choice(empty, literal(" "), sequence(literal("\n"), indent)));
  const comma = share("comma", sequence(literal(","), space));
  const colonSpace = repeat(literal(" "), 0, 1);
  const colon = sequence(literal(":"), colonSpace);
  const within = (open: string, content: Expression, close: string) =>
    content === empty
      ? sequence(literal(open), literal(close))
      : sequence(literal(open), space, content, space, literal(close));
  const form: ObjectForm = {
    wrap: (members) => within("{", members, "}"),
    between: comma,
    member: (name, value) => {
      const spelt = notation.name(name);
      return spelt === undefined ? never : sequence(literal(spelt), colon, value);
    },
    anyMember: (names, value) => sequence(notation.nameOf(names), colon, value),
  };
  const inBrackets = (items: Expression) => within("[", items, "]");

  const value = builder.open("value");
  const listOf = (item: Expression) => repeat(sequence(item, repeat(sequence(comma, item), 0, undefined)), 0, 1);
  const member = share("member", form.anyMember(undefined, value.rule));
  const object = share("object", form.wrap(listOf(member)));
  const array = share("array", inBrackets(listOf(value.rule)));
  value.define(choice(object, array, string, number, boolean, literal(notation.words.null)));

  const textOf = (each: JsonText): string | undefined => {
    switch (each.kind) {
      case "null":
        return notation.words.null;
      case "boolean":
        return notation.words[each.value ? "true" : "false"];
      case "number":
        return each.text;
      case "string":
        return notation.spell(each.value);
      default:
        throw new TypeError("not a scalar");
    }
  };
  const joined = (parts: readonly Expression[]): Expression =>
    sequence(...parts.flatMap((part, i) => (i === 0 ? [part] : [comma, part])));
  const constant = (each: JsonText): Expression => {
    switch (each.kind) {
      case "array":
        return inBrackets(joined(each.items.map(constant)));
      case "object":
        return form.wrap(joined([...each.members].map(([name, member]) => form.member(name, constant(member)))));
      default: {
        const text = textOf(each);
        return text === undefined ? never : literal(text);
      }
    }
  };

  return {
    notation,
    string,
    integer,
    number,
    boolean,
    object,
    value: value.rule,
    comma,
    form,
    inBrackets,
    constant,
    textOf,
  };
}
