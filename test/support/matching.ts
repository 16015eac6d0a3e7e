import { expect } from "vitest";

/** Regular expressions stand for texts that match. */
export function matching(wanted: object): object {
  const entries = Object.entries(wanted).map(([key, value]) => [
    key,
    value instanceof RegExp ? expect.stringMatching(value) : value,
  ]);
  return Object.fromEntries(entries);
}
