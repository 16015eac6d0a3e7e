import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** A row of docs/metrics.md. */
export interface DocumentedMetric {
  readonly type: string;
  readonly labels: readonly string[];
}

/** The metrics that docs/metrics.md lists, by their names. */
export function documentedMetrics(): Map<string, DocumentedMetric> {
  const text = readFileSync(resolve(import.meta.dirname, "../../docs/metrics.md"), "utf8");
  return new Map(
    [...text.matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]*)\|/gm)].map(([, name = "", type = "", labels = ""]) => [
      name,
      { type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = ""]) => label) },
    ]),
  );
}
