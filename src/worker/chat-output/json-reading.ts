import type { OutputEvent, Reading } from "./events.ts";
import { more, peek, type Source, skipSpace, take } from "./source.ts";

/** Takes a JSON string and answers it decoded; undefined where there is none or it is broken. */
export function* takeString(source: Source): Reading<string | undefined> {
  if ((yield* peek(source)) !== '"') return undefined;
  let at = 1;
  for (;;) {
    while (at < source.text.length) {
      const c = source.text[at];
      if (c === '"') return parse(take(source, at + 1)) as string | undefined;
      if (c === "\\" && at + 1 === source.text.length) break;
      at += c === "\\" ? 2 : 1;
    }
    if (!(yield* more(source))) return undefined;
  }
}

/** Takes a JSON value and answers its text. Broken JSON ends where nothing fits any more: undefined. */
export function* takeValue(source: Source): Reading<string | undefined> {
  let text = "";
  const reading = streamValue(source, (piece) => ({ type: "arguments", text: piece }));
  for (;;) {
    const { done, value } = reading.next();
    if (done === true) return value ? text : undefined;
    if (value === undefined) yield undefined;
    else if (value.type === "arguments") text += value.text;
  }
}

/**
 * Takes a JSON value and yields its text as it comes, in the model's own
 * spelling. True where the value is complete. Brackets and strings are followed,
 * not the whole grammar: whether it is JSON is for its reader to find.
 */
export function* streamValue(source: Source, onText: (text: string) => OutputEvent): Reading<boolean> {
  let depth = 0;
  let inString = false;
  const first = yield* peek(source);
  if (first === "") return false;
  const scalar = !/["{[]/.test(first);
  for (;;) {
    let at = 0;
    let complete = false;
    for (; at < source.text.length && !complete; at++) {
      const c = source.text[at];
      if (inString) {
        if (c === "\\") {
          // An escape is not taken apart.
          if (at + 1 === source.text.length) break;
          at++;
        } else if (c === '"') inString = false;
      } else if (scalar) {
        if (/[\s,}\]]/.test(c ?? "")) break;
        continue;
      } else if (c === '"') inString = true;
      else if (c === "{" || c === "[") depth++;
      else if (c === "}" || c === "]") depth--;
      complete = !scalar && !inString && depth === 0;
    }
    const scalarEnded = scalar && at < source.text.length;
    const text = take(source, at);
    if (text !== "") yield onText(text);
    if (complete || scalarEnded) return true;
    if (!(yield* more(source))) return scalar;
  }
}

/** Takes a comma or the closing bracket after an item; undefined where neither stands there. */
export function* takeSeparator(source: Source, close: string): Reading<string | undefined> {
  yield* skipSpace(source);
  const next = yield* peek(source);
  if (next !== "," && next !== close) return undefined;
  take(source, 1);
  if (next === ",") yield* skipSpace(source);
  return next;
}

/** Parsed JSON; undefined where it is none. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
