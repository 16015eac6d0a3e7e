import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { WorkerBackend } from "../../../src/backends/worker/worker-backend.ts";
import { writeScriptedModel } from "../../support/scripted-model.ts";
import { ask, chat, collect, contextOf, failure, stream, testWorker, textOf, until } from "./setup.ts";

const never = new AbortController().signal;
const endless = { reply: ["on ", "and ", "off "], loop: true };
const crashed = "the worker of the model test/scripted died while it answered";

function signalWorker(backend: WorkerBackend, signal: NodeJS.Signals): void {
  const { pid } = backend;
  if (pid === undefined) throw new Error("there is no worker");
  process.kill(pid, signal);
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

describe("a worker that is killed", () => {
  test("in mid-stream: the answer breaks with worker_crashed, and the next call is answered", async () => {
    await using worker = testWorker(endless, { parameters: { n_ctx: 16_384 } });
    const { backend } = worker;
    let chunks = 0;
    const running = (async () => {
      for await (const _ of stream(backend, ask("Hi"))) if (++chunks === 10) signalWorker(backend, "SIGKILL");
    })();
    const error = await failure(running);
    expect(error).toMatchObject({ kind: "worker_crashed", message: crashed });
    expect(chunks).toBeGreaterThanOrEqual(10);
    expect((await chat(backend, ask("Hi", { maxTokens: 3 }))).usage?.completionTokens).toBe(3);
    expect(backend).toMatchObject({ state: "ready", inFlight: 0, lastError: undefined });
  });

  test("before the first byte: the calls are tried again, and nobody notices", async () => {
    await using worker = testWorker();
    const { backend } = worker;
    await backend.load(never);
    const { pid } = backend;
    signalWorker(backend, "SIGSTOP");
    const contexts = [contextOf(), contextOf(), contextOf()] as const;
    const answers = Promise.all([
      chat(backend, ask("one"), contexts[0]).then(textOf),
      collect(stream(backend, ask("two"), contexts[1])).then(textOf),
      chat(backend, ask("three"), contexts[2]).then(textOf),
    ]);
    await pause(100);
    signalWorker(backend, "SIGKILL");
    expect(await answers).toEqual(["Hello, world!", "Hello, world!", "Hello, world!"]);
    expect(contexts.map(({ record }) => record.retries)).toEqual([1, 1, 1]);
    expect(backend.pid).not.toBe(pid);
  });

  test("twice before the first byte: worker_crashed", async () => {
    await using worker = testWorker();
    const { backend } = worker;
    await backend.load(never);
    signalWorker(backend, "SIGSTOP");
    // The next worker stands still as soon as it is ready, before it can answer.
    worker.onLine = ({ msg, pid }) => {
      if (msg === "the model is ready") process.kill(pid ?? 0, "SIGSTOP");
    };
    const answer = failure(chat(backend, ask("one")));
    const first = backend.pid;
    await pause(50);
    signalWorker(backend, "SIGKILL");
    await until("the second is ready", () => backend.pid !== undefined && backend.pid !== first);
    worker.onLine = () => {};
    await pause(100);
    signalWorker(backend, "SIGKILL");
    expect(await answer).toMatchObject({ kind: "worker_crashed", message: crashed });
    expect(textOf(await chat(backend, ask("two")))).toBe("Hello, world!");
  });

  test("the calls that are tried again run alone, one after the other", async () => {
    await using worker = testWorker(endless, { parameters: { n_ctx: 1_024 } });
    const { backend } = worker;
    await backend.load(never);
    signalWorker(backend, "SIGSTOP");
    const spans: [start: number, end: number][] = [];
    const run = async () => {
      let start = 0;
      for await (const _ of stream(backend, ask("Hi", { maxTokens: 300 }))) start ||= performance.now();
      spans.push([start, performance.now()]);
    };
    const suspects = [run(), run(), run()];
    await pause(50);
    signalWorker(backend, "SIGKILL");
    await Promise.all(suspects);
    spans.sort(([a], [b]) => a - b);
    for (const [index, [start]] of spans.entries()) {
      if (index > 0) expect(start).toBeGreaterThanOrEqual(spans[index - 1]?.[1] ?? 0);
    }
  });

  test("by Ctrl-C isn't: that is for the parent", async () => {
    await using worker = testWorker();
    const { backend } = worker;
    await backend.load(never);
    const { pid } = backend;
    signalWorker(backend, "SIGINT");
    await pause(50);
    expect(textOf(await chat(backend, ask("Hi")))).toBe("Hello, world!");
    expect(backend.pid).toBe(pid);
  });

  test("is restarted though nobody calls; the log has how it ended", async () => {
    await using worker = testWorker();
    const { backend } = worker;
    await backend.load(never);
    const { pid } = backend;
    signalWorker(backend, "SIGKILL");
    await until("it is back", () => backend.pid !== undefined && backend.pid !== pid);
    expect(worker.log.find((line) => line.level === "error")).toMatchObject({
      msg: "the worker was ended by SIGKILL",
      restartInMs: 0,
    });
  });

  test("while it loads, again and again: failed after five, until it is asked again", async () => {
    const id = `test/crashing-${process.pid}`;
    await using worker = testWorker(undefined, { id, delayMs: () => 5 });
    const { backend } = worker;
    const loading = backend.load(never);
    loading.catch(() => {});
    const killer = setInterval(() => {
      for (const pid of pidsOf(id)) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It went between the two lines.
        }
      }
    }, 20);
    try {
      const error = await failure(loading);
      expect(error.message).toBe("the worker was ended by SIGKILL while the model was loading");
      expect(backend).toMatchObject({ state: "failed", lastError: error.message });
      expect(worker.log.filter(({ msg }) => msg === "loading the model").length).toBe(5);
      expect((await failure(chat(backend, ask("Hi")))).kind).toBe("model_unavailable");
    } finally {
      clearInterval(killer);
    }
    await backend.load(never);
    expect(textOf(await chat(backend, ask("Hi")))).toBe("Hello, world!");
  });

  test("and whose restart is further away than the deadline: unavailable, with the time", async () => {
    await using worker = testWorker(undefined, { delayMs: (start) => (start === 1 ? 0 : 60_000) });
    const { backend } = worker;
    await backend.load(never);
    signalWorker(backend, "SIGKILL");
    await until("it is dead", () => backend.state === "loading");
    const error = await failure(chat(backend, ask("Hi"), contextOf({ timeoutMs: 1_000 })));
    expect(error.kind).toBe("model_unavailable");
    expect(error.retryAfterMs).toBeGreaterThan(55_000);
    expect(error.message).toBe("the model test/scripted is not available: the worker was ended by SIGKILL");
  });
});

