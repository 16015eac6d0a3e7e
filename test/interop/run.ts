/**
 * The tests by clients that are not ours: `npm run test:interop`, or a part of
 * them: `npm run test:interop -- node python go conformance`.
 *
 * Starts one server with scripted models, a reranker and an embedding model, and one with gRPC's
 * TestService, and runs against them the Python SDKs and grpcio (pytest), Go clients (go test),
 * curl, grpc-js, LangChain, the AI SDK and the tests that hold responses against
 * OpenAI's own schemas (vitest); then connectrpc/conformance, which starts
 * servers of its own. Needs python3, go and curl; installs the rest under
 * `.cache/interop`, in `test/interop/node` and in Go's caches. Writes JUnit XML into LOQUI_TEST_RESULTS where that is set.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { stringify } from "yaml";
import { agentScripts } from "../support/agent-scripts.ts";
import { linkCheckpoint, linkReranker } from "../support/onnx-models.ts";
import { usualScripts, writeScripts } from "../support/running-loqui.ts";
import { spawnLoqui } from "../support/spawned-loqui.ts";
import { runConformance } from "./conformance/run.ts";

const here = import.meta.dirname;
const root = resolve(here, "../..");
const cache = join(root, ".cache/interop");
const results = process.env.LOQUI_TEST_RESULTS ?? join(root, ".cache/test-results");
mkdirSync(cache, { recursive: true });
mkdirSync(results, { recursive: true });

const parts: Readonly<Record<string, () => boolean>> = {
  node: runVitest,
  python: runPytest,
  go: runGo,
  conformance: () => runConformance(join(results, "interop-conformance.xml")),
};
const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(parts);
for (const name of chosen) {
  if (!Object.hasOwn(parts, name)) throw new Error(`${name} is none of ${Object.keys(parts).join(", ")}`);
}

const scratch = mkdtempSync(join(tmpdir(), "loqui-interop-"));
const scripts = { ...usualScripts, ...agentScripts };
writeScripts(scratch, scripts);
// A chunk for each token, so that there are several of their short answers.
const chats = Object.keys(scripts).map((id) => ({
  id,
  type: "chat",
  engine: "llama.cpp",
  source: { path: `${id}.gguf` },
  parameters: { stream_interval_ms: 0 },
}));
linkReranker(join(scratch, "reranker"), "bert");
const reranker = { id: "reranker", type: "rerank", engine: "onnxruntime", source: { path: "reranker" } };
const embedder = linkCheckpoint(join(scratch, "embedder"), "bert", "mean");
const config = join(scratch, "models.yaml");
writeFileSync(config, stringify({ models: [...chats, reranker] }));
const server = await spawnLoqui([
  "--config",
  config,
  "--models",
  [...Object.keys(scripts), reranker.id, embedder].join(","),
]);
const grpc = spawn(process.execPath, [join(here, "grpc/server.ts")], { stdio: ["ignore", "pipe", "inherit"] });
const [grpcUrl] = (await once(createInterface({ input: grpc.stdout }), "line")) as [string];
const environment = {
  ...process.env,
  LOQUI_TEST_URL: server.url,
  LOQUI_TEST_GRPC_URL: grpcUrl,
  LOQUI_TEST_RESULTS: results,
  LOQUI_TEST_OPENAI_SCHEMAS:
    process.env.LOQUI_TEST_OPENAI_SCHEMAS ?? resolve(root, "../shared/openai/openapi.subset.json"),
};
let failed = false;
try {
  for (const name of chosen) failed = !parts[name]?.() || failed;
} finally {
  grpc.kill("SIGTERM");
  await server.stop();
  rmSync(scratch, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

function runVitest(): boolean {
  const clients = join(here, "node");
  installOnce(join(clients, "package-lock.json"), join(clients, "node_modules/.installed"), () =>
    execFileSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: clients, stdio: "inherit" }),
  );
  const typed = run("npx", ["tsc", "--project", join(clients, "tsconfig.json")], root);
  return typed && run("npx", ["vitest", "run", "--config", "test/interop/vitest.config.ts"], root);
}

function runPytest(): boolean {
  const venv = join(cache, "venv");
  const requirements = join(here, "python/requirements.txt");
  installOnce(requirements, join(venv, "requirements.txt"), () => {
    rmSync(venv, { recursive: true, force: true });
    execFileSync("python3", ["-m", "venv", venv], { stdio: "inherit" });
    execFileSync(join(venv, "bin/pip"), ["install", "--quiet", "--requirement", requirements], { stdio: "inherit" });
  });
  const python = join(venv, "bin/python");
  const generated = join(cache, "python");
  rmSync(generated, { recursive: true, force: true });
  mkdirSync(generated, { recursive: true });
  const protos = ["loqui/v1", "loqui/rest/v1"].flatMap((folder) => protoFiles(`proto/${folder}`, "proto"));
  // Under another name: `grpc` is grpcio's own package.
  const interop = join(generated, "interop_protos");
  cpSync(join(here, "proto/grpc/testing"), interop, { recursive: true });
  const renamed = ["empty", "messages", "test"].map((name) => join(interop, `${name}.proto`));
  for (const path of renamed) {
    writeFileSync(path, readFileSync(path, "utf8").replaceAll('"grpc/testing/', '"interop_protos/'));
  }
  execFileSync(
    python,
    [
      ...["-m", "grpc_tools.protoc", "-Iproto", "-Iproto/third_party", `-I${generated}`],
      ...[`--python_out=${generated}`, `--pyi_out=${generated}`, `--grpc_python_out=${generated}`],
      ...protos,
      ...renamed,
      "buf/validate/validate.proto",
    ],
    { cwd: root, stdio: "inherit" },
  );
  return run(
    python,
    ["-m", "pytest", "-q", join(here, "python"), `--junitxml=${join(results, "interop-python.xml")}`],
    root,
    {
      PYTHONPATH: generated,
      PYTHONDONTWRITEBYTECODE: "1",
    },
  );
}

/** Installs what `wanted` lists unless `stamp` says that just this was installed. */
function installOnce(wanted: string, stamp: string, install: () => void): void {
  const list = readFileSync(wanted, "utf8");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === list) return;
  install();
  writeFileSync(stamp, list);
}

