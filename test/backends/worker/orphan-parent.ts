/**
 * A parent for the test of orphans: starts a worker for the model file and id
 * that it is given, says when it loads and when it is ready, and does nothing more.
 */
import { pino } from "pino";
import { createWorkerBackend } from "../../../src/backends/worker/worker-backend.ts";
import { modelOfPath } from "../../../src/config/model-of-path.ts";

const [, , path = "", id = ""] = process.argv;
const backend = createWorkerBackend({ config: { ...modelOfPath(path), id }, log: pino({ level: "silent" }) });
const ready = backend.load(new AbortController().signal);
console.log("loading");
await ready;
console.log(`ready ${backend.pid}`);
setInterval(() => {}, 60_000);
