import { LoquiError } from "../errors.ts";
import { QueueFull } from "./scheduler.ts";

/** Tokens that are computed as one row of a batch: of a text, or of a pair of texts. `length` is how many. */
export interface BatchRow {
  readonly length: number;
}

/**
 * What computes batches: a row in, `width` numbers out, row after row. One at a
 * time, or as many as there are lanes, each of them `shared`.
 */
export type ComputeBatch<R extends BatchRow = Uint32Array> = (
  rows: readonly R[],
  shared: boolean,
) => Promise<Float32Array>;

export interface BatchLimits {
  /** Tokens of one batch, padding included; a longer row is a batch of its own. */
  readonly batchTokens: number;
  /** Batches that may be computed at the same time; default 1. */
  readonly lanes?: number | undefined;
  /** Rows of more tokens are batches of their own too. */
  readonly aloneAbove?: number | undefined;
  /** Requests that wait or run; more are refused. */
  readonly maxRequests: number;
  /** Tokens of their rows together. The first may have any number. */
  readonly maxTokens: number;
}

/** The rows of one request. */
export interface BatchRequest<R extends BatchRow = Uint32Array> {
  /** At least one row, and in each at least one token. */
  readonly rows: readonly R[];
  readonly tenant: string;
}

/** What a request got. */
export interface BatchResult {
  /** Of its rows, in their order, `width` numbers each: views of what the engine gave, for the request alone. */
  readonly vectors: readonly Float32Array[];
  /** Time until its first batch began, in milliseconds. */
  readonly queueMs: number;
}

/** How busy a batcher is. */
export interface BatcherLoad {
  /** Requests of which rows are computed now. */
  readonly active: number;
  /** Requests that wait for their first batch, and the tokens that wait. */
  readonly queued: number;
  readonly queuedTokens: number;
}

/**
 * Collects rows while the engine is busy and runs them in batches, across
 * requests. There is no timer: an idle engine starts at once. A batch behind
 * which nothing waits has the engine for itself; others share it in lanes.
 *
 * Requests take turns in leading a batch, in a circle of tenants and, within
 * each, of its requests: one with thousands of rows holds up another by a batch
 * each time round. The leader's longest row that waits decides; the batch is
 * filled with the rows closest to it in length, the leader's own first, so that
 * little of it is padding.
 */
export interface Batcher<R extends BatchRow = Uint32Array> {
  /**
   * Throws `overloaded` at once where too much waits, the signal's reason as
   * soon as it is aborted (rows that aren't in a batch then are never
   * computed), `internal` where the engine fails.
   */
  run(request: BatchRequest<R>, signal: AbortSignal): Promise<BatchResult>;
  readonly load: BatcherLoad;
}

/** A row that waits. */
interface Row<R> {
  readonly request: Waiting<R>;
  /** Its place in the request. */
  readonly index: number;
  readonly tokens: R;
}

interface Waiting<R> {
  readonly tenant: string;
  /** Rows that wait, the longest last. */
  readonly rows: Row<R>[];
  /** Tokens of those. */
  tokens: number;
  /** Rows that aren't computed yet. */
  missing: number;
  /** Batches with rows of it that are computed now. */
  running: number;
  readonly arrivedAt: number;
  queueMs: number | undefined;
  readonly vectors: Float32Array[];
  resolve(result: BatchResult): void;
  reject(error: unknown): void;
}

/** How much longer than the shortest row of a batch the others may be: padding is computed in attention only. */
const maxStretch = 1.25;