function protoFiles(folder: string, base: string): string[] {
  return execFileSync("find", [folder, "-name", "*.proto"], { cwd: root, encoding: "utf8" })
    .trim()
    .split("\n")
    .map((path) => path.slice(base.length + 1));
}

function runGo(): boolean {
  const module = join(here, "go");
  execFileSync("npx", ["buf", "generate", "--template", "test/interop/go/buf.gen.yaml", "--output", module], {
    cwd: root,
    stdio: "inherit",
  });
  const { stdout, status, error } = spawnSync("go", ["test", "-count=1", "-json", "./..."], {
    cwd: module,
    encoding: "utf8",
    env: environment,
    maxBuffer: 64 << 20,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (error !== undefined) throw error;
  const events = stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { Action: string; Test?: string; Output?: string });
  for (const event of events) if (event.Action === "output") process.stdout.write(event.Output ?? "");
  const ended = events.filter((event) => event.Test !== undefined && /^(pass|fail|skip)$/.test(event.Action));
  const inside: Record<string, string> = { fail: "<failure/>", skip: "<skipped/>", pass: "" };
  const cases = ended.map(({ Test, Action }) => `<testcase name="${Test}">${inside[Action]}</testcase>`);
  writeFileSync(join(results, "interop-go.xml"), `<testsuite>${cases.join("\n")}</testsuite>\n`);
  return status === 0;
}

function run(command: string, args: string[], cwd: string, more: Record<string, string> = {}): boolean {
  return spawnSync(command, args, { cwd, stdio: "inherit", env: { ...environment, ...more } }).status === 0;
}
