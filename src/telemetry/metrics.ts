import { Registry } from "prom-client";
import { createCallMetrics } from "./call-metrics.ts";
import { asksForOpenMetrics, type Exposition, openMetricsType, prometheusType, toOpenMetrics } from "./exposition.ts";
import { createProcessMetrics } from "./process-metrics.ts";
import type { RecordSink } from "./records.ts";
import type { RejectSink } from "./rejections.ts";
import { createStateMetrics, type ModelStatus, type StateSource } from "./state-metrics.ts";

/** What a server measures of itself: what `/metrics` shows. docs/metrics.md lists all of it. */
export interface Metrics extends Disposable {
  /** Counts a finished call: a few microseconds, whatever its length. */
  readonly onRecord: RecordSink;
  /** Counts what was turned away before it became a call. */
  readonly onRejected: RejectSink;
  /** All metrics as they stand, as Prometheus' text, or as OpenMetrics where `accept` asks for it. */
  page(accept: string | undefined): Promise<Exposition>;
}

/** Metrics of one server; a process may have several. */
export function createMetrics(source: StateSource, version: string): Metrics {
  const registry = new Registry();
  const calls = createCallMetrics(registry);
  // Looked at once a page, however many metrics read it.
  let models: readonly ModelStatus[] = [];
  createStateMetrics(registry, { models: () => models, server: source.server });
  const stop = createProcessMetrics(registry, version);
  return {
    ...calls,
    async page(accept) {
      models = source.models();
      const text = await registry.metrics();
      if (!asksForOpenMetrics(accept)) return { contentType: prometheusType, body: text };
      return { contentType: openMetricsType, body: toOpenMetrics(text) };
    },
    [Symbol.dispose]: stop,
  };
}
