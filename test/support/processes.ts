import { readdirSync, readFileSync } from "node:fs";

/** CPU time that the threads of a process have had, in milliseconds; Linux only, as all here. Those of ended threads are not in it. */
export function cpuTimeMs(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return nanoseconds / 1e6;
}

/** As {@link cpuTimeMs} with the threads that have ended, in steps of 10 ms. */
export function wholeCpuTimeMs(pid: number): number {
  const [user = 0, system = 0] = (readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1] ?? "")
    .split(" ")
    .slice(11, 13)
    .map(Number);
  return (user + system) * 10;
}

/** The processes that a process has started. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

/** Resident memory of a process; 0 where it has ended. */
export function residentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
  } catch {
    // It ended in the meantime.
    return 0;
  }
}

/** The process of a model's worker, a child of `parent`, the test's process by default; undefined where there is none. */
export function workerOf(model: string, parent = process.pid): number | undefined {
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      const parentOf = /PPid:\s+(\d+)/.exec(readFileSync(`/proc/${name}/status`, "utf8"))?.[1];
      if (Number(parentOf) === parent && command.includes("worker") && command.includes(model)) return Number(name);
    } catch {
      // A process that ended meanwhile.
    }
  }
  return undefined;
}

/** Throws where the model has no worker. */
export function signalWorker(model: string, signal: NodeJS.Signals, parent?: number): void {
  const pid = workerOf(model, parent);
  if (pid === undefined) throw new Error(`no worker of ${model}`);
  process.kill(pid, signal);
}
