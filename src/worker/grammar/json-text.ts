import { type Budget, grammarLimits } from "./limits.ts";

/**
 * A JSON value as its text says it: members in the text's order, integer-like
 * names too; numbers as they are spelt, so that none loses a digit.
 */
export type JsonText =
  | { readonly kind: "null" }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "number"; readonly text: string }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "array"; readonly items: readonly JsonText[] }
  | { readonly kind: "object"; readonly members: ReadonlyMap<string, JsonText> };

const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
// Up to the closing quote; JSON.parse judges what lies between.
const string = /"(?:[^"\\]|\\.)*"/y;
const space = /[ \t\n\r]*/y;

/**
 * Parses JSON (RFC 8259) more strictly than `JSON.parse`: a member name that
 * comes twice in an object is refused. Throws the budget's `invalid_request`,
 * with the position, also when nested deeper than the limit.
 */
export function parseJsonText(source: string, budget: Budget): JsonText {
  let at = 0;
  const fail = (what: string) => budget.refuse(`the schema is not valid JSON: ${what} at character ${at}`);
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const skip = (char: string): boolean => {
    match(space);
    if (source[at] !== char) return false;
    at++;
    return true;
  };
  const expect = (char: string) => {
    if (!skip(char)) throw fail(`${JSON.stringify(char)} is missing`);
  };
  const parseString = (): string => {
    match(space);
    const text = match(string);
    if (text === undefined) throw fail("a string is missing");
    try {
      return JSON.parse(text);
    } catch {
      at -= text.length;
      throw fail("a malformed string");
    }
  };
  const parseWord = (): JsonText => {
    for (const [word, value] of words) {
      if (!source.startsWith(word, at)) continue;
      at += word.length;
      return value;
    }
    const text = match(number);
    if (text === undefined) throw fail("a value is missing");
    return { kind: "number", text };
  };
  const parseValue = (depth: number): JsonText => {
    if (depth > grammarLimits.depth) throw budget.refuse(`the schema nests deeper than ${grammarLimits.depth}`);
    budget.spend("values");
    if (skip("{")) {
      const members = new Map<string, JsonText>();
      if (skip("}")) return { kind: "object", members };
      do {
        const name = parseString();
        if (members.has(name)) throw fail(`the member ${quoted(name)} comes twice before the value`);
        expect(":");
        members.set(name, parseValue(depth + 1));
      } while (skip(","));
      expect("}");
      return { kind: "object", members };
    }
    if (skip("[")) {
      const items: JsonText[] = [];
      if (skip("]")) return { kind: "array", items };
      do items.push(parseValue(depth + 1));
      while (skip(","));
      expect("]");
      return { kind: "array", items };
    }
    return source[at] === '"' ? { kind: "string", value: parseString() } : parseWord();
  };
  const value = parseValue(0);
  match(space);
  if (at < source.length) throw fail("more text after the value");
  return value;
}

const words: readonly (readonly [string, JsonText])[] = [
  ["null", { kind: "null" }],
  ["true", { kind: "boolean", value: true }],
  ["false", { kind: "boolean", value: false }],
];

/** A text for a message: quoted, and cut where it is long. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}
