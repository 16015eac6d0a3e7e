/**
 * The sides of a comparison in the order of a round. Each begins as often as the
 * others, and after as many rounds backwards as forwards each has come as often
 * before as behind each other: the second of two measures a warmer machine.
 */
export function turns<T>(sides: readonly T[], round: number): T[] {
  const first = round % sides.length;
  const order = [...sides.slice(first), ...sides.slice(0, first)];
  return Math.floor(round / sides.length) % 2 === 0 ? order : order.reverse();
}

/** Runs a measurement on all sides in turn, so many rounds, in another order each time. By side, in their order. */
export async function measureInTurn<S, T>(
  sides: readonly S[],
  rounds: number,
  measure: (side: S) => Promise<T>,
): Promise<T[][]> {
  const results: T[][] = sides.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, side] of turns([...sides.entries()], round)) results[index]?.push(await measure(side));
  }
  return results;
}
