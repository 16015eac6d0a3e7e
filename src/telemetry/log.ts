import { type DestinationStream, destination, type Logger, pino } from "pino";
import { errorTrace } from "../error-trace.ts";
import type { LoquiError } from "../errors.ts";
import { knownPath } from "./field-names.ts";
import type { RecordSink } from "./records.ts";
import { createRefusalLog } from "./refusal-log.ts";

export type { Logger };

export interface LogOptions {
  /** `fatal` … `trace`, or `silent`. */
  readonly level: string;
  /** Writes messages of errors too, which may quote a request. Default: never. */
  readonly content?: boolean;
  /** Where the lines go; standard error by default, so that standard output belongs to the command. */
  readonly stream?: DestinationStream;
}

/**
 * A log of JSON lines: `{"level":"info","time":…,"msg":…,…}`. Of an error as
 * `err` it holds the name and where it was thrown.
 */
export function createLog({ level, content = false, stream }: LogOptions): Logger {
  const options = {
    level,
    base: null,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: {
      // What a client asked for, which may be as long as a header.
      path: (path: string) => path.slice(0, 200),
      err: (error: unknown) => ({
        ...errorTrace(error),
        ...(content && error instanceof Error && { message: error.message }),
      }),
    },
  };
  // Written in the background: a terminal or a pipe that is slow must not hold up the answers.
  return pino(options, stream ?? destination({ fd: process.stderr.fd, sync: false }));
}

/** Services that machines ask all day; their calls are logged at `debug`. */
const ambient = /^grpc\.(health|reflection)\./;

/**
 * Writes one line for each finished call: the record, and what went wrong. The
 * line holds no text of the request or the answer but the name of the model, no
 * key and no path; `content` adds the messages of errors, which may quote a
 * request, at level `debug`. Of failures that come in a flood there are fewer
 * lines ({@link createRefusalLog}), but for faults of ours.
 */
export function logRecords(log: Logger, content = false, refusals = createRefusalLog(log)): RecordSink {
  return (record, error) => {
    const level = levelOf(record.method, error);
    if (!log.isLevelEnabled(level)) return;
    const verbose = content && log.isLevelEnabled("debug");
    const fields = { ...record, ...(error !== undefined && { error: describe(error, verbose) }) };
    if (error === undefined || level === "error") log[level](fields, "call finished");
    else refusals(level, error.kind, fields, "call finished");
  };
}

/** What the log may say of the error that a request was refused with. */
export function refusalFields({ kind, param }: LoquiError): Record<string, unknown> {
  return { kind, ...(param !== undefined && { param: knownPath(param) }) };
}

/** Ours are errors, want of capacity is a warning; what clients do is neither. */
function levelOf(method: string, error: LoquiError | undefined): "debug" | "info" | "warn" | "error" {
  switch (error?.kind) {
    case "internal":
    case "worker_crashed":
      return "error";
    case "overloaded":
    case "model_unavailable":
    case "timeout":
      return "warn";
    default:
      return ambient.test(method) ? "debug" : "info";
  }
}

function describe(error: LoquiError, verbose: boolean): Record<string, unknown> {
  const cause = error.cause instanceof Error ? error.cause : undefined;
  const trace = error.kind === "internal" ? errorTrace(error.cause ?? error) : undefined;
  return {
    kind: error.kind,
    ...(error.code !== null && { code: error.code }),
    ...(error.param !== undefined && { param: knownPath(error.param) }),
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
    ...(trace !== undefined && { cause: trace.name, at: trace.at }),
    ...(verbose && { message: error.message, ...(cause !== undefined && { causeMessage: cause.message }) }),
  };
}
