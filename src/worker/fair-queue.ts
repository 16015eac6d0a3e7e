/** Something that waits for its turn. */
export interface Waiting {
  /** Whose it is. */
  readonly tenant: string;
  /** Tokens of its prompt. */
  readonly tokens: number;
  /** Lower goes first, among those of its tenant. */
  readonly priority: number;
  /** Its request, where that waits for more than one place. */
  readonly group?: WaitingGroup | undefined;
}

/** What is queued together leaves together, and not any more when one of it had its turn. */
export interface WaitingGroup {
  readonly begun: boolean;
}

/** What wants to wait. */
export interface Newcomer {
  readonly tenant: string;
  /** Places that it wants, at least 1. */
  readonly places: number;
  /** Of its prompts. */
  readonly tokens: number;
}

/** The bounds of a queue, for all tenants together. The first to wait may have more of either. */
export interface QueueLimits {
  readonly requests: number;
  readonly tokens: number;
}

/** Whether a newcomer fits. */
export interface Room<T> {
  /** Who has to give way to it. */
  readonly leaving: readonly T[];
  /** Why it does not fit; nobody has to leave then. */
  readonly full?: string;
}

/**
 * A queue in which tenants take turns by the tokens they were served, and
 * within a tenant the order is that of priority, then of arrival.
 *
 * The one with the fewest tokens goes next (Sheng et al., "Fairness in Serving
 * Large Language Models", OSDI 2024: the virtual token counter; prompts are
 * charged when they are admitted, what is generated as it comes). Who comes
 * back after a pause starts level with those who wait: nobody saves up turns,
 * and a lone request waits for one place to become free, however many others
 * have queued.
 */
export interface FairQueue<T extends Waiting> extends Iterable<T> {
  readonly length: number;
  /** Of the prompts that wait. */
  readonly tokens: number;
  push(item: T): void;
  /** Whose turn it is; it stays where it is. */
  next(): T | undefined;
  /** Takes one out; without effect where it is out already. */
  remove(item: T): void;
  /** Notes that a tenant was served tokens; fewer than none takes some back. */
  charge(tenant: string, tokens: number): void;
  /**
   * Whether a newcomer fits; nothing is changed. In a full queue the last of
   * the tenant with the most waiting gives way (as RFC 8290 drops from the
   * fattest flow), where that one had more than the newcomer's tenant then has,
   * in tokens where it keeps at least as much: among several each can have its
   * share, and one alone the whole. `starting`: so many of the queue have a place
   * already.
   */
  roomFor(item: Newcomer, limits: QueueLimits, starting: number): Room<T>;
}

interface Tenant<T> {
  readonly waiting: T[];
  tokens: number;
  served: number;
}

/** Tenants remembered; above, those are forgotten whom forgetting gives no advantage. */
const maxTenants = 1_000;

export function createFairQueue<T extends Waiting>(): FairQueue<T> {
  const tenants = new Map<string, Tenant<T>>();
  let length = 0;
  let tokens = 0;
  /** What the tenant that went last had been served by then. */
  let level = 0;

  function tenantOf(name: string): Tenant<T> {
    let tenant = tenants.get(name);
    if (tenant === undefined) {
      if (tenants.size >= maxTenants) forget();
      tenant = { waiting: [], tokens: 0, served: 0 };
      tenants.set(name, tenant);
    }
    return tenant;
  }

  function forget(): void {
    for (const [name, { waiting, served }] of tenants) {
      if (waiting.length === 0 && served <= level) tenants.delete(name);
    }
  }

  function leastServed(): Tenant<T> | undefined {
    let least: Tenant<T> | undefined;
    for (const tenant of tenants.values()) {
      if (tenant.waiting.length > 0 && (least === undefined || tenant.served < least.served)) least = tenant;
    }
    return least;
  }

  return {
    get length() {
      return length;
    },
    get tokens() {
      return tokens;
    },
    push(item) {
      const tenant = tenantOf(item.tenant);
      if (tenant.waiting.length === 0) tenant.served = Math.max(tenant.served, leastServed()?.served ?? level);
      tenant.waiting.splice(tenant.waiting.findLastIndex((other) => other.priority <= item.priority) + 1, 0, item);
      tenant.tokens += item.tokens;
      tokens += item.tokens;
      length += 1;
    },
    next() {
      const tenant = leastServed();
      if (tenant === undefined) return undefined;
      level = Math.max(level, tenant.served);
      return tenant.waiting[0];
    },
    remove(item) {
      const tenant = tenants.get(item.tenant);
      const index = tenant?.waiting.indexOf(item) ?? -1;
      if (tenant === undefined || index === -1) return;
      tenant.waiting.splice(index, 1);
      tenant.tokens -= item.tokens;
      tokens -= item.tokens;
      length -= 1;
    },
    charge(name, served) {
      tenantOf(name).served += served;
    },
    roomFor(item, limits, starting) {
      const full = fullness(item, limits, length - starting, tokens);
      if (full === undefined) return { leaving: [] };
      const leaving: T[] = [];
      const lines = new Map(
        [...tenants].map(([name, { waiting, tokens: queued }]) => {
          const whole = waiting.filter(({ group }) => group?.begun !== true);
          return [name, { whole, count: waiting.length, tokens: queued }];
        }),
      );
      const own = lines.get(item.tenant) ?? { whole: [], count: 0, tokens: 0 };
      let queued = tokens;
      for (let bound = full.bound; ; ) {
        const longest = [...lines.values()].reduce((a, b) => (b[bound] > a[bound] ? b : a), own);
        if (longest === own) break;
        const last = lastOf(longest.whole);
        if (last.length === 0) break;
        const freed = last.reduce((sum, { tokens }) => sum + tokens, 0);
        if (bound === "count" && longest.count <= own.count + item.places) break;
        longest.whole.splice(-last.length);
        longest.count -= last.length;
        longest.tokens -= freed;
        if (bound === "tokens" && longest.tokens < own.tokens + item.tokens) break;
        leaving.push(...last);
        queued -= freed;
        const still = fullness(item, limits, length - starting - leaving.length, queued);
        if (still === undefined) return { leaving };
        bound = still.bound;
      }
      return { leaving: [], full: full.message };
    },
    *[Symbol.iterator]() {
      for (const { waiting } of tenants.values()) yield* waiting;
    },
  };
}

/** The last that waits, with its group. */
function lastOf<T extends Waiting>(waiting: readonly T[]): readonly T[] {
  const group = waiting.at(-1)?.group;
  if (group === undefined) return waiting.slice(-1);
  return waiting.slice(waiting.findIndex((item) => item.group === group));
}

/** By which bound there is no room, while so many requests and tokens wait. */
function fullness(
  item: Newcomer,
  limits: QueueLimits,
  requests: number,
  tokens: number,
): { readonly bound: "count" | "tokens"; readonly message: string } | undefined {
  if (requests < 0) return undefined;
  if (requests >= limits.requests || (requests > 0 && requests + item.places > limits.requests)) {
    const more = item.places === 1 ? "" : `, with this request's ${item.places} choices they would exceed it`;
    return { bound: "count", message: `${requests} requests wait already, the maximum is ${limits.requests}${more}` };
  }
  if (requests === 0 || tokens + item.tokens <= limits.tokens) return undefined;
  return {
    bound: "tokens",
    message: `${tokens} prompt tokens wait already, with this request's ${item.tokens} they would exceed the maximum ${limits.tokens}`,
  };
}
