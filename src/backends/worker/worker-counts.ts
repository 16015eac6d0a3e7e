import type { WorkerEvent } from "./worker-backend.ts";
import type { WorkerExit } from "./worker-process.ts";

/** What has become of a model's processes since the server started. */
export interface WorkerCounts {
  /** Times that one became ready. */
  readonly loads: number;
  /** Times that one ended unasked. */
  readonly crashes: number;
  /** How many of those were killed because they hung. */
  readonly hangs: number;
  /** How many of them the kernel killed for want of memory. */
  readonly oomKills: number;
  /** Times that one was started after such an end. */
  readonly restarts: number;
  /** Inputs that were put into quarantine. */
  readonly quarantines: number;
}

/** The counts after one more event. */
export function countEvent(counts: WorkerCounts, event: WorkerEvent): WorkerCounts {
  switch (event.type) {
    case "loading":
      return event.start > 1 ? { ...counts, restarts: counts.restarts + 1 } : counts;
    case "ready":
      return { ...counts, loads: counts.loads + 1 };
    case "crashed":
      return countExit(counts, event.exit);
    case "quarantined":
      return { ...counts, quarantines: counts.quarantines + 1 };
    case "failed":
      return event.exit === undefined ? counts : countExit(counts, event.exit);
    case "stopped":
      return counts;
    default:
      return event satisfies never;
  }
}

function countExit(counts: WorkerCounts, { reason }: WorkerExit): WorkerCounts {
  return {
    ...counts,
    crashes: counts.crashes + 1,
    hangs: counts.hangs + (reason === "hung" ? 1 : 0),
    oomKills: counts.oomKills + (reason === "out_of_memory" ? 1 : 0),
  };
}
