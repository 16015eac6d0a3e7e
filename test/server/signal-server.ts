/** A server in a process of its own, for tests that send it signals. Says its URL, then each step. */
import { startTestServer } from "./test-server.ts";

const server = await startTestServer({ limits: { drainMs: Number(process.argv[2] ?? 300) } });
console.log(server.url);
let signals = 0;
process.on("SIGTERM", () => {
  signals++;
  void server.close({ force: signals > 1 }).then(() => {
    process.removeAllListeners("SIGTERM");
    console.log("closed");
  });
});
