/** Fails when a folder `gen/` is not what `buf generate` makes of its protos now. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const scratch = mkdtempSync(join(tmpdir(), "loqui-gen-"));
try {
  for (const [folder, template] of [
    ["gen", "buf.gen.yaml"],
    ["test/interop/gen", "test/interop/buf.gen.yaml"],
  ] as const) {
    execFileSync("buf", ["generate", "--template", template, "--output", scratch], { stdio: "inherit" });
    const stale = differences(folder, join(scratch, folder));
    if (stale.length > 0) {
      console.error(`${folder}/ is stale, run \`npm run generate\`: ${stale.join(", ")}`);
      process.exitCode = 1;
    }
  }
} finally {
  rmSync(scratch, { recursive: true });
}

/** Files that differ between two folders, or stand in one only. */
function differences(left: string, right: string): string[] {
  const files = (folder: string) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  const names = new Set([...files(left), ...files(right)]);
  const read = (path: string) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return undefined;
    }
  };
  return [...names].sort().filter((name) => read(join(left, name)) !== read(join(right, name)));
}
