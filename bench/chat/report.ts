import { median } from "../support/statistics.ts";
import { turns } from "../support/turns.ts";
import type { Side } from "./sides.ts";

/** Runs a measurement on all sides in turn, so many rounds, in another order each time. By side, in their order. */
export async function measureInTurn<T>(
  sides: readonly Side[],
  rounds: number,
  measure: (side: Side) => Promise<T>,
): Promise<T[][]> {
  const results: T[][] = sides.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, side] of turns([...sides.entries()], round)) results[index]?.push(await measure(side));
  }
  return results;
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

export function line(side: Side, text: string): void {
  console.log(`  ${side.name.padEnd(22)} ${text}`);
}
