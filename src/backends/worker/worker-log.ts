import type { Logger } from "../../telemetry/log.ts";
import type { WorkerEvent } from "./worker-backend.ts";

/** Writes what happens to a worker to the log, a line each; a dead worker's last lines with it. */
export function logEvent(log: Logger, event: WorkerEvent): void {
  switch (event.type) {
    case "loading":
      log.info({ start: event.start }, "loading the model");
      break;
    case "ready": {
      const { process, info } = event.worker;
      const { architecture, contextLength, sequences, threads } = info;
      const loadMs = Math.round(event.loadMs);
      log.info({ pid: process.pid, architecture, contextLength, sequences, threads, loadMs }, "the model is ready");
      break;
    }
    case "crashed":
      log.error({ restartInMs: Math.round(event.restartInMs), lastLines: event.exit.lines }, event.exit.message);
      break;
    case "failed":
      log.error({ lastLines: event.exit?.lines }, `the model can't be loaded: ${event.error.message}`);
      break;
    case "quarantined":
      log.error(
        { requestId: event.requestId, minutes: event.holdMs / 60_000 },
        "the worker died of the same input twice: the input is in quarantine",
      );
      break;
    case "stopped":
      log.info("the model is unloaded");
      break;
    default:
      event satisfies never;
  }
}
