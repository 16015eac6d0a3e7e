import { basename, dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";

const programRoot = fileURLToPath(new URL("..", import.meta.url));

/** What a log may hold of any error: its name and where it was thrown. Its message may quote a request. */
export interface ErrorTrace {
  /** The error's name and Node's code, e.g. `Error ENOENT`; the type of a thrown value that is no error. */
  readonly name: string;
  /** Up to five frames: paths within the program, the file's name alone for others. */
  readonly at: readonly string[];
}

export function errorTrace(error: unknown): ErrorTrace {
  if (!(error instanceof Error)) return { name: typeof error, at: [] };
  const code = "code" in error && typeof error.code === "string" ? ` ${error.code}` : "";
  const lines = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  const at = lines.slice(0, 5).map((line) =>
    line.trim().replace(/(?:file:\/\/)?(\/[^():]+)/, (_, path: string) => {
      const inside = relative(programRoot, path);
      return inside.startsWith("..") ? basename(path) : inside;
    }),
  );
  return { name: `${error.name}${code}`, at };
}

/** The same in one line; `content` adds the message. */
export function traceLine(error: unknown, content: boolean): string {
  const { name, at } = errorTrace(error);
  const message = content && error instanceof Error ? `: ${error.message}` : "";
  return `${name}${message}${at.length === 0 ? "" : ` ${at.join(" ")}`}`;
}

/**
 * A text with its absolute paths cut down to the last name. A path with spaces
 * is not seen as one, but those of `files` are.
 */
export function withoutPaths(text: string, ...files: readonly string[]): string {
  const known = files.reduce((rest, file) => rest.replaceAll(`${dirname(file)}/`, "…/"), text);
  return known.replace(/(?<![\w/:.…])(?:file:\/\/)?\/(?:[^\s/:"'()]+\/)+([^\s/:"'()]*)/g, "…/$1");
}
