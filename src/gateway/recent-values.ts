/** A distribution of the values that were measured last. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** The last values of a measurement. */
export interface RecentValues {
  add(value: number): void;
  /** Sorts what is kept; undefined where nothing is. */
  distribution(): Distribution | undefined;
}

/** Keeps the last `capacity` values. Percentiles are exact: the least value that so many are no greater than. */
export function createRecentValues(capacity = 1_024): RecentValues {
  const values = new Float64Array(capacity);
  let added = 0;
  return {
    add(value) {
      values[added % capacity] = value;
      added += 1;
    },
    distribution() {
      const count = Math.min(added, capacity);
      if (count === 0) return undefined;
      const sorted = values.slice(0, count).sort();
      const at = (part: number) => sorted[Math.max(0, Math.ceil(part * count) - 1)] ?? 0;
      const mean = sorted.reduce((sum, value) => sum + value, 0) / count;
      return { count, mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
    },
  };
}

/** Sums values over the last minute. */
export interface MinuteSum {
  /** `nowMs`: of a clock that doesn't go back. */
  add(value: number, nowMs: number): void;
  /** Per second, over the last minute. */
  perSecond(nowMs: number): number;
}

/** Costs a sum of 60 numbers to read: one for each second. */
export function createMinuteSum(): MinuteSum {
  const seconds = 60;
  const sums = new Float64Array(seconds);
  let newest = 0;

  function advance(nowMs: number): number {
    const second = Math.floor(nowMs / 1000);
    for (let next = Math.max(newest + 1, second - seconds + 1); next <= second; next++) sums[next % seconds] = 0;
    newest = Math.max(newest, second);
    return second;
  }

  return {
    add(value, nowMs) {
      const index = advance(nowMs) % seconds;
      sums[index] = (sums[index] ?? 0) + value;
    },
    perSecond(nowMs) {
      advance(nowMs);
      return sums.reduce((sum, value) => sum + value, 0) / seconds;
    },
  };
}
