import { readFileSync } from "node:fs";

/**
 * Processes that the kernel has killed so far for want of memory: those of this
 * process's control group (v2), which its workers are in, else those of the
 * machine. Undefined where neither is told, as everywhere but on Linux.
 * https://docs.kernel.org/admin-guide/cgroup-v2.html, `memory.events`;
 * `/proc/vmstat` has the count since Linux 4.13.
 */
export function oomKills(): number | undefined {
  const group = /^0::(\/.*)$/m.exec(read("/proc/self/cgroup"))?.[1];
  const own = group === undefined ? undefined : countIn(read(`/sys/fs/cgroup${group}/memory.events`));
  return own ?? countIn(read("/proc/vmstat"));
}

function countIn(text: string): number | undefined {
  const count = /^oom_kill (\d+)$/m.exec(text)?.[1];
  return count === undefined ? undefined : Number(count);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
