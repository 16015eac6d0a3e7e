import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Totals } from "../../../gen/loqui/worker/v1/worker_pb.ts";
import { identityOf } from "../../codec/identity.ts";
import type { ModelConfig } from "../../config/models-file.ts";
import { encodedMessage } from "../../encoded-message.ts";
import { LoquiError } from "../../errors.ts";
import { reportIgnored } from "../../ignored-header.ts";
import { methodName } from "../../method-name.ts";
import type { RequestContext, RequestRecord } from "../../request-context.ts";
import type { Logger } from "../../telemetry/log.ts";
import { engineEnvironment } from "../../worker/engines.ts";
import { decodeFailure } from "../../worker/failure.ts";
import { maxFrameBytes } from "../../worker/frames.ts";
import { ignoredFields } from "../../worker/ignored-fields.ts";
import type { WorkerInfo, WorkerLoad } from "../../worker/ipc.ts";
import type { Backend, CallMethod, CallOptions } from "../backend.ts";
import { createAdmission } from "./admission.ts";
import { workerEnvironment } from "./environment.ts";
import { lacksResources, resourceCode } from "./resources.ts";
import {
  createSupervisor,
  type ReadyWorker,
  restartDelayMs,
  type SupervisorEvent,
  type WorkerState,
} from "./supervisor.ts";
import { createSuspects, holdMs, type Suspicion } from "./suspects.ts";
import { createTurns } from "./turns.ts";
import { waitFor } from "./wait-for.ts";
import { workerConfig } from "./worker-config.ts";
import { ConnectionLost, callWorker } from "./worker-connection.ts";
import { countEvent, type WorkerCounts } from "./worker-counts.ts";
import { logEvent } from "./worker-log.ts";
import { startWorkerProcess, type WorkerExit } from "./worker-process.ts";

/** A model on this machine, in a process of its own. */
export interface WorkerBackend extends Backend {
  readonly state: WorkerState;
  /** What the model says of itself; undefined unless it is ready. */
  readonly info: WorkerInfo | undefined;
  /** Why the model can't be loaded or its worker last died; undefined once it is ready again. */
  readonly lastError: string | undefined;
  /** Calls that aren't answered yet, those that wait for the model included. */
  readonly inFlight: number;
  /** When the worker became ready, in Unix seconds. */
  readonly loadedAt: number | undefined;
  /** The process that answers; undefined unless it is ready. */
  readonly pid: number | undefined;
  /** How busy it is, as it last said; undefined unless it is ready. */
  readonly workerLoad: WorkerLoad | undefined;
  readonly counts: WorkerCounts;
  /** Starts the worker where it isn't; resolves when it is ready. Throws `model_unavailable` where it can't be. */
  load(signal: AbortSignal): Promise<void>;
  /**
   * Ends the worker, which returns its memory: new calls are refused at once,
   * those in flight get the drain time, or none with `force`. A later call
   * loads it again.
   */
  unload(options: { readonly force: boolean; readonly signal: AbortSignal }): Promise<void>;
}

export interface WorkerBackendOptions {
  readonly config: ModelConfig;
  readonly log: Logger;
  /** What workers compute once and keep. Default: `loqui-cache` in the system's folder for temporary files. */
  readonly cacheFolder?: string;
  /** Whether a field that has no effect is refused instead of listed. Default: no. */
  readonly strict?: boolean;
  /** Tokens of one answer at most, also where a request names none. Default: the context's. */
  readonly maxOutputTokens?: number;
  /** Whether the log may hold messages of errors, which may quote a request. Default: no. */
  readonly logContent?: boolean;
  /** Called when the worker's state has changed. */
  readonly onChange?: () => void;
  /** Time without a sign of life after which a worker with work is killed; 0 is never. Default 60 s. */
  readonly hangMs?: number;
  /** Time that the model may take to load. Default 10 minutes. */
  readonly loadTimeoutMs?: number;
  /** Time that calls get to end when the model is unloaded. Default 30 s. */
  readonly drainMs?: number;
  /** Wait before the nth start in a row, from the second on; see {@link restartDelayMs}, the default. */
  readonly delayMs?: (start: number) => number;
}

/** What happens to a worker. */
export type WorkerEvent = SupervisorEvent | QuarantineEvent;

