/**
 * Shares the prompt tokens that one batch may take among the prompts that
 * wait, in order of their arrival; `remaining[i]` is what prompt `i` still
 * needs, at least 1. Returns each one's piece, 0 for none.
 *
 * Half goes to the oldest, so that none waits forever; the rest goes to the
 * shortest first, so that a short prompt isn't stuck behind a long one. Equal
 * ones go in order of arrival: halves of each would only make both late.
 */
export function sharePieces(remaining: readonly number[], budget: number): number[] {
  const pieces = remaining.map(() => 0);
  const first = remaining[0];
  if (first === undefined || budget <= 0) return pieces;
  pieces[0] = Math.min(first, Math.ceil(budget / 2));
  let left = budget - pieces[0];
  const shortestFirst = remaining
    .map((tokens, index) => ({ index, tokens }))
    .sort((a, b) => a.tokens - b.tokens || a.index - b.index);
  for (const { index, tokens } of shortestFirst) {
    const had = pieces[index] ?? 0;
    const more = Math.min(tokens - had, left);
    pieces[index] = had + more;
    left -= more;
    if (left === 0) break;
  }
  return pieces;
}

/** Half of the prompts whole, as {@link sharePieces} orders them: the oldest and the shortest others. */
export function firstHalf(remaining: readonly number[]): number[] {
  const others = [...remaining.entries()].slice(1).sort(([i, a], [j, b]) => a - b || i - j);
  const taken = new Set(others.slice(0, Math.ceil(remaining.length / 2) - 1).map(([index]) => index));
  return remaining.map((tokens, index) => (index === 0 || taken.has(index) ? tokens : 0));
}

/** The prompts that fit into a budget whole, the oldest first; the first that doesn't ends them. */
export function wholePieces(remaining: readonly number[], budget: number): number[] {
  let left = budget;
  return remaining.map((tokens) => {
    const fits = tokens <= left;
    left = fits ? left - tokens : 0;
    return fits ? tokens : 0;
  });
}

/** Tokens of all pieces. */
export function total(pieces: readonly number[]): number {
  return pieces.reduce((sum, tokens) => sum + tokens, 0);
}
