/** Sequence ids that follow one another: the first and the last. */
interface Run {
  readonly first: number;
  readonly last: number;
}

/** How some runs are computed: at what cost, and what is computed with them. */
interface Plan {
  readonly cost: number;
  readonly fillers: readonly number[];
}

/**
 * What a pass over the weights costs, by its rows of one token, in units of a
 * row: 135 million parameters (Q8_0) on two cores took 8.7 ms for one, 19 to 22
 * for two to four, 34 for eight and 50 for sixteen. Where reading the weights
 * counts for more than computing, rows are cheaper still.
 */
function passCost(rows: number): number {
  return rows === 1 ? 4 : 8 + rows;
}

/**
 * Idle sequences that are worth computing with those that generate, for nothing:
 * llama.cpp makes a pass over all weights for each run of consecutive sequence
 * ids (`llama_batch_allocr::split_equal`), and generations that end leave gaps.
 * `generating` are the ids of the rows of one token, rising; `busy` those of the
 * longer ones; `canFill` says of any other whether it may be computed.
 */
export function fillersFor(
  generating: readonly number[],
  busy: ReadonlySet<number>,
  canFill: (sequence: number) => boolean,
): readonly number[] {
  const runs = runsOf(generating);
  // The cheapest of no runs, of the first one, of the first two and so on.
  const plans: Plan[] = [{ cost: 0, fillers: [] }];
  for (const end of runs.keys()) {
    let cheapest: Plan = { cost: Number.POSITIVE_INFINITY, fillers: [] };
    let fillers: readonly number[] = [];
    for (let from = end; from >= 0; from -= 1) {
      const [run, next, last, before] = [runs[from], runs[from + 1], runs[end], plans[from]];
      if (run === undefined || last === undefined || before === undefined) break;
      if (from < end && next !== undefined) {
        const gap = range(run.last + 1, next.first).filter((sequence) => !busy.has(sequence));
        if (!gap.every(canFill)) break;
        fillers = [...gap, ...fillers];
      }
      const cost = before.cost + passCost(1 + last.last - run.first);
      if (cost < cheapest.cost) cheapest = { cost, fillers: [...before.fillers, ...fillers] };
    }
    plans.push(cheapest);
  }
  return plans.at(-1)?.fillers ?? [];
}

function runsOf(sequences: readonly number[]): Run[] {
  const runs: Run[] = [];
  for (const sequence of sequences) {
    const before = runs.at(-1);
    if (before?.last === sequence - 1) runs[runs.length - 1] = { first: before.first, last: sequence };
    else runs.push({ first: sequence, last: sequence });
  }
  return runs;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}
