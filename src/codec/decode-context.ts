import { type ErrorFields, LoquiError } from "../errors.ts";
import type { DecodeMode } from "./codec.ts";
import { formatPath } from "./path.ts";
import type { SourceNode } from "./raw-spans.ts";
import { describeKind } from "./union.ts";

/** One decoding: where it is, and what it did not understand. */
export interface DecodeContext {
  readonly mode: DecodeMode;
  /** The way to the value at hand: the first `depth` entries hold, the others are left over. */
  readonly steps: (string | number)[];
  /** Paths of what was not understood; at most {@link maxIgnored}. */
  readonly ignored: string[];
  /** The source of the whole; made when it is first asked for. */
  readonly source: () => SourceNode;
}

/** Read a value at `depth` steps from the root; {@link skipped} where it is ignored. */
export type ReadValue = (json: unknown, context: DecodeContext, depth: number) => unknown;

/** What a reader returns for a value that the schema doesn't know, where the mode tolerates that. */
export const skipped = Symbol("skipped");

const maxIgnored = 256;

/** Lists the value at hand as not understood. */
export function ignore(context: DecodeContext, depth: number): void {
  if (context.ignored.length < maxIgnored) context.ignored.push(formatPath(context.steps.slice(0, depth)));
}

/** The error of the value at hand: `path: message`, with the path as `param`. */
export function fail(context: DecodeContext, depth: number, message: string, fields: ErrorFields = {}): never {
  const param = formatPath(context.steps.slice(0, depth));
  throw new LoquiError("invalid_request", `${param === "" ? "request" : param}: ${message}`, {
    ...fields,
    ...(param !== "" && { param }),
  });
}

/** The error of a value of the wrong JSON kind. */
export function failKind(context: DecodeContext, depth: number, expected: string, json: unknown): never {
  return fail(context, depth, `expected ${expected}, got ${describeKind(Array.isArray(json) ? [] : json)}`);
}

/**
 * The source text of the value at hand. Where the text has no such value, the
 * value is written anew: V8 13.6 (Node 24) sometimes takes a member name that
 * begins with an escape for another that begins with a backslash.
 */
export function sourceText(context: DecodeContext, depth: number, json: unknown): string {
  let node: SourceNode | undefined = context.source();
  for (let i = 0; i < depth && node !== undefined; i++) node = node.child(context.steps[i] as string | number);
  return node?.text() ?? JSON.stringify(json);
}
