import { packageRoot } from "../config/package-root.ts";
import { readSettings } from "../config/settings.ts";
import { startLoqui } from "../loqui.ts";

/**
 * Runs a server until SIGTERM or SIGINT ends it. The first signal drains: what
 * is in flight gets the drain time. The second ends at once.
 */
export async function serve(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const loqui = await startLoqui(readSettings(process.env, flags, packageRoot));
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
