import { Counter, Histogram, type Registry } from "prom-client";
import type { RecordSink } from "./records.ts";
import type { RejectSink } from "./rejections.ts";

// OpenTelemetry's buckets for generative AI (semantic-conventions, gen-ai-metrics.md), in
// seconds; those of tokens go on below its 10 ms, where small models are.
const durationBuckets = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const firstTokenBuckets = [...[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]];
const perTokenBuckets = [
  ...[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
];

/** What is counted and measured of calls, once each, when they end. */
export interface CallMetrics {
  readonly onRecord: RecordSink;
  readonly onRejected: RejectSink;
}

/**
 * Registers the metrics of calls. Labels are bounded: protocols, methods of the
 * schema, kinds of errors, and ids of models that exist; a request for any other
 * model has the empty one.
 */
export function createCallMetrics(registry: Registry): CallMetrics {
  const registers = [registry];
  const requests = new Counter({
    name: "loqui_requests_total",
    help: "Calls that have ended, by how: ok or the kind of the error.",
    labelNames: ["protocol", "method", "model", "outcome"],
    registers,
  });
  const rejected = new Counter({
    name: "loqui_rejected_total",
    help: "Requests refused before they became calls, calls refused because the model was overloaded, and connections refused.",
    labelNames: ["protocol", "reason"],
    registers,
  });
  const retries = new Counter({
    name: "loqui_retries_total",
    help: "Attempts of calls that failed and were followed by another.",
    labelNames: ["model"],
    registers,
  });
  const duration = new Histogram({
    name: "loqui_request_duration_seconds",
    help: "Time from the arrival of a call to its end.",
    labelNames: ["method", "model"],
    buckets: durationBuckets,
    registers,
  });
  const queueTime = new Histogram({
    name: "loqui_queue_time_seconds",
    help: "Time that calls waited in the queue of a model before work on them began.",
    labelNames: ["model"],
    buckets: firstTokenBuckets,
    registers,
  });
  const firstToken = new Histogram({
    name: "loqui_time_to_first_token_seconds",
    help: "Time from the arrival of a call to the first token of its answer.",
    labelNames: ["model"],
    buckets: firstTokenBuckets,
    registers,
  });
  const perToken = new Histogram({
    name: "loqui_time_per_output_token_seconds",
    help: "Mean time between two tokens of an answer, the first one left out.",
    labelNames: ["model"],
    buckets: perTokenBuckets,
    registers,
  });

  return {
    onRecord(record) {
      const { protocol, method, outcome = "ok", completionTokens = 0, generationMs } = record;
      const model = record.modelId ?? "";
      requests.inc({ protocol, method, model, outcome });
      duration.observe({ method, model }, seconds(record.durationMs ?? 0));
      if (outcome === "overloaded") rejected.inc({ protocol, reason: outcome });
      if (record.retries !== undefined) retries.inc({ model }, record.retries);
      if (record.queueMs !== undefined) queueTime.observe({ model }, seconds(record.queueMs));
      if (record.firstTokenMs !== undefined) firstToken.observe({ model }, seconds(record.firstTokenMs));
      if (generationMs !== undefined && completionTokens > 1) {
        perToken.observe({ model }, seconds(generationMs / (completionTokens - 1)));
      }
    },
    onRejected: (reason, protocol) => rejected.inc({ protocol: protocol ?? "", reason }),
  };
}

function seconds(ms: number): number {
  return ms / 1000;
}
