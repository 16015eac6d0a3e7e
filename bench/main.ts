/** Runs one benchmark by its name: `npm run bench -- codec`. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

const folder = import.meta.dirname;
const name = process.argv[2];
const file = join(folder, `${name}.ts`);
if (name === undefined || !/^[a-z-]+$/.test(name) || name === "main" || !existsSync(file)) {
  const names = readdirSync(folder).flatMap((entry) => /^([a-z-]+)\.ts$/.exec(entry)?.[1] ?? []);
  console.error(
    `usage: npm run bench -- NAME, where NAME is one of: ${names.filter((item) => item !== "main").join(", ")}`,
  );
  process.exitCode = 2;
} else {
  process.argv.splice(2, 1);
  await import(file);
}
