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

export interface SpawnOptions {
  /** Whose sources are run. Default: this checkout's. */
  readonly checkout?: string;
  /** For Node itself. */
  readonly nodeArguments?: readonly string[];
  /** Takes each line that it writes to standard error. Default: they go to this process's. */
  readonly onLogLine?: (line: string) => void;
}

/** Starts `loqui serve` on a free port with these arguments; resolves when it listens. */
export async function spawnLoqui(args: readonly string[], options: SpawnOptions = {}): Promise<SpawnedLoqui> {
  const { checkout = root, nodeArguments = [], onLogLine } = options;
  const child = spawn(process.execPath, [...nodeArguments, "src/cli/main.ts", "serve", "--port", "0", ...args], {
    cwd: checkout,
    stdio: ["ignore", "pipe", onLogLine === undefined ? "inherit" : "pipe"],
    env: { ...process.env, LOQUI_LOG_LEVEL: "warn" },
  });
  if (child.stdout === null) throw new Error("standard output is not piped");
  if (onLogLine !== undefined && child.stderr !== null) {
    createInterface({ input: child.stderr }).on("line", onLogLine);
  }
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
