/** docs/llama-server-tests.md names tests that there are, and each of llama-server's. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
/** Their tests, in the sources that `npm run build:llama` unpacks. */
const theirs = join(root, "llama/work/llama.cpp/tools/server/tests/unit");

interface Row {
  readonly file: string;
  readonly there: readonly string[];
  readonly here: string;
}

const rows: Row[] = [];
let file = "";
for (const line of readFileSync(join(root, "docs/llama-server-tests.md"), "utf8").split("\n")) {
  file = /^## (\S+)$/.exec(line)?.[1] ?? file;
  const [, there = "", here = ""] = /^\| (.*?) \| (.*) \|$/.exec(line) ?? [];
  if (there !== "" && there !== "there" && there !== "---") rows.push({ file, there: there.split(", "), here });
}

/** The tests that a row names: `path`: *name*; *name* */
function ours(here: string): [path: string, name: string][] {
  return [...here.matchAll(/`(test\/[^`]+)`: (\*[^*]+\*(?:; \*[^*]+\*)*)/g)].flatMap(([, path = "", names = ""]) =>
    [...names.matchAll(/\*([^*]+)\*/g)].map(([, name = ""]): [string, string] => [path, name]),
  );
}

it("the page is read", () => expect(rows.length).toBeGreaterThan(80));

it.each(rows)("$file $there: $here", ({ here }) => {
  const tests = ours(here);
  if (!/^none: \S/.test(here)) expect(tests).not.toEqual([]);
  // Every path is followed by names.
  expect(new Set(tests.map(([path]) => path)).size).toBe(new Set(here.match(/`test\/[^`]+`/g)).size);
  for (const [path, name] of tests) {
    expect(existsSync(join(root, path)), path).toBe(true);
    const quoted = ['"', "'", "`"].map((quote) => quote + name + quote);
    const source = readFileSync(join(root, path), "utf8");
    expect(
      quoted.some((text) => source.includes(text)),
      `${path}: ${name}`,
    ).toBe(true);
  }
});

describe.runIf(existsSync(theirs))("in llama.cpp's sources", () => {
  it.each(existsSync(theirs) ? readdirSync(theirs).filter((name) => /^test_.*\.py$/.test(name)) : [])("%s", (name) => {
    const source = readFileSync(join(theirs, name), "utf8");
    const there = [...source.matchAll(/^def (test_\w+)/gm)].map(([, test]) => test);
    const here = rows.filter((row) => row.file === name).flatMap((row) => row.there);
    expect(here.sort()).toEqual(here.includes("all") ? ["all"] : there.sort());
  });
});
