import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of loqui's package.json: where `models.yaml` and the embedded models lie. */
export const packageRoot = findRoot(dirname(fileURLToPath(import.meta.url)));

/** The version in that package.json. */
export const packageVersion = (
  JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string }
).version;

function findRoot(folder: string): string {
  if (existsSync(join(folder, "package.json"))) return folder;
  const parent = dirname(folder);
  if (parent === folder) throw new Error("loqui's package.json is not above its sources");
  return findRoot(parent);
}
