/**
 * Adds up the test results in a folder (JUnit XML of vitest, pytest and go) and
 * prints `N passed, N failed` as the last line. Exits with 1 where a test
 * failed, a file is unreadable or nothing ran.
 *
 *   node tools/count-tests.ts FOLDER
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const folder = process.argv[2];
if (folder === undefined) throw new Error("usage: count-tests.ts FOLDER");

let passed = 0;
let failed = 0;
for (const name of readdirSync(folder).sort()) {
  if (!name.endsWith(".xml")) continue;
  const xml = readFileSync(join(folder, name), "utf8");
  const cases = [...xml.matchAll(/<testcase\b[^>]*?(\/>|>([\s\S]*?)<\/testcase>)/g)];
  const bad = cases.filter(([, , body]) => /<(failure|error)\b/.test(body ?? "")).length;
  const skipped = cases.filter(([, , body]) => /<skipped\b/.test(body ?? "")).length;
  if (cases.length === 0) throw new Error(`${name}: holds no test case`);
  console.log(`${name}: ${cases.length - bad - skipped} passed, ${bad} failed, ${skipped} skipped`);
  passed += cases.length - bad - skipped;
  failed += bad;
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
