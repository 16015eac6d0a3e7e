/** A reader of one text: positions, and an end that is an error. */
interface Cursor {
  readonly text: string;
  at: number;
}

/** A text that is not of the syntax. */
class NotLiteral extends Error {}

/** Arguments of a Python call, `a=1, b=[True, None]`, as a JSON object; undefined where they are none. */
export function pythonArguments(text: string): string | undefined {
  return attempt(text, (cursor) => {
    const members: string[] = [];
    for (space(cursor); cursor.at < text.length; space(cursor)) {
      const key = match(cursor, /[\p{L}_][\p{L}\p{N}_]*/uy);
      expect(cursor, "=");
      members.push(`${JSON.stringify(key)}: ${pythonValue(cursor)}`);
      space(cursor);
      if (cursor.at < text.length) expect(cursor, ",");
    }
    return `{${members.join(", ")}}`;
  });
}

function pythonValue(cursor: Cursor): string {
  space(cursor);
  const c = cursor.text[cursor.at];
  if (c === '"' || c === "'") return JSON.stringify(pythonString(cursor, c));
  if (c === "[" || c === "(") return `[${items(cursor, c === "[" ? "]" : ")", pythonValue)}]`;
  if (c === "{") {
    return `{${items(cursor, "}", () => {
      space(cursor);
      const quote = cursor.text[cursor.at];
      if (quote !== '"' && quote !== "'") throw new NotLiteral();
      const key = JSON.stringify(pythonString(cursor, quote));
      expect(cursor, ":");
      return `${key}: ${pythonValue(cursor)}`;
    })}}`;
  }
  return scalar(match(cursor, /[^\s,)\]}]+/y), { True: "true", False: "false", None: "null" });
}

/** A string between quotes, with Python's common escapes. */
function pythonString(cursor: Cursor, quote: string): string {
  const escapes: Readonly<Record<string, string>> = {
    n: "\n",
    t: "\t",
    r: "\r",
    b: "\b",
    f: "\f",
    "0": "\0",
    "\n": "",
  };
  let value = "";
  for (cursor.at++; ; cursor.at++) {
    const c = cursor.text[cursor.at];
    if (c === undefined) throw new NotLiteral();
    if (c === quote) break;
    if (c !== "\\") {
      value += c;
      continue;
    }
    const letter = cursor.text[++cursor.at];
    const digits = letter === "x" ? 2 : letter === "u" ? 4 : letter === "U" ? 8 : 0;
    if (digits > 0) {
      const hex = cursor.text.slice(cursor.at + 1, cursor.at + 1 + digits);
      const code = /^[0-9a-fA-F]+$/.test(hex) && hex.length === digits ? Number.parseInt(hex, 16) : Infinity;
      if (code > 0x10ffff) throw new NotLiteral();
      value += String.fromCodePoint(code);
      cursor.at += digits;
    } else if (letter !== undefined && Object.hasOwn(escapes, letter)) value += escapes[letter];
    else if (letter === "\\" || letter === "'" || letter === '"') value += letter;
    else value += `\\${letter ?? ""}`;
  }
  cursor.at++;
  return value;
}

/** Arguments as Gemma writes them, `{a:<escape>text<escape>,b:[1,true]}`, as JSON; undefined where they are none. */
export function gemmaArguments(text: string, quote: string): string | undefined {
  const value = (cursor: Cursor): string => {
    space(cursor);
    const { at } = cursor;
    if (text.startsWith(quote, at)) {
      const end = text.indexOf(quote, at + quote.length);
      if (end === -1) throw new NotLiteral();
      cursor.at = end + quote.length;
      return JSON.stringify(text.slice(at + quote.length, end));
    }
    if (text[at] === "[") return `[${items(cursor, "]", value)}]`;
    if (text[at] === "{") return `{${items(cursor, "}", member)}}`;
    return scalar(match(cursor, /[^,\]}]+/y).trim(), {});
  };
  const member = (cursor: Cursor): string => {
    space(cursor);
    const key = JSON.stringify(match(cursor, /[^:{}[\],]+/y).trim());
    expect(cursor, ":");
    return `${key}: ${value(cursor)}`;
  };
  return attempt(text, value);
}

/** Items between an opening bracket, where the cursor is, and its closing one. A comma may stand behind the last. */
function items(cursor: Cursor, close: string, item: (cursor: Cursor) => string): string {
  const list: string[] = [];
  cursor.at++;
  for (space(cursor); cursor.text[cursor.at] !== close; space(cursor)) {
    list.push(item(cursor));
    space(cursor);
    if (cursor.text[cursor.at] !== close) expect(cursor, ",");
  }
  cursor.at++;
  return list.join(", ");
}

/** A number or a word that JSON has, perhaps by another name. */
function scalar(text: string, words: Readonly<Record<string, string>>): string {
  if (Object.hasOwn(words, text)) return words[text] ?? "";
  if (/^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)$/.test(text)) return text;
  throw new NotLiteral();
}

function attempt(text: string, read: (cursor: Cursor) => string): string | undefined {
  const cursor: Cursor = { text, at: 0 };
  try {
    const value = read(cursor);
    space(cursor);
    return cursor.at === text.length ? value : undefined;
  } catch (error) {
    if (error instanceof NotLiteral) return undefined;
    throw error;
  }
}

function space(cursor: Cursor): void {
  while (/\s/.test(cursor.text.charAt(cursor.at))) cursor.at++;
}

function expect(cursor: Cursor, c: string): void {
  space(cursor);
  if (cursor.text[cursor.at] !== c) throw new NotLiteral();
  cursor.at++;
}

function match(cursor: Cursor, pattern: RegExp): string {
  pattern.lastIndex = cursor.at;
  const found = pattern.exec(cursor.text)?.[0];
  if (found === undefined) throw new NotLiteral();
  cursor.at += found.length;
  return found;
}
