/**
 * The tests by clients that are not ours: `npm run test:interop`.
 *
 * Starts one server with scripted models and runs against it the Python SDK and
 * grpcio (pytest), a Go client (go test), and the tests that hold responses
 * against OpenAI's own schemas (vitest). Needs python3 and go; installs what
 * they need under `.cache/interop`. Writes JUnit XML into LOQUI_TEST_RESULTS
 * where that is set.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { usualScripts, writeScripts } from "../support/running-loqui.ts";
import { spawnLoqui } from "../support/spawned-loqui.ts";

const here = import.meta.dirname;
const root = resolve(here, "../..");
const cache = join(root, ".cache/interop");
const results = process.env.LOQUI_TEST_RESULTS ?? join(root, ".cache/test-results");
mkdirSync(cache, { recursive: true });
mkdirSync(results, { recursive: true });

const scratch = mkdtempSync(join(tmpdir(), "loqui-interop-"));
const server = await spawnLoqui(["--models", writeScripts(scratch, usualScripts).join(",")]);
const environment = {
  ...process.env,
  LOQUI_TEST_URL: server.url,
  LOQUI_TEST_RESULTS: results,
  LOQUI_TEST_OPENAI_SCHEMAS:
    process.env.LOQUI_TEST_OPENAI_SCHEMAS ?? resolve(root, "../shared/openai/openapi.subset.json"),
};
let failed = false;
try {
  failed = !runVitest() || failed;
  failed = !runPytest() || failed;
  failed = !runGo() || failed;
} finally {
  await server.stop();
  rmSync(scratch, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

function runVitest(): boolean {
  return run("npx", ["vitest", "run", "--config", "test/interop/vitest.config.ts"], root);
}

function runPytest(): boolean {
  const venv = join(cache, "venv");
  const requirements = join(here, "python/requirements.txt");
  const stamp = join(venv, "requirements.txt");
  const wanted = readFileSync(requirements, "utf8");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
    rmSync(venv, { recursive: true, force: true });
    execFileSync("python3", ["-m", "venv", venv], { stdio: "inherit" });
    execFileSync(join(venv, "bin/pip"), ["install", "--quiet", "--requirement", requirements], { stdio: "inherit" });
    writeFileSync(stamp, wanted);
  }
  const python = join(venv, "bin/python");
  const generated = join(cache, "python");
  rmSync(generated, { recursive: true, force: true });
  mkdirSync(generated, { recursive: true });
  const protos = ["loqui/v1", "loqui/rest/v1"].flatMap((folder) => protoFiles(`proto/${folder}`, "proto"));
  execFileSync(
    python,
    [
      ...["-m", "grpc_tools.protoc", "-Iproto", "-Iproto/third_party"],
      ...[`--python_out=${generated}`, `--pyi_out=${generated}`, `--grpc_python_out=${generated}`],
      ...protos,
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
