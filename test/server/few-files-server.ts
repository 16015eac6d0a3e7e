/**
 * A server in a process that may open few files (`ulimit -n` before it), of
 * which it holds some. Says its URL, and each line of its log.
 */
import { openSync } from "node:fs";
import { createLog } from "../../src/telemetry/log.ts";
import { startTestServer } from "./test-server.ts";

const log = createLog({ level: "warn", stream: { write: (line) => console.log(line.trim()) } });
const [maxConnections = 0, held = 0] = process.argv.slice(2).map(Number);
for (let index = 0; index < held; index++) openSync("/dev/null", "r");
const server = await startTestServer({ log, limits: { maxConnections } });
console.log(JSON.stringify({ url: server.url }));
process.on("SIGTERM", () => void server.close({ force: true }).then(() => process.exit(0)));
