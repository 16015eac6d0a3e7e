import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { withoutPaths } from "../../error-trace.ts";
import { isErrorKind, LoquiError } from "../../errors.ts";
import type { WorkerConfig, WorkerInfo, WorkerLoad, WorkerMessage, WorkerOrder } from "../../worker/ipc.ts";
import { oomKills } from "./oom-kills.ts";
import { createWatchdog } from "./watchdog.ts";

/** A worker's process, from its start to its end. */
export interface WorkerProcess {
  readonly pid: number | undefined;
  readonly socketPath: string;
  /**
   * Resolves when the model is loaded. Rejects with a {@link WorkerExit} where
   * the process ended before, and with the LoquiError that it sent where it
   * can't load the model.
   */
  readonly ready: Promise<WorkerInfo>;
  /** What it last told of its load; a second old where it is busy. Undefined until it is ready. */
  readonly load: WorkerLoad | undefined;
  /** Resolves when the process is gone. */
  readonly exited: Promise<WorkerExit>;
  /**
   * Says that it has work, until the function that this returns is called:
   * meanwhile it is killed where it hangs ({@link createWatchdog}).
   */
  watch(): () => void;
  /** Asks it to end and makes it after `killAfterMs`; resolves when it is gone. */
  stop(): Promise<void>;
  kill(): void;
}

/** Why a worker's process ended unasked. */
export type ExitReason =
  /** Of its own doing, as far as can be told: a fatal signal, an exit code, or it could not be started. */
  | "crashed"
  /** Killed by the watchdog. */
  | "hung"
  /** Killed by the kernel for want of memory. */
  | "out_of_memory"
  /** Killed by somebody else. What it was working on is not to blame. */
  | "killed";

/** The end of a worker's process. */
export class WorkerExit extends Error {
  override readonly name = "WorkerExit";
  /** The last lines that it wrote. */
  readonly lines: readonly string[];
  readonly reason: ExitReason;

  constructor(
    how: string,
    lines: readonly string[],
    { cause, reason = "crashed" }: { cause?: unknown; reason?: ExitReason } = {},
  ) {
    super(`the worker ${how}`, { cause });
    this.lines = lines;
    this.reason = reason;
  }
}

/** Signals with which the kernel or the C library ends a process for what it did itself. */
const ownSignals: ReadonlySet<string> = new Set([
  ...["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS", "SIGXCPU", "SIGXFSZ", "SIGSTKFLT"],
]);

/** A line that a worker wrote, without paths. On stderr come its own errors, and what the runtime logs from warnings up. */
export type LineSink = (line: string, stream: "stdout" | "stderr") => void;

const killAfterMs = 2_000;
const keptLines = 20;

/** The entry beside this file, as TypeScript where this is TypeScript. */
const entry = fileURLToPath(
  new URL(`../../worker/main${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
);

/**
 * Starts a worker on this Node and sends it its configuration. It ends itself
 * when this process goes, however that goes. `hangMs` is the watchdog's limit.
 */
export function startWorkerProcess(
  config: WorkerConfig,
  socketPath: string,
  environment: Readonly<Record<string, string>>,
  hangMs: number,
  onLine: LineSink,
): WorkerProcess {
  const child = spawn(process.execPath, [entry, "worker", "--model", config.model.id, "--socket", socketPath], {
    env: environment,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    // A worker in the folder where the server was started would keep a removed folder or a mount busy.
    cwd: "/",
  });
  const oomKillsBefore = oomKills();
  const lines: string[] = [];
  const keep: LineSink = (written, stream) => {
    const line = withoutPaths(written, config.model.path);
    lines.push(line);
    if (lines.length > keptLines) lines.shift();
    onLine(line, stream);
  };
  readLines(child.stdout, (line) => keep(line, "stdout"));
  readLines(child.stderr, (line) => keep(line, "stderr"));

  const order = (what: WorkerOrder, onError: () => void) =>
    child.send(what, (error) => {
      if (error !== null) onError();
    });
  let hang: string | undefined;
  const watchdog = createWatchdog({
    limitMs: hangMs,
    // A channel that is closed is a process that is going.
    ping: () => order({ type: "ping" }, () => {}),
    onHang(why) {
      hang = why;
      child.kill("SIGKILL");
    },
  });
  const exited = exitOf(child, lines, oomKillsBefore, () => hang);
  exited.then(watchdog.end);
  const ready = readinessOf(child, exited);
  let load: WorkerLoad | undefined;
  child.on("message", (message: WorkerMessage) => {
    if (message.type === "pulse") watchdog.take(message.pulse);
    else if (message.type === "load") load = message.load;
  });
  // Whoever is interested awaits it; a worker that is stopped while it loads interests nobody.
  ready.catch(() => {});
  // What could not be spawned has no channel; its error follows.
  if (child.pid !== undefined) order({ type: "start", config }, () => child.kill("SIGKILL"));

  return {
    pid: child.pid,
    socketPath,
    ready,
    get load() {
      return load;
    },
    exited,
    watch: watchdog.watch,
    kill: () => void child.kill("SIGKILL"),
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), killAfterMs);
      await exited;
      clearTimeout(timer);
    },
  };
}

function exitOf(
  child: ChildProcess,
  lines: readonly string[],
  oomKillsBefore: number | undefined,
  hang: () => string | undefined,
): Promise<WorkerExit> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(new WorkerExit("could not be started", lines, { cause: error })));
    // `close` comes after `exit`, when what it wrote has been read.
    child.once("close", (code, signal) => {
      const why = hang();
      if (why !== undefined) return resolve(new WorkerExit(`hung and was killed: ${why}`, lines, { reason: "hung" }));
      if (signal === null) return resolve(new WorkerExit(`ended with code ${code}`, lines));
      const reason = reasonOf(signal, oomKillsBefore);
      const how = reason === "out_of_memory" ? "was killed by the kernel for want of memory" : `was ended by ${signal}`;
      resolve(new WorkerExit(how, lines, { reason }));
    });
  });
}

/**
 * SIGKILL is the out-of-memory killer's, where it has killed since the process
 * was started; where nobody counts what it kills, it may have been.
 */
function reasonOf(signal: NodeJS.Signals, oomKillsBefore: number | undefined): ExitReason {
  if (ownSignals.has(signal)) return "crashed";
  if (signal !== "SIGKILL") return "killed";
  const now = oomKills();
  if (now === undefined || oomKillsBefore === undefined) return "crashed";
  return now > oomKillsBefore ? "out_of_memory" : "killed";
}

function readinessOf(child: ChildProcess, exited: Promise<WorkerExit>): Promise<WorkerInfo> {
  return new Promise((resolve, reject) => {
    child.once("message", (message: WorkerMessage) => {
      if (message.type === "ready") return resolve(message.info);
      if (message.type === "failed")
        reject(new LoquiError(isErrorKind(message.kind) ? message.kind : "internal", message.message));
    });
    exited.then(reject);
  });
}

function readLines(stream: Readable | null | undefined, onLine: (line: string) => void): void {
  // Neither is there where the process could not be spawned.
  if (stream === null || stream === undefined) return;
  createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on("line", onLine);
}
