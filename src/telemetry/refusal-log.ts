import type { ErrorKind } from "../errors.ts";
import type { Logger } from "./log.ts";

export type RefusalLevel = "debug" | "info" | "warn";

/** Writes what a request was refused with, or failed of; see {@link createRefusalLog}. */
export type RefusalLog = (level: RefusalLevel, kind: ErrorKind, fields: object, message: string) => void;

export interface RefusalLogOptions {
  /** Lines of one kind and message that are written in a period. Default 100. */
  readonly lines?: number;
  /** Default 10 s. */
  readonly periodMs?: number;
}

/** What is counted of one kind and message in the running period. */
interface Count {
  readonly level: RefusalLevel;
  readonly kind: ErrorKind;
  readonly message: string;
  seen: number;
}

/**
 * A log of refusals that a flood can't flood: they cost the server next to
 * nothing, and a line each would cost more. Of each kind the first lines of a
 * period are written; how many more there were says one line at its end. The
 * metrics count all of them.
 */
export function createRefusalLog(log: Logger, { lines = 100, periodMs = 10_000 }: RefusalLogOptions = {}): RefusalLog {
  const counts = new Map<string, Count>();

  function endPeriod(): void {
    for (const { level, kind, message, seen } of counts.values()) {
      if (seen > lines) log[level]({ kind, unlogged: seen - lines, periodMs }, `${message}: more of them`);
    }
    counts.clear();
  }

  return (level, kind, fields, message) => {
    if (!log.isLevelEnabled(level)) return;
    const key = `${level} ${kind} ${message}`;
    let count = counts.get(key);
    if (count === undefined) {
      // An idle server has no timer; one that ends does not wait for it.
      if (counts.size === 0) setTimeout(endPeriod, periodMs).unref();
      count = { level, kind, message, seen: 0 };
      counts.set(key, count);
    }
    count.seen += 1;
    if (count.seen <= lines) log[level](fields, message);
  };
}
