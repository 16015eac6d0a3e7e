/** The middle one; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The median of one figure, and how far it went: `81.2 (78.0–84.1)`. */
export function figure(values: readonly number[], digits = 1): string {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${median(values).toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;
}

/** The median over the rounds of one side's figure as part of another's in the same round. */
export function ratio(own: readonly number[], others: readonly number[]): number {
  return median(own.map((value, i) => value / (others[i] ?? Number.NaN)));
}
