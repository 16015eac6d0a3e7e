import { seededRandom } from "../codec/random-message.ts";

/** Choices drawn from a seed: the same seed draws the same. */
export interface Random {
  /** The same number for this case and its neighbours: what is costly to draw is drawn once for all of them. */
  readonly block: number;
  /** A number from 0 to 1. */
  next(): number;
  /** A whole number from 0 to `below` - 1. */
  int(below: number): number;
  chance(probability: number): boolean;
  pick<T>(choices: readonly T[]): T;
}

const casesOfBlock = 10_000;

/** The draws of one case: they depend on the run's seed and the case's number alone. */
export function caseRandom(seed: number, number: number): Random {
  // Neighbouring numbers must not draw alike: both go through the mixing of a generator of their own.
  const mixed = seededRandom(Math.imul(seed, 0x9e3779b1) ^ number)() * 2 ** 32;
  const next = seededRandom(mixed ^ number);
  const int = (below: number) => Math.floor(next() * below);
  return {
    block: Math.imul(seed, 1_000_003) + Math.floor(number / casesOfBlock),
    next,
    int,
    chance: (probability) => next() < probability,
    pick: (choices) => choices[int(choices.length)] as (typeof choices)[number],
  };
}
