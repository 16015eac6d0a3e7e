import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import type { ModelConfig } from "../../src/config/models-file.ts";
import { readSettings } from "../../src/config/settings.ts";
import { type Loqui, startLoqui } from "../../src/loqui.ts";
import { type Script, writeScriptedModel } from "./scripted-model.ts";

/** A whole server with scripted models, on a port of its own. */
export interface RunningLoqui extends AsyncDisposable {
  readonly loqui: Loqui;
  readonly url: string;
}

/**
 * Starts loqui as `npm start` does, in this process, with a model for each
 * script (named by its key), and waits until they are ready. The settings are
 * by their names in the environment, the models' parameters as in a models file.
 */
export async function startWithScripts(
  scripts: Readonly<Record<string, Script>>,
  settings: Readonly<Record<string, string>> = {},
  parameters: Readonly<Record<string, Partial<ModelConfig["parameters"]>>> = {},
): Promise<RunningLoqui> {
  const folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
  writeScripts(folder, scripts);
  writeModelsFile(folder, Object.keys(scripts), parameters);
  return startIn(folder, settings);
}

/** Starts loqui in this process with the models file of a folder, which goes with it, and waits until they are ready. */
export async function startIn(folder: string, settings: Readonly<Record<string, string>>): Promise<RunningLoqui> {
  const environment = { PORT: "0", LOQUI_LOG_LEVEL: "silent", LOQUI_DRAIN_SECONDS: "1" };
  const loqui = await startLoqui(readSettings({ ...environment, ...settings }, {}, folder));
  await loqui.settled;
  return {
    loqui,
    url: loqui.url,
    async [Symbol.asyncDispose]() {
      await loqui.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Writes a model for each script, named by its key, and returns their paths. */
export function writeScripts(folder: string, scripts: Readonly<Record<string, Script>>): string[] {
  return Object.entries(scripts).map(([name, script]) => {
    const path = join(folder, `${name}.gguf`);
    writeScriptedModel(path, script);
    return path;
  });
}

/** Writes a `models.yaml` for the models of {@link writeScripts}, all to be loaded at start. */
export function writeModelsFile(
  folder: string,
  names: readonly string[],
  parameters: Readonly<Record<string, Partial<ModelConfig["parameters"]>>> = {},
): string {
  const models = names.map((id) => ({
    id,
    type: "chat",
    capabilities: ["chat-completion"],
    engine: "llama.cpp",
    source: { path: `${id}.gguf` },
    preload: true,
    ...(parameters[id] !== undefined && { parameters: parameters[id] }),
  }));
  const path = join(folder, "models.yaml");
  writeFileSync(path, stringify({ models }));
  return path;
}

/** What `hello` answers, in its pieces: an emoji is split over two tokens. */
export const helloPieces = [
  ...["Hello", ", ", "this ", "is ", "a ", "scripted ", "reply "],
  ...[Uint8Array.of(0xf0, 0x9f), Uint8Array.of(0x91, 0x8b), "."],
];

/** The same as a text. */
export const helloReply = "Hello, this is a scripted reply 👋.";

/** `hello` says {@link helloReply}; `endless` never stops by itself; `small` has a context of 64 tokens. */
export const usualScripts = {
  hello: { reply: helloPieces },
  endless: { reply: ["on ", "and ", "off "], loop: true, contextLength: 8192 },
  small: { reply: helloPieces, contextLength: 64 },
} satisfies Record<string, Script>;
