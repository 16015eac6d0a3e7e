import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** The folder (or file) under `src` that a path belongs to, `gen`, or the package's name. */
function partOf(path: string): string {
  const [top, part] = relative(root, path).split("/");
  return top === "src" ? (part ?? "") : (top ?? "");
}

interface Import {
  readonly file: string;
  readonly target: string;
}

/** Every import of the sources: of one part from another, or of a package. */
const imports: Import[] = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .flatMap((name) => {
    const path = join(root, "src", name);
    const source = readFileSync(path, "utf8");
    return [...source.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, specifier = ""]) => ({
      file: `src/${name}`,
      target: specifier.startsWith(".") ? partOf(resolve(dirname(path), specifier)) : specifier,
    }));
  });

function breaches(within: string, forbidden: RegExp): string[] {
  return imports
    .filter(({ file, target }) => file.startsWith(within) && forbidden.test(target))
    .map(({ file, target }) => `${file} imports ${target}`);
}

describe("dependencies run one way", () => {
  it.each([
    // gen ← codec ← rest ← server
    ["src/codec/", /^(rest|server|services|gateway|backends|worker|engines|config|telemetry|cli|loqui\.ts)$/],
    ["src/rest/", /^(gateway|backends|worker|engines|config|telemetry|cli|loqui\.ts)$/],
    ["src/services/", /^(rest|server|backends|worker|engines|telemetry|cli|loqui\.ts)$/],
    ["src/gateway/", /^(rest|server|services|worker|engines|telemetry|cli|loqui\.ts)$/],
    ["src/server/", /^(gateway|backends|worker|engines|config|cli|loqui\.ts)$/],
    [
      "src/access/",
      /^(gen|codec|rest|server|services|gateway|backends|worker|engines|config|telemetry|cli|loqui\.ts)$/,
    ],
    // engines ← worker, and the worker knows nothing of the front
    ["src/worker/", /^(rest|server|services|gateway|backends|config|telemetry|cli|loqui\.ts)$/],
    ["src/gguf/", /^(gen|codec|rest|server|services|gateway|backends|worker|engines|config|telemetry|cli|loqui\.ts)$/],
    ["src/engines/", /^(gen|codec|rest|server|services|gateway|backends|worker|config|telemetry|cli|loqui\.ts)$/],
    ["src/config/", /^(gen|codec|rest|server|services|gateway|backends|worker|engines|telemetry|cli|loqui\.ts)$/],
  ])("%s keeps to it", (within, forbidden) => {
    expect(breaches(within, forbidden)).toEqual([]);
  });

  it("engines know nothing of Protobuf messages, Connect or HTTP", () => {
    expect(breaches("src/engines/", /^(@connectrpc\/|@bufbuild\/protobuf$|node:https?2?$)/)).toEqual([]);
  });

  it("only engines touch a native runtime", () => {
    const native = /^(node-llama-cpp|onnxruntime-node)/;
    const outside = imports.filter(({ file, target }) => native.test(target) && !file.startsWith("src/engines/"));
    expect(outside).toEqual([]);
  });

  it("zod stands in the configuration only", () => {
    expect(imports.filter(({ file, target }) => target === "zod" && !file.startsWith("src/config/"))).toEqual([]);
  });
});
