/** What is held against an input. */
export interface Suspicion {
  /** Response messages that were out when the worker died, at most. */
  readonly messages: number;
}

/** Which inputs a worker died of, or may have. */
export interface Suspects {
  /** Whether nothing is held against any input: then none has to be looked up. */
  readonly none: boolean;
  /** What is held against an input that must run alone; undefined where it need not. */
  suspicion(input: string): Suspicion | undefined;
  /** When a quarantine ends, on the clock of `performance.now()`; undefined for an input that is in none. */
  quarantinedUntil(input: string): number | undefined;
  /**
   * The worker died while it answered this input, `alone` or beside others.
   * True where that puts the input into quarantine: it was alone, and it was
   * not the first time.
   */
  died(input: string, how: { readonly alone: boolean; readonly messages: number }): boolean;
  /** The input was answered. */
  acquit(input: string): void;
}

interface Entry {
  readonly quarantined: boolean;
  readonly messages: number;
  readonly until: number;
}

/** How long something is held against an input. */
export const holdMs = 3_600_000;
/** Inputs that are held at most; the oldest is forgotten for another. */
const maxEntries = 1_024;

/**
 * Remembers the inputs that were in flight when a worker died. The first death
 * proves nothing, others were in flight too: the input runs alone the next
 * time. One that the worker dies of when alone is in quarantine for an hour.
 */
export function createSuspects(now: () => number = () => performance.now()): Suspects {
  /** In order of `until`. */
  const entries = new Map<string, Entry>();

  function lookUp(input: string): Entry | undefined {
    for (const [oldest, entry] of entries) {
      if (entry.until > now()) break;
      entries.delete(oldest);
    }
    return entries.get(input);
  }

  function hold(input: string, entry: Omit<Entry, "until">): void {
    entries.delete(input);
    entries.set(input, { ...entry, until: now() + holdMs });
    const oldest = entries.keys().next();
    if (entries.size > maxEntries && !oldest.done) entries.delete(oldest.value);
  }

  return {
    get none() {
      return entries.size === 0;
    },
    suspicion(input) {
      const entry = lookUp(input);
      return entry === undefined || entry.quarantined ? undefined : entry;
    },
    quarantinedUntil(input) {
      const entry = lookUp(input);
      return entry?.quarantined ? entry.until : undefined;
    },
    died(input, { alone, messages }) {
      const before = lookUp(input);
      const quarantined = before !== undefined && (before.quarantined || alone);
      hold(input, { quarantined, messages: Math.max(messages, before?.messages ?? 0) });
      return quarantined && before.quarantined === false;
    },
    acquit(input) {
      if (lookUp(input)?.quarantined === false) entries.delete(input);
    },
  };
}
