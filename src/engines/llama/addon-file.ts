import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { LoquiError } from "../../errors.ts";

/** A binary of node-llama-cpp's addon. */
export interface AddonFile {
  readonly path: string;
  /** Version of node-llama-cpp that it belongs to. */
  readonly version: string;
  /** Whether `npm run build:llama` made it on this machine. */
  readonly local: boolean;
}

/**
 * Finds the addon, best first: what `npm run build:llama` left in `llama/bin`
 * of the project, if it was built from this version on such a processor, and
 * the prebuilt binary from npm. Throws `model_unavailable` where there is neither.
 */
export function findAddons(): [AddonFile, ...AddonFile[]] {
  const local = localBuild();
  if (local === undefined) return [prebuilt()];
  try {
    return [local, prebuilt()];
  } catch {
    return [local];
  }
}

/**
 * Environment that a process needs before it starts if it is to load the
 * addon: libuv and libgomp read it once. Empty for the prebuilt binary.
 */
export function addonEnvironment(): Record<string, string> {
  // libgomp keeps a team of threads per thread that calls it: with libuv's usual four, each decode may wake another team.
  return findAddons()[0].local ? { UV_THREADPOOL_SIZE: "1" } : {};
}

/**
 * What a local build is for, as `build.json` beside it says. Native code on a
 * lesser processor ends in an illegal instruction, and the names of virtual
 * processors don't tell them apart: their instruction sets do.
 */
export function buildStamp(): string {
  const instructions = existsSync("/proc/cpuinfo")
    ? /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]
    : undefined;
  return `${JSON.stringify({
    nodeLlamaCpp: installedVersion(),
    platform: process.platform,
    arch: process.arch,
    cpu: cpus()[0]?.model ?? "",
    instructions: createHash("sha256")
      .update(instructions ?? "")
      .digest("hex"),
  })}\n`;
}

function localBuild(): AddonFile | undefined {
  const folder = join(projectFolder(), "llama", "bin");
  const path = join(folder, "llama-addon.node");
  if (!existsSync(path) || readFileSync(join(folder, "build.json"), "utf8") !== buildStamp()) return undefined;
  return { path, version: installedVersion(), local: true };
}

function prebuilt(): AddonFile {
  const name = prebuiltName();
  try {
    const folder = dirname(dirname(requireFromNodeLlamaCpp().resolve(`@node-llama-cpp/${name}`)));
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return { path: join(folder, "bins", name, "llama-addon.node"), version, local: false };
  } catch (cause) {
    throw new LoquiError("model_unavailable", `there is no llama.cpp binary for ${name}`, { cause });
  }
}

/** The package of the prebuilt CPU binary; the folder of the binary has the same name. */
function prebuiltName(): string {
  const { platform, arch } = process;
  if (platform === "linux") return `linux-${arch === "arm" ? "armv7l" : arch}`;
  // On Apple's own processors there is but one binary; without layers on the GPU it runs on the CPU.
  if (platform === "darwin") return arch === "arm64" ? "mac-arm64-metal" : `mac-${arch}`;
  return platform === "win32" ? `win-${arch}` : `${platform}-${arch}`;
}

/** The binaries are optional dependencies of node-llama-cpp, which may keep them to itself. */
function requireFromNodeLlamaCpp(): NodeJS.Require {
  return createRequire(createRequire(import.meta.url).resolve("node-llama-cpp"));
}

function installedVersion(): string {
  const entry = createRequire(import.meta.url).resolve("node-llama-cpp");
  return JSON.parse(readFileSync(join(dirname(entry), "..", "package.json"), "utf8")).version;
}

/** The nearest folder above with a package.json. */
function projectFolder(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}
