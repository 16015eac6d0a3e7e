import type { FuzzCase } from "./fuzz-case.ts";

/** Most attempts to make a case smaller. */
const budget = 150;

/**
 * The case without the headers and the pieces of its body that it doesn't need
 * to show the same kind of finding (ddmin, Zeller and Hildebrandt 2002, on the
 * body). The case itself where it doesn't show it again.
 */
export async function minimise(
  fuzzCase: FuzzCase,
  finding: string,
  verdictOf: (fuzzCase: FuzzCase) => Promise<string | undefined>,
): Promise<FuzzCase> {
  let left = budget;
  const kind = kindOf(finding);
  const shows = async (candidate: FuzzCase) => {
    left--;
    const found = await verdictOf(candidate);
    return found !== undefined && kindOf(found) === kind;
  };
  // A hung case costs a deadline at each attempt.
  if (/^no end/.test(finding) || !(await shows(fuzzCase))) return fuzzCase;

  let smallest = fuzzCase;
  for (const name of Object.keys(fuzzCase.headers)) {
    if (name === "x-request-id") continue;
    const { [name]: _, ...headers } = smallest.headers;
    const candidate = { ...smallest, headers };
    if (await shows(candidate)) smallest = candidate;
  }
  for (let size = Math.ceil(smallest.body.length / 2); size >= 1 && left > 0; size = Math.floor(size / 2)) {
    for (let at = 0; at < smallest.body.length && left > 0; ) {
      const { body } = smallest;
      const candidate = { ...smallest, body: Buffer.concat([body.subarray(0, at), body.subarray(at + size)]) };
      if (await shows(candidate)) smallest = candidate;
      else at += size;
    }
  }
  return smallest;
}

/** Findings with the same beginning are one kind. */
function kindOf(finding: string): string {
  return finding.replace(/\d+/g, "N").slice(0, 30);
}
