import { cpSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";

/** What test/engines/onnx/reference/make.py has made. */
export const onnxFixtures = resolve(import.meta.dirname, "../engines/onnx/fixtures");

/**
 * Makes a checkpoint of a fixture's encoder and one of its layouts, as the hub's
 * cache has it: a folder of links to the files. Returns the folder.
 */
export function linkCheckpoint(folder: string, encoder: string, layout: string): string {
  mkdirSync(folder, { recursive: true });
  const files = join(onnxFixtures, encoder);
  for (const file of readdirSync(files)) {
    if (file !== "layouts") symlinkSync(join(files, file), join(folder, file));
  }
  cpSync(join(files, "layouts", layout), folder, { recursive: true });
  return folder;
}

/** What test/engines/onnx/reference/pairs.py has made. */
export const rerankerFixtures = join(onnxFixtures, "rerankers");

/** Makes a checkpoint of a reranker's fixture, as {@link linkCheckpoint} does. */
export function linkReranker(folder: string, name: string): string {
  mkdirSync(folder, { recursive: true });
  const files = join(rerankerFixtures, name);
  for (const file of readdirSync(files)) symlinkSync(join(files, file), join(folder, file));
  return folder;
}
