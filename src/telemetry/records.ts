import type { LoquiError } from "../errors.ts";
import type { RequestRecord } from "../request-context.ts";

/**
 * Takes the record of each finished call; `error` is set where it failed. Logs
 * and metrics are such sinks. Called on the way of the response: it must not block.
 */
export type RecordSink = (record: RequestRecord, error: LoquiError | undefined) => void;

/**
 * One sink that feeds several. One that throws hinders neither the others nor
 * the response; what it threw goes to `onError`.
 */
export function fanOut(sinks: readonly RecordSink[], onError: (error: unknown) => void): RecordSink {
  return (record, error) => {
    for (const sink of sinks) {
      try {
        sink(record, error);
      } catch (failure) {
        onError(failure);
      }
    }
  };
}
