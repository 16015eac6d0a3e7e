import { join } from "node:path";
import { LoquiError, toLoquiError } from "../../errors.ts";
import type { WorkerInfo } from "../../worker/ipc.ts";
import { lacksResources } from "./resources.ts";
import { openSocketFolder, type SocketFolder } from "./socket-folder.ts";
import { WorkerExit, type WorkerProcess } from "./worker-process.ts";

/** Where a worker's model stands. A worker that is started again after a crash is loading. */
export type WorkerState = "available" | "loading" | "ready" | "unloading" | "failed";

/** A worker that answers calls. */
export interface ReadyWorker {
  readonly process: WorkerProcess;
  readonly info: WorkerInfo;
  /** Unix time, in seconds. */
  readonly loadedAt: number;
}

export interface SupervisorOptions {
  /** Starts a process that will listen at the path. Throws where that is hopeless. */
  readonly start: (socketPath: string) => Promise<WorkerProcess>;
  /** Time that a model may take to load. */
  readonly loadTimeoutMs: number;
  /** How long to wait before the nth start in a row (from 1); see {@link restartDelayMs}. */
  readonly delayMs: (start: number) => number;
  readonly onEvent: (event: SupervisorEvent) => void;
}

/** What is worth a line in the log. */
export type SupervisorEvent =
  | { readonly type: "loading"; readonly start: number }
  | { readonly type: "ready"; readonly worker: ReadyWorker; readonly loadMs: number }
  | { readonly type: "crashed"; readonly exit: WorkerExit; readonly restartInMs: number }
  | { readonly type: "failed"; readonly error: LoquiError; readonly exit: WorkerExit | undefined }
  | { readonly type: "stopped" };

/** Keeps one worker alive while it is wanted. */
export interface Supervisor {
  readonly state: WorkerState;
  readonly worker: ReadyWorker | undefined;
  /** Why the model can't be loaded, or why its worker last died; undefined once it is ready again. */
  readonly lastError: LoquiError | undefined;
  /** When the next start is due, on the clock of `performance.now()`; undefined while none waits. */
  readonly nextStartAt: number | undefined;
  /** Wants the worker: starts it unless it is there or on its way. Rejects with `model_unavailable` when it has failed. */
  load(): Promise<ReadyWorker>;
  /** No longer wants it; says so to those who wait for it. Calls go on until {@link stop}. */
  retire(): void;
  /** The worker's last two deaths had a cause that is kept away from it now: they count no more. */
  forgive(): void;
  /** Ends the process. */
  stop(): Promise<void>;
}

/** Processes in a row that may die while loading before the model counts as failed. */
const maxFailedStarts = 5;
/** Times that deaths are forgiven before the worker was ready for long: one that dies of everything is to wait. */
const maxForgiven = 5;
/** A worker that was ready for this long starts with a clean slate. */
const settledMs = 60_000;
const longestDelayMs = 30_000;

/**
 * The wait before the nth start in a row: none before the first restart, then a
 * second, doubled each time up to 30 s, less up to a half by chance so that the
 * workers of one machine don't all start together.
 */
export function restartDelayMs(start: number, random = Math.random): number {
  if (start === 2) return 0;
  return Math.min(1_000 * 2 ** (start - 3), longestDelayMs) * (1 - random() / 2);
}

