import { charClass, choice, type Expression, empty, type GrammarBuilder, literal, sequence } from "./gbnf.ts";
import type { JsonText } from "./json-text.ts";
import { maxDigits } from "./numbers.ts";

/** The rules of JSON itself (RFC 8259), with bounded white space and numbers that a double holds. */
export interface JsonRules {
  /** One character of a string: as it is, or in any of its escapes; never half of a surrogate pair. */
  readonly char: Expression;
  readonly string: Expression;
  readonly integer: Expression;
  readonly number: Expression;
  readonly boolean: Expression;
  readonly object: Expression;
  readonly value: Expression;
  /** Between members or items. */
  readonly comma: Expression;
  /** What may stand after a colon. */
  readonly colonSpace: Expression;
  /** An object or an array of these members or items, which hold the commas. */
  inBraces(members: Expression): Expression;
  inBrackets(items: Expression): Expression;
  /** Exactly this value, its members in this order. */
  constant(value: JsonText): Expression;
  /** The text of a value that is no array and no object. */
  textOf(value: JsonText): string;
}

/** Indentation after a line break: sixteen levels of two spaces. */
const maxIndent = 32;

export function createJsonRules(builder: GrammarBuilder): JsonRules {
  const { share, repeat } = builder;
  const hexDigit = charClass([
    [0x30, 0x39],
    [0x41, 0x46],
    [0x61, 0x66],
  ]);
  const digit = charClass([[0x30, 0x39]]);
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
  const escaped = share("escape", choice(oneOf('"/\\bfnrt'), sequence(literal("u"), share("unicode", unicode))));
  const char = share(
    "char",
    choice(
      charClass([
        [0x20, 0x21],
        [0x23, 0x5b],
        [0x5d, 0xd7ff],
        [0xe000, 0x10ffff],
      ]),
      sequence(literal("\\"), escaped),
    ),
  );
  const string = share("string", sequence(literal('"'), repeat(char, 0, undefined), literal('"')));
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
  const boolean = share("boolean", choice(literal("true"), literal("false")));

  const indent = share("indent", repeat(literal(" "), 0, maxIndent));
  const space = share("space", choice(empty, literal(" "), sequence(literal("\n"), indent)));
  const comma = share("comma", sequence(literal(","), space));
  const colonSpace = repeat(literal(" "), 0, 1);
  const within = (open: string, content: Expression, close: string) =>
    content === empty
      ? sequence(literal(open), literal(close))
      : sequence(literal(open), space, content, space, literal(close));
  const inBraces = (members: Expression) => within("{", members, "}");
  const inBrackets = (items: Expression) => within("[", items, "]");

  const value = builder.open("value");
  const listOf = (item: Expression) => repeat(sequence(item, repeat(sequence(comma, item), 0, undefined)), 0, 1);
  const member = share("member", sequence(string, literal(":"), colonSpace, value.rule));
  const object = share("object", inBraces(listOf(member)));
  const array = share("array", inBrackets(listOf(value.rule)));
  value.define(choice(object, array, string, number, boolean, literal("null")));

  const textOf = (each: JsonText): string => {
    switch (each.kind) {
      case "null":
        return "null";
      case "boolean":
        return String(each.value);
      case "number":
        return each.text;
      case "string":
        return JSON.stringify(each.value);
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
        return inBraces(
          joined(
            [...each.members].map(([name, member]) =>
              sequence(literal(`${JSON.stringify(name)}:`), colonSpace, constant(member)),
            ),
          ),
        );
      default:
        return literal(textOf(each));
    }
  };

  return {
    char,
    string,
    integer,
    number,
    boolean,
    object,
    value: value.rule,
    comma,
    colonSpace,
    inBraces,
    inBrackets,
    constant,
    textOf,
  };
}
