import { expect, test } from "vitest";
import { workerEnvironment } from "../../../src/backends/worker/environment.ts";

test("a worker gets what it needs of the environment, and no secrets", () => {
  const parent = {
    PATH: "/bin",
    HOME: "/home/me",
    LANG: "C.UTF-8",
    LC_ALL: "C",
    TZ: "UTC",
    HF_HOME: "/cache",
    HF_TOKEN: "secret",
    LOQUI_API_KEYS: "secret",
    OPENAI_API_KEY: "secret",
    NODE_OPTIONS: "--inspect",
    CUDA_VISIBLE_DEVICES: "0",
    OMP_NUM_THREADS: "2",
    UV_THREADPOOL_SIZE: "64",
    UNSET: undefined,
  };
  expect(workerEnvironment(parent, { UV_THREADPOOL_SIZE: "1" })).toEqual({
    PATH: "/bin",
    HOME: "/home/me",
    LANG: "C.UTF-8",
    LC_ALL: "C",
    TZ: "UTC",
    HF_HOME: "/cache",
    CUDA_VISIBLE_DEVICES: "0",
    OMP_NUM_THREADS: "2",
    UV_THREADPOOL_SIZE: "1",
  });
});