export function createBatcher<R extends BatchRow = Uint32Array>(
  width: number,
  compute: ComputeBatch<R>,
  limits: BatchLimits,
): Batcher<R> {
  /** Whose turn it is comes first; of each tenant the requests, likewise. */
  const circle: { readonly tenant: string; readonly requests: Waiting<R>[] }[] = [];
  const open = new Set<Waiting<R>>();
  let queuedTokens = 0;
  const { lanes = 1 } = limits;
  /** Whether a batch has the engine for itself, and how many share it. */
  let whole = false;
  let shared = 0;

  function enter(request: Waiting<R>): void {
    open.add(request);
    queuedTokens += request.tokens;
    const line = circle.find(({ tenant }) => tenant === request.tenant);
    if (line === undefined) circle.push({ tenant: request.tenant, requests: [request] });
    else line.requests.push(request);
  }

  /** Takes a request's waiting rows out; those in a batch run on, for nobody. */
  function drop(request: Waiting<R>): void {
    open.delete(request);
    queuedTokens -= request.tokens;
    request.tokens = 0;
    request.rows.length = 0;
    leaveCircle(request);
  }

  function leaveCircle(request: Waiting<R>): void {
    const line = circle.findIndex(({ tenant }) => tenant === request.tenant);
    const requests = circle[line]?.requests;
    const index = requests?.indexOf(request) ?? -1;
    if (index !== -1) requests?.splice(index, 1);
    if (requests?.length === 0) circle.splice(line, 1);
  }

  /** The request whose turn it is; it and its tenant go to the ends of their lines. */
  function nextLeader(): Waiting<R> | undefined {
    const line = circle.shift();
    const leader = line?.requests.shift();
    if (line === undefined || leader === undefined) return undefined;
    circle.push(line);
    line.requests.push(leader);
    return leader;
  }

  /** Takes the rows of the next batch out of the queue. */
  function nextBatch(): Row<R>[] {
    const leader = nextLeader();
    const first = leader?.rows.at(-1);
    if (leader === undefined || first === undefined) return [];
    const longest = first.tokens.length;
    const alone = limits.aloneAbove !== undefined && longest > limits.aloneAbove;
    const most = alone ? 1 : Math.max(Math.floor(limits.batchTokens / longest), 1);
    const batch: Row<R>[] = [];
    for (const request of [leader, ...circle.flatMap(({ requests }) => requests)]) {
      while (batch.length < most) {
        const at = request.rows.findLastIndex(({ tokens }) => tokens.length <= longest);
        const row = request.rows[at];
        if (row === undefined || row.tokens.length * maxStretch < longest) break;
        request.rows.splice(at, 1);
        request.tokens -= row.tokens.length;
        queuedTokens -= row.tokens.length;
        batch.push(row);
      }
      if (batch.length === most) break;
    }
    for (const { request } of batch) if (request.rows.length === 0) leaveCircle(request);
    return batch;
  }

  /** Begins as many batches as the engine takes. */
  function work(): void {
    while (!whole && shared < lanes) {
      const batch = nextBatch();
      if (batch.length === 0) return;
      whole = lanes === 1 || (shared === 0 && circle.length === 0);
      if (!whole) shared += 1;
      void runBatch(batch, !whole).then(() => {
        if (whole) whole = false;
        else shared -= 1;
        work();
      });
    }
  }

  async function runBatch(batch: readonly Row<R>[], sharing: boolean): Promise<void> {
    const requests = new Set(batch.map(({ request }) => request));
    for (const request of requests) {
      request.running += 1;
      request.queueMs ??= performance.now() - request.arrivedAt;
    }
    try {
      const vectors = await compute(
        batch.map(({ tokens }) => tokens),
        sharing,
      );
      if (vectors.length !== batch.length * width) {
        throw new Error(`${batch.length} rows made ${vectors.length} numbers instead of ${width} each`);
      }
      for (const [at, { request, index }] of batch.entries()) {
        request.vectors[index] = vectors.subarray(at * width, (at + 1) * width);
        request.missing -= 1;
      }
    } catch (error) {
      for (const request of requests) {
        drop(request);
        request.reject(error);
      }
    }
    for (const request of requests) {
      request.running -= 1;
      if (request.missing > 0 || !open.has(request)) continue;
      open.delete(request);
      request.resolve({ vectors: request.vectors, queueMs: request.queueMs ?? 0 });
    }
  }

  function checkRoom(tokens: number): void {
    if (open.size >= limits.maxRequests) {
      throw new QueueFull("overloaded", `${open.size} requests wait already, the maximum is ${limits.maxRequests}`);
    }
    if (queuedTokens === 0 || queuedTokens + tokens <= limits.maxTokens) return;
    throw new LoquiError(
      "overloaded",
      `${queuedTokens} tokens wait already, with this request's ${tokens} they would exceed the maximum ${limits.maxTokens}`,
    );
  }

  return {
    run({ rows, tenant }, signal) {
      return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const tokens = rows.reduce((sum, row) => sum + row.length, 0);
        checkRoom(tokens);
        const leave = () => {
          drop(request);
          reject(signal.reason);
        };
        const settled = () => signal.removeEventListener("abort", leave);
        const request: Waiting<R> = {
          tenant,
          rows: [],
          tokens,
          missing: rows.length,
          running: 0,
          arrivedAt: performance.now(),
          queueMs: undefined,
          vectors: new Array(rows.length),
          resolve(result) {
            settled();
            resolve(result);
          },
          reject(error) {
            settled();
            reject(error);
          },
        };
        for (const [index, row] of rows.entries()) request.rows.push({ request, index, tokens: row });
        request.rows.sort((a, b) => a.tokens.length - b.tokens.length);
        signal.addEventListener("abort", leave, { once: true });
        enter(request);
        // What comes in the same turn of the event loop shares the first batch.
        setImmediate(work);
      });
    },
    get load() {
      const requests = [...open];
      return {
        active: requests.filter(({ running }) => running > 0).length,
        queued: requests.filter(({ queueMs }) => queueMs === undefined).length,
        queuedTokens,
      };
    },
  };
}
