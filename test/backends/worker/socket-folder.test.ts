import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openSocketFolder, sweepSocketFolders } from "../../../src/backends/worker/socket-folder.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "loqui-test-"));
  vi.stubEnv("TMPDIR", root);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true });
});

/** A process that opens a folder, with a worker's socket in it, and is killed. */
async function leaveFolder(): Promise<string> {
  const module = fileURLToPath(new URL("../../../src/backends/worker/socket-folder.ts", import.meta.url));
  const script = `
    import { createServer } from "node:net";
    import { openSocketFolder } from ${JSON.stringify(module)};
    const { path } = await openSocketFolder();
    createServer().listen(path + "/1.sock", () => console.log(path));`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [path] = (await once(child.stdout, "data")) as [Buffer];
  child.kill("SIGKILL");
  await once(child, "exit");
  return path.toString().trim();
}

test("what a killed process left is removed; what is in use, or isn't ours, is not", async () => {
  const left = await leaveFolder();
  expect(dirname(left)).toBe(root);
  expect(readdirSync(left).sort()).toEqual(["1.sock", "owner.sock"]);
  const used = await openSocketFolder();
  const stranger = join(root, "loqui-workers-stranger");
  mkdirSync(stranger);
  writeFileSync(join(stranger, "notes.sock"), "");
  const link = join(root, "loqui-workers-link");
  symlinkSync(left, link);
  await sweepSocketFolders();
  expect(readdirSync(root).sort()).toEqual([basename(used.path), basename(link), basename(stranger)].sort());
  expect(readdirSync(stranger)).toEqual(["notes.sock"]);
  await used.remove();
  expect(readdirSync(root)).not.toContain(basename(used.path));
});

test("of a folder that holds more than sockets the rest stays", async () => {
  const left = await leaveFolder();
  writeFileSync(join(left, "notes"), "");
  await sweepSocketFolders();
  expect(readdirSync(left)).toEqual(["notes"]);
});

test("the owner answers nobody, but is there", async () => {
  const folder = await openSocketFolder();
  const taken = createServer();
  taken.listen(join(folder.path, "owner.sock"));
  expect((await once(taken, "error"))[0]).toMatchObject({ code: "EADDRINUSE" });
  await folder.remove();
});