/**
 * Starts the worker, restarts it when it dies and gives up where that is
 * useless: at once when the worker says why the model can't be loaded, after
 * five dead processes in a row otherwise; never for want of file descriptors,
 * processes or memory to start one with. Then the state is `failed` until
 * `load` is called again.
 */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  let state: WorkerState = "available";
  let worker: ReadyWorker | undefined;
  let lastError: LoquiError | undefined;
  let nextStartAt: number | undefined;
  /** Starts since the worker was last ready for long. */
  let starts = 0;
  let failedStarts = 0;
  let forgiven = 0;
  /** Ends the wait for the next start. */
  let startNow = () => {};
  let sockets = 0;
  let folder: Promise<SocketFolder> | undefined;
  /** The process that lives, ready or not. */
  let current: WorkerProcess | undefined;
  let waiting = Promise.withResolvers<ReadyWorker>();
  let bringingUp: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;
  /** Aborted when the worker is no longer wanted. */
  let wanted = new AbortController();

  async function bringUp(signal: AbortSignal, firstDelayMs: number): Promise<void> {
    state = "loading";
    for (let restartInMs = firstDelayMs; ; ) {
      starts += 1;
      await pause(restartInMs, signal);
      if (signal.aborted) return;
      options.onEvent({ type: "loading", start: starts });
      const startedAt = performance.now();
      try {
        const ready = await startOnce(signal);
        const readyAt = performance.now();
        state = "ready";
        worker = ready;
        lastError = undefined;
        failedStarts = 0;
        options.onEvent({ type: "ready", worker: ready, loadMs: readyAt - startedAt });
        waiting.resolve(ready);
        void ready.process.exited.then((exit) => onExit(readyAt, exit, signal));
        return;
      } catch (reason) {
        if (signal.aborted) return;
        let exit = reason instanceof WorkerExit ? reason : undefined;
        if (lacksResources(reason)) {
          // That is no fault of the model's: it is tried until there is enough.
          exit ??= new WorkerExit("could not be started", [], { cause: reason });
        } else {
          failedStarts += 1;
          if (exit === undefined || failedStarts >= maxFailedStarts) return fail(reason, exit);
        }
        lastError = loadFailure(exit);
        restartInMs = options.delayMs(starts + 1);
        options.onEvent({ type: "crashed", exit, restartInMs });
      }
    }
  }

  async function startOnce(signal: AbortSignal): Promise<ReadyWorker> {
    folder ??= openSocketFolder().catch((error) => {
      folder = undefined;
      throw error;
    });
    const { path } = await folder;
    const process = await options.start(join(path, `${++sockets}.sock`));
    current = process;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new LoquiError("model_unavailable", `the model did not load in ${options.loadTimeoutMs} ms`)),
        options.loadTimeoutMs,
      );
    });
    try {
      signal.throwIfAborted();
      const info = await Promise.race([process.ready, late]);
      signal.throwIfAborted();
      return { process, info, loadedAt: Math.floor(Date.now() / 1000) };
    } catch (reason) {
      process.kill();
      await process.exited;
      throw reason;
    } finally {
      clearTimeout(timer);
    }
  }

  function onExit(readyAt: number, exit: WorkerExit, signal: AbortSignal): void {
    worker = undefined;
    if (signal.aborted) return;
    if (performance.now() - readyAt > settledMs) {
      starts = 1;
      forgiven = 0;
    }
    lastError = new LoquiError("model_unavailable", exit.message, { cause: exit });
    waiting = quietly(Promise.withResolvers());
    const restartInMs = options.delayMs(starts + 1);
    options.onEvent({ type: "crashed", exit, restartInMs });
    bringingUp = bringUp(signal, restartInMs);
  }

  function fail(reason: unknown, exit: WorkerExit | undefined): void {
    const error = exit === undefined ? toLoquiError(reason) : loadFailure(exit);
    state = "failed";
    lastError = new LoquiError("model_unavailable", error.message, { cause: reason });
    options.onEvent({ type: "failed", error: lastError, exit });
    waiting.reject(lastError);
  }

  /** Waits, unless it is aborted or told to start now. */
  async function pause(ms: number, signal: AbortSignal): Promise<void> {
    if (ms === 0) return;
    nextStartAt = performance.now() + ms;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done, { once: true });
      startNow = done;
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      }
    });
    nextStartAt = undefined;
  }

  async function removeFolder(): Promise<void> {
    const opened = await folder?.catch(() => undefined);
    folder = undefined;
    await opened?.remove();
  }

  async function end(): Promise<void> {
    await current?.stop();
    await bringingUp;
    current = undefined;
    worker = undefined;
    lastError = undefined;
    await removeFolder();
    options.onEvent({ type: "stopped" });
    state = "available";
    stopping = undefined;
  }

  return {
    get state() {
      return state;
    },
    get worker() {
      return worker;
    },
    get lastError() {
      return lastError;
    },
    get nextStartAt() {
      return nextStartAt;
    },
    load() {
      if (state === "unloading") return Promise.reject(unloading());
      if (state === "available" || state === "failed") {
        starts = 0;
        failedStarts = 0;
        forgiven = 0;
        wanted = new AbortController();
        waiting = quietly(Promise.withResolvers());
        bringingUp = bringUp(wanted.signal, 0);
      }
      return waiting.promise;
    },
    retire() {
      if (state === "available") return;
      state = "unloading";
      wanted.abort();
      waiting.reject(unloading());
    },
    forgive() {
      if (forgiven >= maxForgiven) return;
      forgiven += 1;
      starts = Math.max(starts - 2, 2);
      startNow();
    },
    stop() {
      this.retire();
      // One end for all who ask: a second must not overtake the first and leave it to a worker that was started since.
      if (state === "unloading") stopping ??= end();
      return stopping ?? Promise.resolve();
    },
  };
}

function unloading(): LoquiError {
  return new LoquiError("model_unavailable", "the model is being unloaded", { retryAfterMs: 1_000 });
}

function loadFailure(exit: WorkerExit): LoquiError {
  return new LoquiError("model_unavailable", `${exit.message} while the model was loading`, { cause: exit });
}

/** Nobody may be waiting when it is rejected. */
function quietly<T>(resolvers: PromiseWithResolvers<T>): PromiseWithResolvers<T> {
  resolvers.promise.catch(() => {});
  return resolvers;
}
