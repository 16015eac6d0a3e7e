import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

/** A server in a process of its own, as `npm start` makes it. */
export interface SpawnedLoqui {
  readonly url: string;
  readonly process: ChildProcess;
  /** Asks it to end and resolves when it has. */
  stop(): Promise<void>;
}

const root = resolve(import.meta.dirname, "../..");

/** Starts `loqui serve` of a checkout on a free port with these arguments; resolves when it listens. */
export async function spawnLoqui(args: readonly string[], checkout = root): Promise<SpawnedLoqui> {
  const child = spawn(process.execPath, ["src/cli/main.ts", "serve", "--port", "0", ...args], {
    cwd: checkout,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, LOQUI_LOG_LEVEL: "warn" },
  });
  const exited = new Promise<void>((done) => child.once("exit", () => done()));
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^loqui listens on (http:\S+)/.exec(line)?.[1];
    if (url === undefined) continue;
    return {
      url,
      process: child,
      async stop() {
        child.kill("SIGTERM");
        await exited;
      },
    };
  }
  throw new Error("the server ended before it listened");
}
