import type { WorkerLoad } from "./ipc.ts";

const intervalMs = 1_000;
/** Resident memory moves all the time; less than this is no news. */
const memoryStepBytes = 1 << 20;

/**
 * Tells the front how busy this worker is: at once, then once a second where it
 * has changed. Costs a system call a second.
 */
export function reportLoad(current: () => Omit<WorkerLoad, "residentBytes">, send: (load: WorkerLoad) => void): void {
  let told: WorkerLoad | undefined;
  const report = () => {
    const load = { ...current(), residentBytes: process.memoryUsage.rss() };
    if (told !== undefined && isNoNews(told, load)) return;
    told = load;
    send(load);
  };
  report();
  setInterval(report, intervalMs).unref();
}

function isNoNews(told: WorkerLoad, load: WorkerLoad): boolean {
  return (
    told.active === load.active &&
    told.queued === load.queued &&
    told.queuedTokens === load.queuedTokens &&
    Math.abs(told.residentBytes - load.residentBytes) < memoryStepBytes
  );
}
