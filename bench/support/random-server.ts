import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelConfig } from "../../src/config/models-file.ts";
import { type ModelShape, writeRandomModel } from "../../test/support/gguf-random-model.ts";
import { type SpawnedLoqui, spawnLoqui } from "../../test/support/spawned-loqui.ts";

/** The id of the one model of {@link startRandomModel}. */
export const modelId = "m";

/**
 * Starts a server in a process of its own with one model of random weights,
 * which is being loaded when this resolves. The log holds errors only.
 */
export async function startRandomModel(
  shape: ModelShape,
  parameters: Partial<ModelConfig["parameters"]>,
  flags: readonly string[] = [],
): Promise<SpawnedLoqui & AsyncDisposable> {
  const folder = join(tmpdir(), "loqui-bench");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `server-${process.pid}.gguf`);
  writeRandomModel(path, shape);
  const config = join(folder, `server-${process.pid}.yaml`);
  const entry = { id: modelId, type: "chat", engine: "llama.cpp", source: { path }, preload: true, parameters };
  writeFileSync(config, JSON.stringify({ models: [entry] }));
  const server = await spawnLoqui(["--config", config, "--models", modelId, "--log-level", "error", ...flags]);
  async function stop(): Promise<void> {
    await server.stop();
    for (const file of [path, config]) rmSync(file, { force: true });
  }
  return { ...server, stop, [Symbol.asyncDispose]: stop };
}
