/**
 * The end of the string that opens at `start`, behind its closing quote; beyond
 * the end of the text where it never closes. Linear: no backslash is counted twice.
 */
export function stringEnd(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let first = quote;
    while (text.charCodeAt(first - 1) === 0x5c) first--;
    if ((quote - first) % 2 === 0) return quote + 1;
  }
  return text.length + 1;
}

const whitespace = /[ \t\n\r]*/y;
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const literal = /true|false|null/y;

/** Skips whitespace. */
export function skipSpace(text: string, at: number): number {
  if (text.charCodeAt(at) > 0x20) return at;
  whitespace.lastIndex = at;
  whitespace.test(text);
  return whitespace.lastIndex;
}

/**
 * Where a text stops being JSON and why, for the message of an error: the
 * messages of JSON.parse name a position only sometimes. Linear, not recursive.
 */
export function findSyntaxError(text: string): { position: number; message: string } {
  const closers: string[] = [];
  let expect: "value" | "first" | "name" | "after" = "value";
  for (let at = skipSpace(text, 0); ; at = skipSpace(text, at)) {
    const char = text.charAt(at);
    const closer = closers.at(-1);
    if (expect === "after") {
      if (closer === undefined) return unexpected(text, at, "the end");
      if (char === closer) closers.pop();
      else if (char === ",") expect = closer === "}" ? "name" : "value";
      else return unexpected(text, at, `"," or "${closer}"`);
      at++;
    } else if (char === closer && expect === "first") {
      closers.pop();
      expect = "after";
      at++;
    } else if (closer === "}" && expect !== "value") {
      if (char !== '"') return unexpected(text, at, "a member name in double quotes");
      const bad = stringError(text, at);
      if (bad !== undefined) return bad;
      at = skipSpace(text, stringEnd(text, at));
      if (text.charAt(at) !== ":") return unexpected(text, at, '":"');
      expect = "value";
      at++;
    } else if (char === "{" || char === "[") {
      closers.push(char === "{" ? "}" : "]");
      expect = "first";
      at++;
    } else if (char === '"') {
      const bad = stringError(text, at);
      if (bad !== undefined) return bad;
      at = stringEnd(text, at);
      expect = "after";
    } else {
      const token = [number, literal].find((pattern) => {
        pattern.lastIndex = at;
        return pattern.test(text);
      });
      if (token === undefined) return unexpected(text, at, "a value");
      at = token.lastIndex;
      expect = "after";
    }
  }
}

function stringError(text: string, start: number): { position: number; message: string } | undefined {
  const end = stringEnd(text, start);
  if (end > text.length) return unexpected(text, text.length, "the end of a string");
  for (let at = start + 1; at < end - 1; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20) return { position: at, message: "unescaped control character in a string" };
    if (code !== 0x5c) continue;
    const escaped = /^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.exec(text.slice(at, at + 6));
    if (escaped === null) return { position: at, message: "invalid escape in a string" };
    at += escaped[0].length - 1;
  }
  return undefined;
}

function unexpected(text: string, position: number, expected: string): { position: number; message: string } {
  if (position >= text.length)
    return { position: text.length, message: `expected ${expected}, got the end of the text` };
  const char = String.fromCodePoint(text.codePointAt(position) ?? 0);
  return { position, message: `expected ${expected}, got ${JSON.stringify(char)}` };
}
