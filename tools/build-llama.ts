/**
 * Builds llama.cpp and node-llama-cpp's addon from the sources inside the npm
 * package, for this machine: native instructions and OpenMP, which the
 * prebuilt binary lacks (its threads spin up anew for every decode).
 *
 *   node tools/build-llama.ts [folder]
 *
 * Needs git, cmake and a C++ compiler; no network. Takes some ten minutes on
 * two cores. The result lies in `llama/bin` (ignored by git), where the engine
 * looks for it; node_modules stays as it is.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { buildStamp } from "../src/engines/llama/addon-file.ts";

const root = resolve(import.meta.dirname, "..");
const modules = join(root, "node_modules");
const sources = join(modules, "node-llama-cpp", "llama");
const folder = resolve(process.argv[2] ?? join(root, "llama"));
const work = join(folder, "work");

if (process.platform === "win32") {
  console.error("build:llama knows Linux and macOS only; the prebuilt binary is used here");
  process.exit(1);
}
for (const tool of ["git", "cmake"]) {
  try {
    execFileSync(tool, ["--version"], { stdio: "ignore" });
  } catch {
    console.error(`build:llama needs ${tool}; install it and try again`);
    process.exit(1);
  }
}

rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });
for (const part of ["CMakeLists.txt", "addon", "cmake"]) {
  cpSync(join(sources, part), join(work, part), { recursive: true });
}
const llamaCpp = join(work, "llama.cpp");
run("git", ["clone", "--quiet", "-c", "advice.detachedHead=false", join(sources, "gitRelease.bundle"), llamaCpp]);
for (const patch of readdirSync(join(sources, "patches"))) {
  run("git", ["-C", llamaCpp, "apply", join(sources, "patches", patch)]);
}

const options = {
  CMAKE_BUILD_TYPE: "Release",
  CMAKE_JS_INC: join(modules, "node-api-headers", "include"),
  // Node itself has the napi_ symbols; macOS must be told that they come later.
  ...(process.platform === "darwin" && { CMAKE_SHARED_LINKER_FLAGS: "-undefined dynamic_lookup" }),
  // One file, llama.cpp included: nothing can be paired with another build's libraries.
  BUILD_SHARED_LIBS: "OFF",
  GGML_NATIVE: "ON",
  GGML_OPENMP: "ON",
  GGML_METAL: "OFF",
  GGML_CCACHE: "OFF",
  GGML_BUILD_NUMBER: "1",
  LLAMA_CURL: "OFF",
  LLAMA_HTTPLIB: "OFF",
  LLAMA_OPENSSL: "OFF",
};
const build = join(work, "build");
run("cmake", ["-S", work, "-B", build, ...Object.entries(options).map(([name, value]) => `-D${name}=${value}`)]);
run("cmake", ["--build", build, "--target", "llama-addon", "--parallel", String(availableParallelism())]);

const result = join(work, "bin");
mkdirSync(result);
cpSync(join(build, "llama-addon.node"), join(result, "llama-addon.node"));
// The engine takes the build only where it was made for.
writeFileSync(join(result, "build.json"), buildStamp());
rmSync(join(folder, "bin"), { recursive: true, force: true });
renameSync(result, join(folder, "bin"));
rmSync(work, { recursive: true, force: true });
console.log(`built ${join(folder, "bin", "llama-addon.node")}`);

function run(command: string, args: string[]): void {
  // CMakeLists.txt asks node where node-addon-api is; outside the project it needs to be told.
  execFileSync(command, args, { stdio: "inherit", env: { ...process.env, NODE_PATH: modules } });
}
