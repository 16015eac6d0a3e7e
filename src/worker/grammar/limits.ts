import { LoquiError } from "../../errors.ts";

/**
 * Bounds of one compilation. They hold its time under 200 ms and its memory
 * under 64 MB on a slow core, and keep the grammar's own parser and its
 * matching affordable; what goes over one is refused by name.
 */
export const grammarLimits = {
  /** Characters of a schema, a regular expression, or all choices together. */
  sourceChars: 131_072,
  /** Nesting of a schema's JSON. */
  depth: 64,
  /** JSON values in a schema. */
  values: 20_000,
  /** `$ref`, `allOf`, `anyOf` and `oneOf` that apply to one value through one another. */
  applied: 128,
  /** Ways of choosing branches of `anyOf` and `oneOf`, over all places. */
  alternatives: 2_000,
  /** States of the automata behind patterns, formats, enums and numeric bounds. */
  states: 8_000,
  /** Elementary steps of the work on automata. */
  steps: 400_000,
  /** Rules of the grammar. */
  rules: 5_000,
  /** Characters of the grammar's text, all ASCII. */
  grammarChars: 524_288,
} as const;

/** What a compilation spends; see {@link grammarLimits}. */
export type Spending = "values" | "alternatives" | "states" | "steps" | "rules" | "grammarChars";

const names: Record<Spending, string> = {
  values: "JSON values",
  alternatives: "ways through anyOf and oneOf",
  states: "states of its patterns, enums and bounds",
  steps: "steps to work out its patterns, bounds and branches",
  rules: "rules of its grammar",
  grammarChars: "characters of its grammar",
};

/** Counts what one compilation spends, and says no in the name of the source. */
export interface Budget {
  /** The same budget for another source. */
  for(param: string): Budget;
  /** Throws `invalid_request` when the limit is passed. */
  spend(what: Spending, amount?: number): void;
  /** An error about the source: a request field, or a place in it. */
  refuse(message: string): LoquiError;
  /** Throws `invalid_request` when the source is too long. */
  checkLength(chars: number): void;
}

/** `param` is the request field that holds the source. */
export function createBudget(param: string): Budget {
  return budgetOf(param, {});
}

function budgetOf(param: string, spent: Partial<Record<Spending, number>>): Budget {
  const refuse = (message: string) => new LoquiError("invalid_request", message, { param });
  return {
    for: (other) => budgetOf(other, spent),
    refuse,
    spend(what, amount = 1) {
      const total = (spent[what] ?? 0) + amount;
      spent[what] = total;
      if (total > grammarLimits[what]) {
        throw refuse(
          `\`${param}\` is too complex: it needs more than the limit of ${grammarLimits[what]} ${names[what]}`,
        );
      }
    },
    checkLength(chars) {
      if (chars <= grammarLimits.sourceChars) return;
      throw refuse(`\`${param}\` has ${chars} characters; the limit is ${grammarLimits.sourceChars}`);
    },
  };
}
