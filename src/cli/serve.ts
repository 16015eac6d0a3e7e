import { packageRoot } from "../config/package-root.ts";
import { readSettings } from "../config/settings.ts";
import { traceLine } from "../error-trace.ts";
import { startLoqui } from "../loqui.ts";

/**
 * Runs a server until SIGTERM or SIGINT ends it. The first signal drains: what
 * is in flight gets the drain time. The second ends at once. SIGHUP has it read
 * again what may change while it runs.
 */
export async function serve(flags: Readonly<Record<string, unknown>>): Promise<void> {
  // Node would print the error's message, which may quote a request.
  process.on("uncaughtException", (error) => {
    process.stderr.write(`loqui: ended by an error that nobody handled: ${traceLine(error, false)}\n`);
    process.exit(1);
  });
  const settings = readSettings(process.env, flags, packageRoot);
  // Nothing that is started or dumped from here on needs the plain keys.
  delete process.env.LOQUI_API_KEYS;
  const loqui = await startLoqui(settings);
  process.on("SIGHUP", () => loqui.reload());
  process.stdout.write(`loqui listens on ${loqui.url}\n`);
  await new Promise<void>((done) => {
    let signals = 0;
    const stop = () => {
      signals++;
      if (signals === 1) void loqui.close().then(done);
      else loqui.abort();
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  });
  process.exit(0);
}
