/** JSON text with the value it parses to; `raw_json` fields are cut from the text. */
export interface JsonSource {
  readonly text: string;
  readonly value: unknown;
}

/**
 * Parses JSON text. Of a member given twice the last one counts.
 *
 * Throws `invalid_request` naming the position of a syntax error, for invalid
 * UTF-8, and for nesting deeper than 64, which is measured before anything is built.
 */
export function parseJson(_body: string | Uint8Array): JsonSource {
  throw new Error("not implemented");
}
