import { existsSync } from "node:fs";
import { expect, it } from "vitest";
import { supportedVersion } from "../../../src/engines/llama/addon.ts";
import { addonEnvironment, buildStamp, findAddons } from "../../../src/engines/llama/addon-file.ts";

it("finds a binary of the supported version", () => {
  for (const addon of findAddons()) {
    expect(existsSync(addon.path)).toBe(true);
    expect(addon.version).toBe(supportedVersion);
  }
});

it("gives a local build one thread in libuv's pool, so that OpenMP keeps one team", () => {
  expect(addonEnvironment().UV_THREADPOOL_SIZE).toBe(findAddons()[0].local ? "1" : undefined);
  expect(Number(addonEnvironment().MALLOC_MMAP_THRESHOLD_)).toBeGreaterThan(152_000 * 12);
});

it("stamps a build with what it is for", () => {
  expect(JSON.parse(buildStamp())).toEqual({
    nodeLlamaCpp: supportedVersion,
    platform: process.platform,
    arch: process.arch,
    cpu: expect.any(String),
    instructions: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});
