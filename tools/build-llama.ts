/**
 * Builds llama.cpp and node-llama-cpp's addon from the sources inside the npm
 * package, for this machine: native instructions and OpenMP, which the
 * prebuilt binary lacks (its threads spin up anew for every decode).
 *
 *   node tools/build-llama.ts [--server] [folder]
 *
 * Needs git, cmake and a C++ compiler; no network. Takes some ten minutes on
 * two cores. The result lies in `llama/bin` (ignored by git), where the engine
 * looks for it; node_modules stays as it is.
 *
 * With `--server` it builds llama-server and llama-bench instead, which
 * `npm run bench -- chat` measures against: from the same sources with the same
 * options into `llama/server/openmp`, and without OpenMP, as the prebuilt
 * binary is, into `llama/server/plain`. Takes twice as long.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { buildStamp } from "../src/engines/llama/addon-file.ts";

const root = resolve(import.meta.dirname, "..");
const modules = join(root, "node_modules");
const sources = join(modules, "node-llama-cpp", "llama");
const { values, positionals } = parseArgs({ allowPositionals: true, options: { server: { type: "boolean" } } });
const folder = resolve(positionals[0] ?? join(root, "llama"));
const work = join(folder, values.server === true ? "server-work" : "work");

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
// The addon shows the embedding of one sequence of a batch, and draws one token at a time; this lets it do all at once.
// Within a repository, git takes a patch's paths to be of the repository's root.
run("git", ["-C", work, "apply", join(root, "tools", "llama-addon.patch")], {
  GIT_CEILING_DIRECTORIES: realpathSync(folder),
});

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
/** What the server needs beside them; its web page would be fetched. */
const serverOptions = {
  LLAMA_BUILD_TOOLS: "ON",
  LLAMA_BUILD_SERVER: "ON",
  LLAMA_BUILD_UI: "OFF",
  LLAMA_USE_PREBUILT_UI: "OFF",
};
const build = join(work, "build");

if (values.server === true) {
  // One build folder: only what OpenMP changes is compiled a second time.
  for (const [name, openmp] of [
    ["openmp", "ON"],
    ["plain", "OFF"],
  ] as const) {
    compile({ ...options, ...serverOptions, GGML_OPENMP: openmp }, ["llama-server", "llama-bench"]);
    const programs = ["llama-server", "llama-bench"].map((program) => join(build, "bin", program));
    replaceFolder(join(folder, "server", name), programs);
  }
} else {
  compile(options, ["llama-addon"]);
  // The engine takes the build only where it was made for.
  writeFileSync(join(build, "build.json"), buildStamp());
  replaceFolder(join(folder, "bin"), [join(build, "llama-addon.node"), join(build, "build.json")]);
}
rmSync(work, { recursive: true, force: true });

function compile(definitions: Readonly<Record<string, string>>, targets: readonly string[]): void {
  run("cmake", ["-S", work, "-B", build, ...Object.entries(definitions).map(([name, value]) => `-D${name}=${value}`)]);
  run("cmake", ["--build", build, "--target", ...targets, "--parallel", String(availableParallelism())]);
}

/** Puts files into a folder in place of what it holds. */
function replaceFolder(target: string, files: readonly string[]): void {
  const result = join(work, "result");
  mkdirSync(result);
  for (const file of files) cpSync(file, join(result, basename(file)));
  rmSync(target, { recursive: true, force: true });
  mkdirSync(dirname(target), { recursive: true });
  renameSync(result, target);
  for (const file of files) console.log(`built ${join(target, basename(file))}`);
}

function run(command: string, args: string[], environment: Readonly<Record<string, string>> = {}): void {
  // CMakeLists.txt asks node where node-addon-api is; outside the project it needs to be told.
  execFileSync(command, args, { stdio: "inherit", env: { ...process.env, NODE_PATH: modules, ...environment } });
}
