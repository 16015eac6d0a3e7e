import type { RequestRecord } from "../request-context.ts";
import { createMinuteSum, createRecentValues, type Distribution } from "./recent-values.ts";

/** What the calls of one model have come to since the server started. Times are in milliseconds. */
export interface ModelUsage {
  /** Calls that a backend was asked to answer, however they ended. */
  readonly requests: number;
  /** Those that failed; the cancelled ones are not among them. */
  readonly errors: number;
  /** Those that their clients broke off. */
  readonly cancelled: number;
  /** Tokens of the prompts of answered calls, cached ones included. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens evaluated and tokens generated a second, over the last minute. */
  readonly promptTokensPerSecond: number;
  readonly completionTokensPerSecond: number;
  /** Distributions over the last calls: a thousand numbers to sort for each. */
  recent(): RecentTimes;
}

/** Undefined where none was measured. */
export interface RecentTimes {
  readonly queueMs: Distribution | undefined;
  readonly firstTokenMs: Distribution | undefined;
  readonly perTokenMs: Distribution | undefined;
  readonly durationMs: Distribution | undefined;
}

/** Adds up the records of calls by model. */
export interface Usage {
  /** Takes the record of a finished call. */
  add(record: RequestRecord): void;
  /** What a model's calls have come to, by its id. */
  of(modelId: string): ModelUsage;
}

/** Has room for every model that a record names: they are those that exist. */
export function createUsage(now: () => number = () => performance.now()): Usage {
  const tallies = new Map<string, Tally>();

  function tallyOf(modelId: string): Tally {
    const tally = tallies.get(modelId) ?? createTally(now);
    tallies.set(modelId, tally);
    return tally;
  }

  return {
    add(record) {
      // Without a backend it was no call of the model: it was listed, loaded, or refused before.
      if (record.modelId !== undefined && record.backend !== undefined) tallyOf(record.modelId).add(record);
    },
    of: (modelId) => (tallies.get(modelId) ?? createTally(now)).read(),
  };
}

interface Tally {
  add(record: RequestRecord): void;
  read(): ModelUsage;
}

function createTally(now: () => number): Tally {
  const totals = { requests: 0, errors: 0, cancelled: 0, promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
  const promptRate = createMinuteSum();
  const completionRate = createMinuteSum();
  const queueMs = createRecentValues();
  const firstTokenMs = createRecentValues();
  const perTokenMs = createRecentValues();
  const durationMs = createRecentValues();

  return {
    add(record) {
      const { outcome, promptTokens = 0, cachedTokens = 0, completionTokens = 0, generationMs } = record;
      totals.requests += 1;
      if (outcome === "cancelled") totals.cancelled += 1;
      else if (outcome !== "ok") totals.errors += 1;
      totals.promptTokens += promptTokens;
      totals.cachedTokens += cachedTokens;
      totals.completionTokens += completionTokens;
      promptRate.add(promptTokens - cachedTokens, now());
      completionRate.add(completionTokens, now());
      if (record.queueMs !== undefined) queueMs.add(record.queueMs);
      if (record.firstTokenMs !== undefined) firstTokenMs.add(record.firstTokenMs);
      if (record.durationMs !== undefined) durationMs.add(record.durationMs);
      if (generationMs !== undefined && completionTokens > 1) perTokenMs.add(generationMs / (completionTokens - 1));
    },
    read: () => ({
      ...totals,
      promptTokensPerSecond: promptRate.perSecond(now()),
      completionTokensPerSecond: completionRate.perSecond(now()),
      recent: () => ({
        queueMs: queueMs.distribution(),
        firstTokenMs: firstTokenMs.distribution(),
        perTokenMs: perTokenMs.distribution(),
        durationMs: durationMs.distribution(),
      }),
    }),
  };
}
