/** Says how many prompt tokens a step may take beside sequences that generate. */
export interface PromptBudget {
  /** Prompt tokens for a step in which so many sequences generate, at least one. */
  tokens(generating: number): number;
  /** The most prompt tokens that such a step should rather take whole than in pieces. */
  wholeTokens(generating: number): number;
  /** Learns from a step how long its tokens took. */
  note(step: TimedStep): void;
}

/** What a step held, and the time from its beginning to its last draw. */
export interface TimedStep {
  readonly generating: number;
  readonly promptTokens: number;
  readonly ms: number;
}

/** How long a step with a piece of a prompt should take. What comes so seldom is sent at once. */
const stepMs = 150;

/**
 * How long a step may take that evaluates short prompts whole, where a pass over
 * the weights takes more than this part of {@link stepMs}: each piece of a prompt
 * needs one, and delays those who generate by it.
 */
const wholeMs = 600;
const costlyPass = 1 / 10;

/**
 * Whoever waits gets on, however long a token takes. Far back in a prompt each
 * takes several times as long as the first ones: 32 took 0.4 s behind 3,000 (135
 * million parameters, two cores).
 */
const leastTokens = 8;

/** Before any prompt has been timed. */
const firstTokens = 64;

/**
 * A budget by time: a token of a prompt takes a tenth of a millisecond on a GPU
 * and ten on a slow processor, and a gap between tokens is noticed in
 * milliseconds. A step takes {@link stepMs}, or twice as long as it would
 * without the piece where that is more: many who generate must not starve those
 * who wait. Times are averaged over the last few steps, as positions far back
 * in a prompt take longer than the first ones.
 */
export function createPromptBudget(): PromptBudget {
  /** Of the last steps without prompts. */
  let plain = { generating: 1, ms: 0 };
  /** Of one prompt token, without the pass over the weights that a piece takes. */
  let tokenMs: number | undefined;

  const plainMs = (generating: number) =>
    generating === 0 ? 0 : plain.ms * Math.max(1, generating / plain.generating);
  /** Of a pass over the weights: no longer than one of those who generate takes. */
  const passMs = () => plain.ms / plain.generating;
  const tokensIn = (ms: number, otherwise: number) =>
    tokenMs === undefined ? otherwise : Math.max(leastTokens, Math.floor((ms - passMs()) / tokenMs));

  return {
    tokens(generating) {
      const without = plainMs(generating);
      return tokensIn(Math.max(stepMs - without, without), firstTokens);
    },
    wholeTokens(generating) {
      return passMs() < costlyPass * stepMs ? 0 : tokensIn(wholeMs - plainMs(generating), 0);
    },
    note({ generating, promptTokens, ms }) {
      if (promptTokens === 0) {
        plain = { generating, ms: plain.generating === generating ? mean(plain.ms, ms) : ms };
      } else if (promptTokens >= leastTokens) {
        const measured = Math.max(ms - plainMs(generating) - passMs(), ms / 16) / promptTokens;
        tokenMs = tokenMs === undefined ? measured : mean(tokenMs, measured);
      }
    },
  };
}

/** Half of it the newest. */
function mean(before: number, newest: number): number {
  return (before + newest) / 2;
}
