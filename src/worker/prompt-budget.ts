/** Says how many prompt tokens a step may take while sequences that generate wait for their turn. */
export interface PromptBudget {
  /** Prompt tokens for a step that so many who generate wait for, at least one. */
  tokens(generating: number): number;
  /** The most prompt tokens that such a step should rather take whole than in pieces, where so many prompts wait. */
  wholeTokens(generating: number, waiting: number): number;
  /** Learns from a step in which so many generated; `ms` is from its beginning to its last draw. */
  noteTokens(generating: number, ms: number): void;
  /** Learns from a step of so many prompt tokens. */
  notePrompts(tokens: number, ms: number): void;
}

/** How long those who generate should wait from one token to the next. What comes so seldom is sent at once. */
const gapMs = 150;

/**
 * How long they may wait for a short prompt that is evaluated whole, and for each
 * further one, up to four together, where a pass over the weights takes more than
 * this part of {@link gapMs}: each piece of a prompt needs one, and delays them by it.
 */
const wholeMs = 600;
const furtherWholeMs = 250;
const costlyPass = 1 / 10;

/**
 * Whoever waits gets on, however long a token takes. Far back in a prompt each
 * takes several times as long as the first ones: 32 took 0.4 s behind 3,000 (135
 * million parameters, two cores), and with 494 million 8 took 0.16, the last 10 of
 * a prompt and the tokens of all behind them 0.26.
 */
const leastTokens = 6;

/** Before any prompt has been timed. */
const firstTokens = 64;

/**
 * A budget by time: a token of a prompt takes a tenth of a millisecond on a GPU
 * and ten on a slow processor, and a gap between tokens is noticed in
 * milliseconds. It is {@link gapMs}, or twice as long as it would be without the
 * piece where that is more: many who generate must not starve those who wait.
 * Times are averaged over the last few steps, as positions far back in a prompt
 * take longer than the first ones.
 */
export function createPromptBudget(): PromptBudget {
  /** Of the last steps in which some generated. */
  let plain = { generating: 1, ms: 0 };
  /** Of one prompt token, without the pass over the weights that a piece takes. */
  let tokenMs: number | undefined;

  const plainMs = (generating: number) => plain.ms * Math.max(1, generating / plain.generating);
  /** Of a pass over the weights: no longer than one of those who generate takes. */
  const passMs = () => plain.ms / plain.generating;
  const tokensIn = (ms: number, otherwise: number) =>
    tokenMs === undefined ? otherwise : Math.max(leastTokens, Math.floor((ms - passMs()) / tokenMs));

  return {
    tokens(generating) {
      const without = plainMs(generating);
      return tokensIn(Math.max(gapMs - without, without), firstTokens);
    },
    wholeTokens(generating, waiting) {
      if (passMs() < costlyPass * gapMs) return 0;
      return tokensIn(wholeMs + (Math.min(waiting, 4) - 1) * furtherWholeMs - plainMs(generating), 0);
    },
    noteTokens(generating, ms) {
      plain = { generating, ms: plain.generating === generating ? mean(plain.ms, ms) : ms };
    },
    notePrompts(tokens, ms) {
      if (tokens < leastTokens) return;
      const measured = Math.max(ms - passMs(), ms / 16) / tokens;
      tokenMs = tokenMs === undefined ? measured : mean(tokenMs, measured);
    },
  };
}

/** Half of it the newest. */
function mean(before: number, newest: number): number {
  return (before + newest) / 2;
}
