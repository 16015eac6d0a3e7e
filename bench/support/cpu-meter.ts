import { cpuTimeMs } from "../../test/support/processes.ts";

/** Meters processes from now on; what it returns tells the CPU time of each per token, in milliseconds. */
export function cpuMeter(
  processes: Readonly<Record<string, number | undefined>>,
  timeMs: (pid: number) => number = cpuTimeMs,
): (tokens: number) => Record<string, number> {
  const read = () => Object.entries(processes).map(([name, pid]) => [name, timeMs(pid ?? process.pid)] as const);
  const before = read();
  return (tokens) => Object.fromEntries(read().map(([name, ms], i) => [name, (ms - (before[i]?.[1] ?? 0)) / tokens]));
}
