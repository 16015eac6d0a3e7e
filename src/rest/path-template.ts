/** One part of a path between slashes. `*` stands for one segment, `**` for one or more. */
export type TemplateSegment =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "*" }
  | { readonly kind: "**" };

/** A field of the request that takes segments `start` to `end` (exclusive) of the path. */
export interface TemplateVariable {
  /** Dotted path of proto field names. */
  readonly fieldPath: string;
  readonly start: number;
  /** Undefined where the variable ends with `**`: it takes all that is left. */
  readonly end: number | undefined;
}

/** A parsed path of google.api.http. */
export interface PathTemplate {
  readonly source: string;
  readonly segments: readonly TemplateSegment[];
  readonly variables: readonly TemplateVariable[];
  /** What stands behind the last `:`, e.g. `load`. */
  readonly verb: string | undefined;
}

const literalPattern = /(?:[-_.~0-9A-Za-z]|%[0-9A-Fa-f]{2})+/y;
const fieldPathPattern = /[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*/y;

/**
 * Parses a path template by the grammar of google/api/http.proto. buf accepts
 * anything there, so this is the only check: it throws with the position.
 *
 * It differs from the grammar in one point: `**` matches one or more segments,
 * not zero, since no resource here has an empty name.
 */
export function parsePathTemplate(source: string): PathTemplate {
  const segments: TemplateSegment[] = [];
  const variables: TemplateVariable[] = [];
  let position = 0;

  function fail(what: string): never {
    throw new Error(`path template ${JSON.stringify(source)}, position ${position}: ${what}`);
  }

  function take(text: string): boolean {
    if (!source.startsWith(text, position)) return false;
    position += text.length;
    return true;
  }

  function takePattern(pattern: RegExp, what: string): string {
    pattern.lastIndex = position;
    const match = pattern.exec(source);
    if (match === null) fail(`expected ${what}`);
    position += match[0].length;
    return match[0];
  }

  function segment(inVariable: boolean): void {
    if (segments.at(-1)?.kind === "**") fail("nothing may follow ** but a verb");
    if (take("**")) segments.push({ kind: "**" });
    else if (take("*")) segments.push({ kind: "*" });
    else if (source[position] === "{") {
      if (inVariable) fail("a variable may not contain another one");
      variable();
    } else {
      const at = position;
      const text = takePattern(literalPattern, "a literal, *, ** or a variable");
      try {
        segments.push({ kind: "literal", text: decodeURIComponent(text) });
      } catch {
        position = at;
        fail("percent-encoding that is not UTF-8");
      }
    }
  }

  function variable(): void {
    take("{");
    const at = position;
    const fieldPath = takePattern(fieldPathPattern, "a field path");
    if (variables.some((other) => other.fieldPath === fieldPath)) {
      position = at;
      fail(`variable ${fieldPath} is given twice`);
    }
    const start = segments.length;
    if (take("=")) {
      do segment(true);
      while (take("/"));
    } else {
      segments.push({ kind: "*" });
    }
    if (!take("}")) fail("expected }");
    variables.push({ fieldPath, start, end: segments.at(-1)?.kind === "**" ? undefined : segments.length });
  }

  if (source[0] !== "/") fail("expected /");
  while (take("/")) segment(false);
  const verb = take(":") ? takePattern(literalPattern, "a verb") : undefined;
  if (position < source.length) fail(`unexpected ${source[position]}`);
  return { source, segments, variables, verb };
}
