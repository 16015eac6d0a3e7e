import { isUtf8 } from "node:buffer";
import { LoquiError } from "../errors.ts";
import { findSyntaxError, stringEnd } from "./json-syntax.ts";

/** JSON text with the value it parses to; `raw_json` fields are cut from the text. */
export interface JsonSource {
  readonly text: string;
  readonly value: unknown;
}

/** The deepest nesting of arrays and objects that is read. */
export const maxJsonDepth = 64;

/**
 * Parses JSON text. Of a member given twice the last one counts.
 *
 * Throws `invalid_request` naming the position (in UTF-16 units) of a syntax
 * error, for invalid UTF-8, and for nesting deeper than {@link maxJsonDepth},
 * which is measured in linear time before anything is built.
 */
export function parseJson(body: string | Uint8Array): JsonSource {
  const text = withoutByteOrderMark(typeof body === "string" ? wellFormed(body) : decodeUtf8(body));
  checkDepth(text);
  try {
    return { text, value: JSON.parse(text) };
  } catch (cause) {
    const { position, message } = findSyntaxError(text);
    const before = text.slice(0, position).split("\n");
    const column = (before.at(-1)?.length ?? 0) + 1;
    throw new LoquiError(
      "invalid_request",
      `the body is not valid JSON: ${message} at position ${position} (line ${before.length}, column ${column})`,
      { code: "invalid_json", cause },
    );
  }
}

function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw invalidText("the body holds half of a surrogate pair: no Unicode text");
  return text;
}

function decodeUtf8(body: Uint8Array): string {
  if (!isUtf8(body)) throw invalidText("the body is not valid UTF-8");
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
}

function withoutByteOrderMark(text: string): string {
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function invalidText(message: string): LoquiError {
  return new LoquiError("invalid_request", message, { code: "invalid_json" });
}

/**
 * Most bodies have fewer than 64 brackets in all, strings included, and
 * counting those runs at the speed of memchr.
 */
function checkDepth(text: string): void {
  if (countUpTo(text, "[", countUpTo(text, "{", 0)) <= maxJsonDepth) return;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22:
        at = stringEnd(text, at) - 1;
        break;
      case 0x5b:
      case 0x7b:
        if (++depth > maxJsonDepth) {
          throw invalidText(`the body is nested deeper than ${maxJsonDepth} levels at position ${at}`);
        }
        break;
      case 0x5d:
      case 0x7d:
        depth--;
        break;
    }
  }
}

function countUpTo(text: string, bracket: string, count: number): number {
  for (let at = text.indexOf(bracket); at !== -1 && count <= maxJsonDepth; at = text.indexOf(bracket, at + 1)) count++;
  return count;
}
