import { basename, relative } from "node:path";
import { type DestinationStream, destination, type Logger, pino } from "pino";
import { packageRoot } from "../config/package-root.ts";
import type { LoquiError } from "../errors.ts";
import type { RecordSink } from "./records.ts";

export type { Logger };

export interface LogOptions {
  /** `fatal` … `trace`, or `silent`. */
  readonly level: string;
  /** Where the lines go; standard error by default, so that standard output belongs to the command. */
  readonly stream?: DestinationStream;
}

/** A log of JSON lines: `{"level":"info","time":…,"msg":…,…}`. */
export function createLog({ level, stream }: LogOptions): Logger {
  const options = {
    level,
    base: null,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  // Written in the background: a terminal or a pipe that is slow must not hold up the answers.
  return pino(options, stream ?? destination({ fd: process.stderr.fd, sync: false }));
}

/** Services that machines ask all day; their calls are logged at `debug`. */
const ambient = /^grpc\.(health|reflection)\./;

/**
 * Writes one line for each finished call: the record, and what went wrong. The
 * line holds no text of the request or the answer, no key and no path; the
 * messages of errors, which may quote a request, are written at level `debug`.
 */
export function logRecords(log: Logger): RecordSink {
  return (record, error) => {
    const level = levelOf(record.method, error);
    if (!log.isLevelEnabled(level)) return;
    log[level](
      { ...record, ...(error !== undefined && { error: describe(error, log.isLevelEnabled("debug")) }) },
      "call finished",
    );
  };
}

function levelOf(method: string, error: LoquiError | undefined): "debug" | "info" | "error" {
  if (error?.kind === "internal") return "error";
  return ambient.test(method) ? "debug" : "info";
}

function describe(error: LoquiError, verbose: boolean): Record<string, unknown> {
  const cause = error.cause instanceof Error ? error.cause : undefined;
  return {
    kind: error.kind,
    ...(error.code !== null && { code: error.code }),
    ...(error.param !== undefined && { param: error.param }),
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
    ...(error.kind === "internal" && { cause: cause?.name ?? typeof error.cause, at: framesOf(cause ?? error) }),
    ...(verbose && { message: error.message, ...(cause !== undefined && { causeMessage: cause.message }) }),
  };
}

/** Where an error was thrown: paths within the program, and no message. */
function framesOf(error: Error): string[] {
  const lines = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return lines.slice(0, 5).map((line) =>
    line.trim().replace(/(?:file:\/\/)?(\/[^():]+)/, (_, path: string) => {
      const inside = relative(packageRoot, path);
      return inside.startsWith("..") ? basename(path) : inside;
    }),
  );
}
