import { fork } from "node:child_process";
import { join } from "node:path";
import type { BareOrder, BareReport } from "./bare-session.ts";

/** The bare engine in a process of its own. */
export interface Bare extends Disposable {
  readonly pid: number;
  run(order: BareOrder): Promise<BareReport>;
}

export interface BareOptions {
  readonly model: string;
  readonly threads: number;
  readonly batchTokens: number;
}

/** Starts bare-session.ts and waits until its model is loaded. */
export async function startBare({ model, threads, batchTokens }: BareOptions): Promise<Bare> {
  const child = fork(join(import.meta.dirname, "bare-session.ts"), [model, String(threads), String(batchTokens)]);
  await nextMessage(child);
  return {
    pid: child.pid ?? 0,
    async run(order) {
      const report = nextMessage(child);
      child.send(order);
      return (await report) as BareReport;
    },
    [Symbol.dispose]: () => child.disconnect(),
  };
}

function nextMessage(child: ReturnType<typeof fork>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the bare session ended with ${code}`));
    child.once("exit", onExit);
    child.once("message", (message) => {
      child.off("exit", onExit);
      resolve(message);
    });
  });
}
