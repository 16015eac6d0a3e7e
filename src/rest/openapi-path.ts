import type { PathTemplate } from "./path-template.ts";

/**
 * A path template in OpenAPI's notation. A variable of several segments becomes
 * one parameter, whose slashes clients send encoded or not; wildcards without a
 * variable get names of their own.
 */
export function openApiPathOf({ segments, variables, verb }: PathTemplate): string {
  let path = "";
  let wildcards = 0;
  for (const [index, segment] of segments.entries()) {
    const variable = variables.find(({ start, end }) => index >= start && (end === undefined || index < end));
    if (variable !== undefined) {
      if (index === variable.start) path += `/{${variable.fieldPath}}`;
    } else if (segment.kind === "literal") {
      path += `/${encodeURIComponent(segment.text)}`;
    } else {
      wildcards += 1;
      path += `/{${wildcardName(wildcards)}}`;
    }
  }
  return verb === undefined ? path : `${path}:${verb}`;
}

/** The names of the wildcards that stand in no variable, in their order. */
export function wildcardsOf({ segments, variables }: PathTemplate): string[] {
  const bare = segments.filter(
    (segment, index) =>
      segment.kind !== "literal" &&
      !variables.some(({ start, end }) => index >= start && (end === undefined || index < end)),
  );
  return bare.map((_, index) => wildcardName(index + 1));
}

function wildcardName(number: number): string {
  return `wildcard${number}`;
}
