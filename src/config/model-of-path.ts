import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { LoquiError } from "../errors.ts";
import { readGgufHeader } from "../gguf/gguf-header.ts";
import { type GgufTask, taskOfGguf } from "../gguf/gguf-task.ts";
import { ConfigError, describeIssue } from "./config-error.ts";
import { type ModelConfig, modelSchema } from "./models-file.ts";

/** Whether a name of `MODELS` is a path: of a `.gguf` file, or of a folder, which has a slash, is `.`, or is there. */
export function isModelPath(name: string): boolean {
  return /\.gguf$/i.test(name) || /^\.{0,2}\//.test(name) || (existsSync(name) && statSync(name).isDirectory());
}

/**
 * A model made of nothing but a path. A `.gguf` file is named after the file, and
 * what it is for its header tells. A folder is a checkpoint as Hugging Face's hub
 * has it, named after the folder, or after its repository where it lies in the
 * hub's cache; a classifier of pairs scores them, any other model embeds texts.
 * Throws a ConfigError that names the path.
 */
export function modelOfPath(path: string): ModelConfig {
  const absolute = resolve(path);
  const stat = statSync(absolute, { throwIfNoEntry: false });
  if (stat === undefined) throw new ConfigError(`MODELS: ${path}: no such file`);
  const found = stat.isDirectory() ? checkpoint(path, absolute) : ggufFile(path, absolute);
  const result = modelSchema.safeParse({ ...found, source: { path: absolute }, preload: true });
  if (!result.success) throw new ConfigError(`MODELS: ${path}: ${describeIssue(result.error)}`);
  return result.data;
}

const capabilities: Readonly<Record<GgufTask, string>> = {
  chat: "chat-completion",
  embedding: "text-embedding",
  rerank: "rerank",
};

function ggufFile(path: string, file: string) {
  try {
    // One that is cut short fails when it is loaded, and keeps no other model from answering.
    const type = taskOfGguf(readGgufHeader(file, { cutShort: true }));
    const id = basename(file).replace(/\.gguf$/i, "");
    return { id, type, capabilities: [capabilities[type]], engine: "llama.cpp" };
  } catch (error) {
    if (error instanceof LoquiError) throw new ConfigError(`MODELS: ${path}: ${error.message}`);
    throw error;
  }
}

/** Bytes of a `config.json` that are read: the largest, of models with thousands of labels, have some 100 kB. */
const maxConfigBytes = 4 * 1024 * 1024;

function checkpoint(path: string, folder: string) {
  const id = repositoryOf(folder) ?? basename(folder);
  const engine = "onnxruntime";
  const embeds = { id, engine, type: "embedding", capabilities: ["text-embedding"] };
  // What sentence-transformers has made embeds, whatever its encoder was before; a CrossEncoder says what it is.
  const kind = sentenceKind(path, folder);
  if (kind === "SentenceTransformer") return embeds;
  const classifies = architecturesOf(path, folder).some((name) => name.endsWith("ForSequenceClassification"));
  if (classifies || kind === "CrossEncoder") return { ...embeds, type: "rerank", capabilities: ["rerank"] };
  return embeds;
}

/** The class of sentence-transformers that reads the folder; undefined where nothing says so. */
function sentenceKind(path: string, folder: string): string | undefined {
  const config = readObject(path, join(folder, "config_sentence_transformers.json"));
  if (typeof config?.model_type === "string") return config.model_type;
  return existsSync(join(folder, "modules.json")) ? "SentenceTransformer" : undefined;
}

function architecturesOf(path: string, folder: string): string[] {
  const config = readObject(path, join(folder, "config.json"));
  if (config === undefined) throw new ConfigError(`MODELS: ${path}: the folder has no config.json`);
  const { architectures } = config;
  return Array.isArray(architectures) ? architectures.filter((name) => typeof name === "string") : [];
}

function readObject(path: string, file: string): Record<string, unknown> | undefined {
  const name = basename(file);
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (stat.size > maxConfigBytes) throw new ConfigError(`MODELS: ${path}: ${name} has ${stat.size} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new ConfigError(`MODELS: ${path}: ${name} can't be read: ${(error as Error).message}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ConfigError(`MODELS: ${path}: ${name} is not an object`);
}

/** `BAAI/bge-m3` of `…/models--BAAI--bge-m3/snapshots/…`, as huggingface_hub lays out its cache. */
function repositoryOf(folder: string): string | undefined {
  return /\/models--([^/]+)\/snapshots\/[^/]+$/.exec(folder)?.[1]?.split("--").join("/");
}
