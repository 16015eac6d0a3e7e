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
  expect(addonEnvironment()).toEqual(findAddons()[0].local ? { UV_THREADPOOL_SIZE: "1" } : {});
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
