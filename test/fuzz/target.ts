import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { childrenOf, residentBytes } from "../support/processes.ts";
import { helloPieces, writeScripts } from "../support/running-loqui.ts";
import { spawnLoqui } from "../support/spawned-loqui.ts";
import { modelNames } from "./messages.ts";

/** Bytes in use after a garbage collection, and the resident memory of the processes. */
export interface Memory {
  /** JavaScript heap of the server. */
  readonly heap: number;
  /** Buffers of the server outside its heap. */
  readonly buffers: number;
  readonly serverResident: number;
  /** All workers together. */
  readonly workersResident: number;
}

/** A server in a process of its own, to be fuzzed. */
export interface Target extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** Whether the process that was started still runs. */
  alive(): boolean;
  /** Lines of the log at level error and above, and what is no line of the log at all; those that were told are gone. */
  takeComplaints(): string[];
  /**
   * Once it has come to rest: what clients have left takes a moment to be given
   * up, a body that stopped arriving or an answer that nobody reads its minute.
   * Looked at until it is near `expected`, or for a minute and a half.
   */
  memory(expected?: Memory): Promise<Memory>;
}

/** How often memory is looked at, a second apart. */
const looks = 90;
/** Near enough to what was expected. */
const slackBytes = 4 << 20;

/** Starts `loqui serve` with small models that answer in ten tokens, and with Node's inspector to ask for its memory. */
export async function startTarget(): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), "loqui-fuzz-"));
  const models = writeScripts(folder, {
    [modelNames.usual]: { reply: helloPieces, contextLength: 512 },
    [modelNames.small]: { reply: helloPieces, contextLength: 64 },
    [modelNames.good]: { reply: helloPieces, contextLength: 512 },
    [modelNames.spare]: { reply: helloPieces, contextLength: 64 },
  });
  let complaints: string[] = [];
  const inspector = Promise.withResolvers<string>();
  const server = await spawnLoqui(["--models", models.join(",")], {
    nodeArguments: ["--inspect=127.0.0.1:0"],
    onLogLine(line) {
      const address = /^Debugger listening on (ws:\S+)/.exec(line)?.[1];
      if (address !== undefined) inspector.resolve(address);
      else if (isComplaint(line)) complaints.push(line);
    },
  });
  // While models load, readiness and requests for them say so, and that is right.
  for (let left = 600; !(await fetch(`${server.url}/readyz`)).ok; left--) {
    if (left === 0) throw new Error("the models were not ready within a minute");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const pid = server.process.pid;
  if (pid === undefined) throw new Error("the server has no process");
  const session = await openInspector(await inspector.promise);
  async function look(): Promise<Memory> {
    await session.ask("HeapProfiler.collectGarbage");
    const usage = await session.ask("Runtime.getHeapUsage");
    return {
      heap: Number(usage.usedSize),
      buffers: Number(usage.backingStorageSize),
      serverResident: residentBytes(Number(pid)),
      workersResident: childrenOf(Number(pid)).reduce((sum, child) => sum + residentBytes(child), 0),
    };
  }
  return {
    url: server.url,
    pid,
    alive: () => server.process.exitCode === null && server.process.signalCode === null,
    takeComplaints() {
      const taken = complaints;
      complaints = [];
      return taken;
    },
    async memory(expected) {
      let least = await look();
      for (let left = looks; left > 0; left--) {
        if (expected !== undefined && sizeOf(least) <= sizeOf(expected) + slackBytes) break;
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        const now = await look();
        const freed = sizeOf(least) - sizeOf(now);
        if (freed > 0) least = now;
        if (expected === undefined && freed < 1 << 20) break;
      }
      return least;
    },
    async [Symbol.asyncDispose]() {
      session.close();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function sizeOf({ heap, buffers }: Memory): number {
  return heap + buffers;
}

function isComplaint(line: string): boolean {
  if (/^(Debugger |For help, see: |$)/.test(line)) return false;
  try {
    const { level } = JSON.parse(line) as { level?: string };
    return level === "error" || level === "fatal";
  } catch {
    return true;
  }
}

interface Inspector {
  ask(method: string): Promise<Record<string, unknown>>;
  close(): void;
}

/** https://chromedevtools.github.io/devtools-protocol/ */
async function openInspector(address: string): Promise<Inspector> {
  const socket = new WebSocket(address);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("the inspector can't be reached"));
  });
  const waiting = new Map<number, (result: Record<string, unknown>) => void>();
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: Record<string, unknown> };
    if (id !== undefined) waiting.get(id)?.(result ?? {});
  };
  return {
    ask(method) {
      const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>();
      const timer = setTimeout(() => reject(new Error(`the inspector doesn't answer ${method}`)), 30_000);
      const id = ++last;
      waiting.set(id, resolve);
      socket.send(JSON.stringify({ id, method }));
      return promise.finally(() => {
        clearTimeout(timer);
        waiting.delete(id);
      });
    },
    close: () => socket.close(),
  };
}
