import { RateLimiterMemory, type RateLimiterRes } from "rate-limiter-flexible";
import { LoquiError } from "../errors.ts";

/** How much one account may use. Infinity is no limit; undefined is the default of the server. */
export interface RateLimit {
  readonly requestsPerMinute?: number | undefined;
  /** Of prompts and completions together. */
  readonly tokensPerMinute?: number | undefined;
}

/** What a request that was counted, or refused, is told. */
export interface RateLimitAnswer {
  /** Which limit is used up; undefined where the request may go on. */
  readonly exceeded: { readonly limit: "requests" | "tokens"; readonly error: LoquiError } | undefined;
  /** OpenAI's `x-ratelimit-…`; none for a limit that is not set. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The use of all accounts. An account is a key, or the address of a client without one. */
export interface RateLimits {
  /**
   * Counts a request, unless a limit is used up. Tokens are known only when the
   * call has ended, so calls that run at the same time can take more than the
   * limit: the account pays with the minutes that follow.
   */
  enter(account: string, limit: RateLimit): Promise<RateLimitAnswer>;
  /** Charges the tokens of a call that has ended. */
  charge(account: string, limit: RateLimit, tokens: number): Promise<void>;
}

const windowSeconds = 60;
/** The longest that an account pays for tokens it has taken beyond its limit; also keeps timers from overflowing. */
const maxDebtSeconds = 86_400;

/**
 * Rate limits in windows of a minute, which begin with an account's first
 * request; kept in memory, an entry for each account that was active in the
 * last window. `defaults` hold where an account has no limit of its own.
 */
export function createRateLimits(defaults: RateLimit): RateLimits {
  const requestCounters = new Map<number, RateLimiterMemory>();
  const tokenCounters = new Map<number, RateLimiterMemory>();

  /** Counters are kept by limit, so that accounts whose limit stays keep their count when the keys are read again. */
  function counterOf(counters: Map<number, RateLimiterMemory>, points: number): RateLimiterMemory | undefined {
    if (points === Number.POSITIVE_INFINITY) return undefined;
    let counter = counters.get(points);
    if (counter === undefined) {
      counter = new RateLimiterMemory({ points, duration: windowSeconds });
      counters.set(points, counter);
    }
    return counter;
  }

  const limitsOf = (limit: RateLimit) => ({
    requests: limit.requestsPerMinute ?? defaults.requestsPerMinute ?? Number.POSITIVE_INFINITY,
    tokens: limit.tokensPerMinute ?? defaults.tokensPerMinute ?? Number.POSITIVE_INFINITY,
  });

  return {
    async enter(account, limit) {
      const { requests, tokens } = limitsOf(limit);
      const headers: Record<string, string> = {};

      const tokenState = await counterOf(tokenCounters, tokens)?.get(account);
      if (tokens !== Number.POSITIVE_INFINITY) describe(headers, "tokens", tokens, tokenState ?? undefined);
      if (tokenState && tokenState.consumedPoints >= tokens && tokenState.msBeforeNext > 0) {
        return { exceeded: exceeded("tokens", tokens, tokenState), headers };
      }

      const counter = counterOf(requestCounters, requests);
      if (counter === undefined) return { exceeded: undefined, headers };
      // Not `consume`, which rejects with what is no error: this counts the same.
      const requestState = await counter.penalty(account);
      describe(headers, "requests", requests, requestState);
      if (requestState.consumedPoints <= requests) return { exceeded: undefined, headers };
      return { exceeded: exceeded("requests", requests, requestState), headers };
    },

    async charge(account, limit, used) {
      const { tokens } = limitsOf(limit);
      const counter = counterOf(tokenCounters, tokens);
      if (counter === undefined || used <= 0) return;
      const state = await counter.penalty(account, used);
      const beyond = state.consumedPoints - tokens;
      if (beyond <= 0) return;
      // What was taken beyond the limit is as many minutes of it as it is worth.
      const debtSeconds = state.msBeforeNext / 1000 + (beyond / tokens) * windowSeconds;
      await counter.set(account, tokens, Math.min(Math.ceil(debtSeconds), maxDebtSeconds));
    },
  };
}

function exceeded(limit: "requests" | "tokens", points: number, { msBeforeNext }: RateLimiterRes) {
  const retryAfterMs = Math.max(msBeforeNext, 1);
  const error = new LoquiError(
    "rate_limited",
    `the limit of ${points} ${limit} a minute is used up; try again in ${Math.ceil(retryAfterMs / 1000)} s`,
    { retryAfterMs },
  );
  return { limit, error };
}

function describe(
  headers: Record<string, string>,
  what: "requests" | "tokens",
  points: number,
  state: RateLimiterRes | undefined,
): void {
  headers[`x-ratelimit-limit-${what}`] = String(points);
  headers[`x-ratelimit-remaining-${what}`] = String(Math.max(points - (state?.consumedPoints ?? 0), 0));
  headers[`x-ratelimit-reset-${what}`] = formatDuration(state?.msBeforeNext ?? 0);
}

/** As OpenAI writes it: `640ms`, `12s`, `6m0s`. */
function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.ceil(ms))}ms`;
  const seconds = Math.ceil(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
