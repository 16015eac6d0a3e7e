import { openSession, type Session, type SessionOptions } from "./session.ts";

/**
 * Sessions of one model: one on all threads, for a batch that runs by itself, and
 * `lanes` on a part of them each, for as many batches at a time. Threads that
 * share a batch wait for each other at every node, some hundred times a batch: with
 * int8 in MiniLM's shape two threads compute a text of 143 tokens in 14 ms, and
 * two texts by one thread each in 16.5.
 */
export interface SessionLanes extends AsyncDisposable {
  /** Batches that may run at the same time, each of them `shared`; 1 where there is but the one session. */
  readonly lanes: number;
  run(request: Parameters<Session["run"]>[0], shared?: boolean): ReturnType<Session["run"]>;
  runMore(request: Parameters<Session["runMore"]>[0], shared?: boolean): ReturnType<Session["runMore"]>;
}

/** More are of little use: what they share is the memory. */
const mostLanes = 4;

/** Each session lays out the matrices for itself. Of large ones all threads are busy with one batch. */
const mostMatrixBytes = 64 * 1024 * 1024;

/** How many lanes there are for so many threads and a model with matrices of so many bytes. */
export function lanesFor(threads: number, matrixBytes: number): number {
  return matrixBytes > mostMatrixBytes ? 1 : Math.min(threads, mostLanes);
}

/** Opens the sessions. Throws as {@link openSession} does. */
export async function openLanes(options: SessionOptions, lanes: number): Promise<SessionLanes> {
  const { model } = options;
  await using opened = new AsyncDisposableStack();
  const idle: Session[] = [];
  while (lanes > 1 && idle.length < lanes) {
    const threads = Math.floor(options.threads / lanes);
    idle.push(opened.use(await openSession({ ...options, model: model.slice(), threads })));
  }
  // Last, for it takes the model's bytes, which may be many, and needs no copy.
  const whole = opened.use(await openSession(options));
  const sessions = opened.move();

  async function withPart<T>(run: (session: Session) => Promise<T>): Promise<T> {
    const session = idle.pop();
    if (session === undefined) throw new Error(`more than ${lanes} batches at a time`);
    try {
      return await run(session);
    } finally {
      idle.push(session);
    }
  }

  return {
    lanes,
    run: (request, shared = false) => (shared ? withPart((part) => part.run(request)) : whole.run(request)),
    runMore: (request, shared = false) => (shared ? withPart((part) => part.runMore(request)) : whole.runMore(request)),
    [Symbol.asyncDispose]: () => sessions.disposeAsync(),
  };
}
