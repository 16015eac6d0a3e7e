import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { expect, test } from "vitest";
import {
  createSupervisor,
  restartDelayMs,
  type Supervisor,
  type SupervisorEvent,
} from "../../../src/backends/worker/supervisor.ts";
import { WorkerExit, type WorkerProcess } from "../../../src/backends/worker/worker-process.ts";
import type { WorkerInfo } from "../../../src/worker/ipc.ts";
import { failure } from "./setup.ts";

/** A process that does what the test says. */
interface FakeProcess {
  readonly socketPath: string;
  stopped: boolean;
  ready(): void;
  refuse(error: Error): void;
  die(): void;
}

function setup(delayMs: (start: number) => number = () => 0) {
  const processes: FakeProcess[] = [];
  const events: SupervisorEvent[] = [];
  const delays: number[] = [];
  const supervisor: Supervisor = createSupervisor({
    loadTimeoutMs: 10_000,
    delayMs: (start) => {
      delays.push(start);
      return delayMs(start);
    },
    onEvent: (event) => events.push(event),
    start: async (socketPath): Promise<WorkerProcess> => {
      const readiness = Promise.withResolvers<WorkerInfo>();
      const exit = Promise.withResolvers<WorkerExit>();
      readiness.promise.catch(() => {});
      const fake: FakeProcess = {
        socketPath,
        stopped: false,
        ready: () => readiness.resolve({} as WorkerInfo),
        refuse: (error) => readiness.reject(error),
        die() {
          const how = new WorkerExit("ended with code 1", []);
          readiness.reject(how);
          exit.resolve(how);
        },
      };
      processes.push(fake);
      const end = () => {
        fake.stopped = true;
        fake.die();
      };
      return {
        pid: processes.length,
        socketPath,
        ready: readiness.promise,
        load: undefined,
        exited: exit.promise,
        watch: () => () => {},
        kill: end,
        stop: async () => end(),
      };
    },
  });
  const started = async (count: number) => {
    while (processes.length < count) await new Promise((done) => setTimeout(done, 1));
    return processes[count - 1] as FakeProcess;
  };
  const types = () => events.map(({ type }) => type);
  return { supervisor, started, events, delays, types, processes };
}

test("loads once for all who ask, in a folder of its own that goes with it", async () => {
  const { supervisor, started, processes, types } = setup();
  expect(supervisor.state).toBe("available");
  const loads = [supervisor.load(), supervisor.load()];
  expect(supervisor.state).toBe("loading");
  (await started(1)).ready();
  const [first, second] = await Promise.all(loads);
  expect(first).toBe(second);
  expect(supervisor).toMatchObject({ state: "ready", worker: first, lastError: undefined });
  const folder = dirname(processes[0]?.socketPath ?? "");
  expect(existsSync(folder)).toBe(true);
  await supervisor.stop();
  expect(existsSync(folder)).toBe(false);
  expect(supervisor).toMatchObject({ state: "available", worker: undefined });
  expect(types()).toEqual(["loading", "ready", "stopped"]);
  await supervisor.stop();
  expect(types().length).toBe(3);
});

test("restarts what dies, each time on another socket", async () => {
  const { supervisor, started, types, delays, processes } = setup();
  void supervisor.load();
  (await started(1)).ready();
  await supervisor.load();
  processes[0]?.die();
  await started(2);
  expect(supervisor).toMatchObject({ state: "loading", worker: undefined });
  expect(supervisor.lastError?.message).toBe("the worker ended with code 1");
  processes[1]?.ready();
  expect((await supervisor.load()).process.pid).toBe(2);
  expect(supervisor.lastError).toBeUndefined();
  expect(types()).toEqual(["loading", "ready", "crashed", "loading", "ready"]);
  expect(delays).toEqual([2]);
  expect(processes[0]?.socketPath).not.toBe(processes[1]?.socketPath);
  await supervisor.stop();
});

test("gives up at once when the worker says why it can't load", async () => {
  const { supervisor, started, processes } = setup();
  const load = supervisor.load();
  (await started(1)).refuse(new Error("secret"));
  const error = await failure(load);
  expect(error).toMatchObject({ kind: "model_unavailable", message: "internal error" });
  expect(supervisor).toMatchObject({ state: "failed", lastError: error });
  expect(processes[0]?.stopped).toBe(true);
  // Asked again, it tries again.
  void supervisor.load();
  (await started(2)).ready();
  await supervisor.load();
  expect(supervisor.state).toBe("ready");
  await supervisor.stop();
});

test("gives up after five that died while they loaded, whatever died before", async () => {
  const { supervisor, started, delays, types } = setup();
  void supervisor.load();
  (await started(1)).ready();
  await supervisor.load();
  (await started(1)).die();
  for (let n = 2; n <= 6; n++) (await started(n)).die();
  const error = await failure(supervisor.load().then(() => supervisor.load()));
  expect(error.message).toBe("the worker ended with code 1 while the model was loading");
  expect(supervisor.state).toBe("failed");
  expect(delays).toEqual([2, 3, 4, 5, 6]);
  expect(types().filter((type) => type === "loading").length).toBe(6);
});

test("tries on for as long as the system lacks what a start needs", async () => {
  const { supervisor, started } = setup();
  const load = supervisor.load();
  for (let n = 1; n <= 8; n++) {
    (await started(n)).refuse(Object.assign(new Error("spawn EMFILE"), { code: n % 2 === 0 ? "EMFILE" : "EAGAIN" }));
  }
  (await started(9)).ready();
  await load;
  expect(supervisor).toMatchObject({ state: "ready", lastError: undefined });
  await supervisor.stop();
});

test("stopping ends a wait for the next start", async () => {
  const { supervisor, started, processes } = setup(() => 60_000);
  const load = supervisor.load();
  (await started(1)).die();
  while (supervisor.nextStartAt === undefined) await new Promise((done) => setTimeout(done, 1));
  expect(supervisor.nextStartAt - performance.now()).toBeGreaterThan(59_000);
  await supervisor.stop();
  expect((await failure(load)).message).toBe("the model is being unloaded");
  expect(supervisor.state).toBe("available");
  expect(processes.length).toBe(1);
});

test("stopping while it loads leaves no process, not even one that is being started", async () => {
  const { supervisor, processes } = setup();
  const load = supervisor.load();
  await supervisor.stop();
  expect((await failure(load)).message).toBe("the model is being unloaded");
  expect(processes.every(({ stopped }) => stopped)).toBe(true);
  expect(supervisor.state).toBe("available");
});

test("the waits: none, then 1 s, doubled up to 30 s, half of it by chance", () => {
  const most = [2, 3, 4, 5, 6, 7, 8, 9, 100].map((start) => restartDelayMs(start, () => 0));
  expect(most).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  expect([2, 3, 4, 100].map((start) => restartDelayMs(start, () => 1))).toEqual([0, 500, 1_000, 15_000]);
});
