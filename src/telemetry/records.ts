import type { LoquiError } from "../errors.ts";
import type { RequestRecord } from "../request-context.ts";

/**
 * Takes the record of each finished call; `error` is set where it failed. Logs
 * and metrics are such sinks. Called on the way of the response: it must not block.
 */
export type RecordSink = (record: RequestRecord, error: LoquiError | undefined) => void;
