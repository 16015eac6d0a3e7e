import type { Logger } from "../../telemetry/log.ts";
import type { SupervisorEvent } from "./supervisor.ts";

/** Writes what happens to a worker to the log, a line each; a dead worker's last lines with it. */
export function logEvent(log: Logger, event: SupervisorEvent): void {
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
    case "stopped":
      log.info("the model is unloaded");
      break;
    default:
      event satisfies never;
  }
}