/** An input is refused from now on: the worker died of it. */
export interface QuarantineEvent {
  readonly type: "quarantined";
  readonly requestId: string;
  /** For how long. */
  readonly holdMs: number;
}

/** What is left of the frame's limit for the rest of a Call. */
const callOverheadBytes = 64 * 1024;
/** Requests that wait for the worker may have as many bytes together. */
const maxWaitingBytes = maxFrameBytes;
/** Time that a process gets to be gone after its connection is; what held much memory takes a while. */
const exitGraceMs = 5_000;
/** Calls that met no worker at the other end are tried again this often. */
const maxMisses = 3;

/**
 * Makes the backend of a model; nothing is started before `load` or the first
 * call. Its process is restarted when it dies ({@link createSupervisor}).
 *
 * A crash implicates every call in flight: each whose first byte isn't out is
 * tried once more, alone ({@link createTurns}); if the worker dies again, or
 * the answer had begun, it ends with `worker_crashed`. An input whose worker
 * dies a second time, and of it alone, is refused from then on
 * ({@link createSuspects}), unless somebody else killed it. A worker that hangs
 * is killed, which is a crash.
 */
export function createWorkerBackend(options: WorkerBackendOptions): WorkerBackend {
  const { config, drainMs = 30_000, cacheFolder = join(tmpdir(), "loqui-cache") } = options;
  const log = options.log.child({ model: config.id });
  const turns = createTurns();
  let counts: WorkerCounts = { loads: 0, crashes: 0, hangs: 0, oomKills: 0, restarts: 0, quarantines: 0 };
  const suspects = createSuspects();
  // All who wait find a sequence or a place in the queue when the worker is ready.
  const { max_queue, sequences } = config.parameters;
  const admission = createAdmission({ calls: max_queue + sequences, bytes: maxWaitingBytes });
  let inFlight = 0;
  let disposed = false;
  let onIdle: () => void = () => {};
  /** The unloading that goes on: all who ask for one share it, and its wait. */
  let unloading: Promise<void> | undefined;

  const supervisor = createSupervisor({
    loadTimeoutMs: options.loadTimeoutMs ?? 600_000,
    delayMs: options.delayMs ?? restartDelayMs,
    onEvent(event) {
      tell(event);
      // The event is told before the state has changed.
      queueMicrotask(() => options.onChange?.());
    },
    async start(socketPath) {
      const worker = workerConfig(config, options.maxOutputTokens, options.logContent ?? false, cacheFolder);
      const environment = workerEnvironment(process.env, await engineEnvironment(worker.model));
      return startWorkerProcess(worker, socketPath, environment, options.hangMs ?? 60_000, (line, stream) =>
        stream === "stderr" ? log.warn(`worker: ${line}`) : log.debug(`worker: ${line}`),
      );
    },
  });

  function tell(event: WorkerEvent): void {
    logEvent(log, event);
    counts = countEvent(counts, event);
  }

  function load(): Promise<ReadyWorker> {
    if (disposed) return Promise.reject(new LoquiError("shutting_down", "the server is shutting down"));
    return supervisor.load();
  }

  /** The worker for a call: at once where it is ready, else when it is. */
  async function readyWorker({ deadline, signal }: RequestContext): Promise<ReadyWorker> {
    if (supervisor.state === "ready" && supervisor.worker !== undefined) return supervisor.worker;
    if (supervisor.state === "failed") throw unavailable(supervisor.lastError?.message ?? "it can't be loaded");
    const { nextStartAt } = supervisor;
    if (nextStartAt !== undefined && deadline !== undefined && nextStartAt > deadline) {
      throw unavailable(supervisor.lastError?.message ?? "it is being restarted", nextStartAt - performance.now());
    }
    return waitFor(load(), signal);
  }

  function unavailable(why: string, retryAfterMs?: number): LoquiError {
    return new LoquiError(
      "model_unavailable",
      `the model ${config.id} is not available: ${why}`,
      retryAfterMs === undefined ? {} : { retryAfterMs },
    );
  }

  /** What a lost connection means for its call: an error, or undefined where it is tried again. */
  async function verdict(
    worker: ReadyWorker,
    lost: ConnectionLost,
    call: { readonly answered: boolean; readonly suspect: boolean; readonly misses: number },
    onDeath: () => void,
  ): Promise<LoquiError | undefined> {
    if (!lost.connected && lacksResources(lost)) {
      const code = resourceCode(lost) ?? "";
      // EAGAIN is the worker's backlog, full of connections that it has not accepted.
      const why = /^E[MN]FILE$/.test(code) ? "the server is out of file descriptors" : "the model takes no more calls";
      log.warn({ code }, `a call can't reach the worker: ${why}`);
      throw new LoquiError("overloaded", why, { cause: lost });
    }
    const exit = await exitWithin(worker, exitGraceMs);
    if (disposed || supervisor.state === "unloading" || supervisor.state === "available") {
      return unavailable("it was unloaded");
    }
    if (!lost.connected) return call.misses <= maxMisses ? undefined : unavailable("it can't be reached");
    if (exit === undefined) return new LoquiError("internal", "the worker broke the connection", { cause: lost });
    if (exit.reason !== "killed") onDeath();
    if (!call.answered && !call.suspect) return undefined;
    return new LoquiError("worker_crashed", `the worker of the model ${config.id} died while it answered`, {
      cause: lost,
    });
  }

  /** Lists what a request asks for without effect. Throws `unsupported` for it where the caller or the server is strict. */
  function tellIgnored(ignored: readonly string[], { metadata }: RequestContext): void {
    const [param] = ignored;
    if (param === undefined) return;
    if (options.strict === true || metadata.request.get("x-loqui-strict") === "1") {
      throw new LoquiError("unsupported", `${ignored.slice(0, 8).join(", ")}: without effect on this model`, { param });
    }
    reportIgnored(metadata.response, ignored);
  }

  /** Throws for an input that is in quarantine. */
  function checkQuarantine(input: () => string): void {
    const until = suspects.none ? undefined : suspects.quarantinedUntil(input());
    if (until === undefined) return;
    const minutes = Math.ceil((until - performance.now()) / 60_000);
    throw new LoquiError(
      "input_quarantined",
      `the worker of the model ${config.id} died of this input twice; it is refused for ${minutes} min`,
    );
  }

  async function* answers<I extends DescMessage, O extends DescMessage>(
    method: CallMethod<I, O>,
    request: MessageShape<I>,
    context: RequestContext,
    { encoded = false }: CallOptions = {},
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    const { record, signal } = context;
    const bytes = toBinary(method.input, request);
    if (bytes.length > maxFrameBytes - callOverheadBytes) {
      throw new LoquiError("too_large", `the request of ${bytes.length} bytes is above the maximum ${maxFrameBytes}`);
    }
    const unary = method.methodKind === "unary";
    const arrivedAt = performance.now();
    const input = once(() => inputKey(method.input, { ...request, model: config.id }));
    /** Whether an earlier try of this call was in flight when the worker died. */
    let suspect = false;
    let misses = 0;
    let refused = false;
    const admitted = admission.enter(context.tenant, bytes.length);
    inFlight += 1;
    try {
      for (;;) {
        checkQuarantine(input);
        const suspicion = suspects.none ? undefined : suspects.suspicion(input());
        const turn = await turns.enter(suspicion !== undefined || suspect, signal);
        let worker: ReadyWorker | undefined;
        let unwatch: (() => void) | undefined;
        let sent = 0;
        let begun = false;
        try {
          // Another with the same input may have been alone meanwhile.
          checkQuarantine(input);
          worker = await readyWorker(context);
          const { shown } = worker.info;
          if (shown !== undefined) tellIgnored(ignoredFields(method.input, request, shown), context);
          admitted();
          const startedAt = performance.now();
          unwatch = worker.process.watch();
          let single: MessageShape<O> | undefined;
          for await (const reply of callWorker(worker.process.socketPath, callOf(method, bytes, context), signal)) {
            if (reply.case === "message") {
              const message = (encoded ? encodedMessage : fromBinary)(method.output, reply.value);
              if (unary) {
                single = message;
                continue;
              }
              sent += 1;
              if (begun) record.firstTokenMs ??= performance.now() - arrivedAt;
              if (sent > aloneFor(suspicion)) turn.share();
              yield message;
            } else if (reply.case === "failure") {
              const error = decodeFailure(reply.value);
              refused = reply.value.queueFull;
              if (refused) admission.refused(context.tenant, error);
              throw error;
            } else if (reply.case === "progress") {
              begun = true;
              record.promptTokens = reply.value.promptTokens;
              record.completionTokens = reply.value.completionTokens;
            } else if (reply.case === "complete") {
              if (reply.value.totals !== undefined) recordTotals(record, reply.value.totals, startedAt - arrivedAt);
              if (suspicion !== undefined) suspects.acquit(input());
              turn.leave();
              if (single !== undefined) yield single;
              return;
            }
          }
        } catch (error) {
          if (!(error instanceof ConnectionLost) || worker === undefined) throw error;
          if (!error.connected) misses += 1;
          const { alone } = turn;
          const final = await verdict(worker, error, { answered: sent > 0, suspect, misses }, () => {
            if (!suspects.died(input(), { alone, messages: sent })) return;
            supervisor.forgive();
            tell({ type: "quarantined", requestId: context.requestId, holdMs });
          });
          if (final !== undefined) throw final;
          suspect ||= error.connected;
          record.retries = (record.retries ?? 0) + 1;
        } finally {
          unwatch?.();
          turn.leave();
        }
      }
    } finally {
      admitted();
      if (!refused) admission.ended();
      inFlight -= 1;
      if (inFlight === 0) onIdle();
    }
  }

  function idle(): Promise<void> {
    return new Promise((resolve) => {
      if (inFlight === 0) return resolve();
      const timer = setTimeout(resolve, drainMs);
      onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  return {
    id: `worker:${config.id}`,
    provider: "local",
    get state() {
      return supervisor.state;
    },
    get info() {
      return supervisor.worker?.info;
    },
    get lastError() {
      return supervisor.lastError?.message;
    },
    get inFlight() {
      return inFlight;
    },
    get loadedAt() {
      return supervisor.worker?.loadedAt;
    },
    get pid() {
      return supervisor.worker?.process.pid;
    },
    get workerLoad() {
      return supervisor.worker?.process.load;
    },
    get counts() {
      return counts;
    },
    async load(signal) {
      await waitFor(load(), signal);
    },
    async unload({ force, signal }) {
      supervisor.retire();
      while (supervisor.state === "unloading") {
        unloading ??= idle()
          .then(() => supervisor.stop())
          .finally(() => {
            unloading = undefined;
          });
        if (force) onIdle();
        await waitFor(unloading, signal);
      }
    },
    call: answers,
    async [Symbol.asyncDispose]() {
      disposed = true;
      await supervisor.stop();
    },
  };
}

function callOf(method: CallMethod<DescMessage, DescMessage>, request: Uint8Array, context: RequestContext) {
  const { requestId, deadline, tenant, traceparent } = context;
  return {
    requestId,
    method: methodName(method),
    request,
    tenant,
    traceparent: traceparent ?? "",
    ...(deadline !== undefined && { timeoutMs: Math.max(Math.ceil(deadline - performance.now()), 0) }),
  };
}

/**
 * Messages up to which a call stays alone: one whose worker died before any,
 * to the first; one whose worker died in mid-stream, until it is well past that.
 */
function aloneFor(suspicion: Suspicion | undefined): number {
  return suspicion === undefined || suspicion.messages === 0 ? 0 : 2 * suspicion.messages + 256;
}

/** What an input is known by while it is suspected: its identity's digest, so that nothing of it is kept. */
function inputKey<I extends DescMessage>(desc: I, request: MessageShape<I>): string {
  return createHash("sha256").update(desc.typeName).update("\0").update(identityOf(desc, request)).digest("base64");
}

function once<T>(compute: () => T): () => T {
  let known: { readonly value: T } | undefined;
  return () => {
    known ??= { value: compute() };
    return known.value;
  };
}

/** `waitedMs`: before the worker was asked. */
function recordTotals(record: RequestRecord, totals: Totals, waitedMs: number): void {
  record.promptTokens = totals.promptTokens;
  record.cachedTokens = totals.cachedTokens;
  record.completionTokens = totals.completionTokens;
  record.queueMs = totals.queueMs;
  record.generationMs = totals.generationMs;
  // The message with a stream's first token has told it, as its client sees it.
  record.firstTokenMs ??= waitedMs + totals.firstTokenMs;
}

/** How the worker's process ended; undefined where it has not after that time. */
async function exitWithin(worker: ReadyWorker, ms: number): Promise<WorkerExit | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([worker.process.exited, late]);
  } finally {
    clearTimeout(timer);
  }
}