describe("when the parent is killed", () => {
  async function parent(
    id: string,
  ): Promise<{ child: ChildProcess; word: (word: string) => Promise<void> } & Disposable> {
    const folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
    const path = join(folder, "model.gguf");
    writeScriptedModel(path, { reply: ["x"] });
    const script = fileURLToPath(new URL("./orphan-parent.ts", import.meta.url));
    const child = spawn(process.execPath, [script, path, id], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, TMPDIR: folder },
    });
    let output = "";
    child.stdout?.on("data", (data) => {
      output += data;
    });
    return {
      child,
      word: (word) => until(`the parent says ${word}`, () => output.includes(word)),
      [Symbol.dispose]() {
        child.kill("SIGKILL");
        expect(readdirSync(folder)).toEqual(["model.gguf"]);
        rmSync(folder, { recursive: true });
      },
    };
  }

  test("the worker goes, and its socket", async () => {
    const id = `test/orphan-${process.pid}-ready`;
    using run = await parent(id);
    await run.word("ready");
    expect(pidsOf(id).length).toBe(1);
    run.child.kill("SIGKILL");
    await until("the worker is gone", () => pidsOf(id).length === 0);
  });

  test("the worker goes in the middle of loading too", async () => {
    const id = `test/orphan-${process.pid}-loading`;
    using run = await parent(id);
    await run.word("loading");
    await until("the worker has begun", () => pidsOf(id).length === 1);
    run.child.kill("SIGKILL");
    await until("the worker is gone", () => pidsOf(id).length === 0);
  });
});

/** The workers of a model that this machine runs, by their command line. */
function pidsOf(id: string): number[] {
  const words = `worker --model ${id}`;
  if (process.platform !== "linux") {
    const lines = execFileSync("ps", ["-eo", "pid,args"], { encoding: "utf8" }).split("\n");
    return lines.filter((line) => line.includes(words)).map((line) => Number.parseInt(line, 10));
  }
  const pids = readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name));
  return pids.filter((pid) => commandLine(pid).includes(words)).map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
