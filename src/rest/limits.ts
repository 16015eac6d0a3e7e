/** The bounds of REST requests. Each has a default. */
export interface RestLimits {
  /** Most bytes of a request body, on the wire and decoded. Default 64 MiB. */
  readonly bodyBytes: number;
  /** Longest time for a request body to arrive, then 408. Default 2 min. */
  readonly bodyTimeoutMs: number;
  /** Most parts of a multipart body, files included. Default 256. */
  readonly multipartParts: number;
  /** Most files of a multipart body. Default 16. */
  readonly multipartFiles: number;
  /** Most bytes of a part that is not a file. Default 1 MiB. */
  readonly multipartFieldBytes: number;
  /** Longest time for a whole call; a client's shorter `x-request-timeout` wins. Default 1 h. */
  readonly maxTimeoutMs: number;
  /** A client that takes nothing of a response for this long is cut off ({@link watchReader}). Default 1 min. */
  readonly stallMs: number;
  /** A silent event stream sends a comment this often. Default 15 s. */
  readonly keepAliveMs: number;
  /**
   * How long an event stream waits for its first event with a status still open;
   * after that it is 200, and errors are events. Default 10 s.
   */
  readonly holdMs: number;
}

const mebibyte = 1 << 20;
/** Node's timers overflow beyond this and fire at once. */
const maxTimerMs = 2 ** 31 - 1;

export const defaultRestLimits: RestLimits = {
  bodyBytes: 64 * mebibyte,
  bodyTimeoutMs: 120_000,
  multipartParts: 256,
  multipartFiles: 16,
  multipartFieldBytes: mebibyte,
  maxTimeoutMs: 3_600_000,
  stallMs: 60_000,
  keepAliveMs: 15_000,
  holdMs: 10_000,
};

/** The defaults with some of them replaced. Throws RangeError for a limit that is no sane number. */
export function restLimits(overrides: Partial<RestLimits> = {}): RestLimits {
  const limits = { ...defaultRestLimits, ...overrides };
  checkLimits(limits);
  return limits;
}

/** Throws RangeError for a limit that is no whole number, is below its least value or too long for a timer. */
export function checkLimits(limits: object, least: (name: string) => number = () => 1): void {
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isInteger(value) || value < least(name) || value > maxTimerMs) {
      throw new RangeError(`${name} ${value} is not a whole number from ${least(name)} to ${maxTimerMs}`);
    }
  }
}
