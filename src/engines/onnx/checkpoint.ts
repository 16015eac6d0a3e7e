import { readFile, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { LoquiError } from "../../errors.ts";

/** Bytes of one JSON file of a checkpoint: the largest tokenizers have some 40 MiB. */
const maxJsonBytes = 128 * 1024 * 1024;

/** Why a checkpoint can't be loaded; `what` names the file and the place, never a path of the machine. */
export function unusable(what: string, cause?: unknown): LoquiError {
  return new LoquiError("model_unavailable", `the model's files can't be used: ${what}`, { cause });
}

/** The files of a checkpoint, as Hugging Face's hub publishes it: a folder, whose files may be links into its cache. */
export interface Checkpoint {
  /** A JSON file of the folder, by its relative name. Throws `model_unavailable` where it isn't there, too large or not JSON. */
  json(name: string): Promise<unknown>;
  /** As {@link json}; undefined where the file isn't there. */
  jsonIfThere(name: string): Promise<unknown>;
  /** The real path of a file; undefined where it isn't there. */
  pathOf(name: string): Promise<string | undefined>;
}

/** Opens a folder; nothing of it is read yet. */
export function openCheckpoint(folder: string): Checkpoint {
  async function pathOf(name: string): Promise<string | undefined> {
    if (!isInside(name)) throw unusable(`the file name ${JSON.stringify(name.slice(0, 100))} leads out of the folder`);
    try {
      return await realpath(join(folder, name));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw unusable(`${name} can't be read`, error);
    }
  }

  async function jsonIfThere(name: string): Promise<unknown> {
    const path = await pathOf(name);
    if (path === undefined) return undefined;
    try {
      const { size } = await stat(path);
      if (size > maxJsonBytes) throw unusable(`${name} has ${size} bytes, the maximum is ${maxJsonBytes}`);
      return JSON.parse(await readFile(path, "utf8"));
    } catch (error) {
      if (error instanceof LoquiError) throw error;
      throw unusable(error instanceof SyntaxError ? `${name} is not JSON` : `${name} can't be read`, error);
    }
  }

  return {
    pathOf,
    jsonIfThere,
    async json(name) {
      const value = await jsonIfThere(name);
      if (value === undefined) throw unusable(`${name} is missing`);
      return value;
    },
  };
}

/** The path of a file in a folder of the checkpoint; `""` is the checkpoint itself. */
export function inFolder(folder: string, name: string): string {
  return folder === "" ? name : `${folder}/${name}`;
}

/** Names come from the checkpoint itself: `modules.json` and the index of shards. */
function isInside(name: string): boolean {
  return /^[\w.-]+(\/[\w.-]+)*$/.test(name) && !name.split("/").includes("..");
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

/** The members of a JSON object, read with their bounds. What is null counts as absent. All throw `model_unavailable`. */
export interface Fields {
  /** A whole number; without a fallback it is required. */
  whole(name: string, least: number, most: number, fallback?: number): number;
  number(name: string, least: number, most: number, fallback?: number): number;
  text(name: string, fallback?: string): string;
  flag(name: string, fallback: boolean): boolean;
  /** Those of all members, null ones too. */
  names(): string[];
  /** The value as it is, undefined for null. */
  raw(name: string): unknown;
}

/** The members of what should be an object. `file` is named in errors. */
export function fieldsOf(file: string, value: unknown): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw unusable(`${file} is not an object`);
  const members = value as Readonly<Record<string, unknown>>;
  const raw = (name: string) => (Object.hasOwn(members, name) ? (members[name] ?? undefined) : undefined);

  function read<T>(name: string, fallback: T | undefined, what: string, fits: (value: unknown) => value is T): T {
    const found = raw(name) ?? fallback;
    if (found === undefined) throw unusable(`${file} has no ${name}`);
    if (fits(found)) return found;
    throw unusable(`${file}: ${name} is not ${what}`);
  }

  return {
    names: () => Object.keys(members),
    raw,
    whole: (name, least, most, fallback) =>
      read(
        name,
        fallback,
        `a whole number from ${least} to ${most}`,
        (found): found is number => Number.isInteger(found) && isWithin(found as number, least, most),
      ),
    number: (name, least, most, fallback) =>
      read(
        name,
        fallback,
        `a number from ${least} to ${most}`,
        (found): found is number => typeof found === "number" && isWithin(found, least, most),
      ),
    text: (name, fallback) =>
      read(name, fallback, "a text", (found): found is string => typeof found === "string" && found.length <= 65_536),
    flag: (name, fallback) =>
      read(name, fallback, "true or false", (found): found is boolean => typeof found === "boolean"),
  };
}

function isWithin(value: number, least: number, most: number): boolean {
  return value >= least && value <= most;
}
