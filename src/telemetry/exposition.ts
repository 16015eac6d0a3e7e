/** A page of metrics. */
export interface Exposition {
  readonly contentType: string;
  readonly body: string;
}

export const prometheusType = "text/plain; version=0.0.4; charset=utf-8";
export const openMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/** Whether an `accept` header asks for OpenMetrics: names it, with no lower weight than text/plain. */
export function asksForOpenMetrics(accept: string | undefined): boolean {
  let openMetrics = 0;
  let plain = 0;
  for (const range of (accept ?? "").slice(0, 1_000).toLowerCase().split(",")) {
    const [type, ...parameters] = range.split(";").map((part) => part.trim());
    const weight = Number(parameters.find((part) => part.startsWith("q="))?.slice(2) ?? 1) || 0;
    if (type === "application/openmetrics-text") openMetrics = Math.max(openMetrics, weight);
    if (type === "text/plain") plain = Math.max(plain, weight);
  }
  return openMetrics > 0 && openMetrics >= plain;
}

/**
 * Prometheus' text as OpenMetrics: a counter is declared without its `_total`,
 * there are no empty lines, and the end is marked. prom-client's own OpenMetrics
 * renames its counters for good, so that later pages in Prometheus' format lack
 * the `_total`.
 */
export function toOpenMetrics(text: string): string {
  const counters = new Set([...text.matchAll(/^# TYPE (\S+)_total counter$/gm)].map(([, name]) => `${name}_total`));
  const lines = text.split("\n").flatMap((line) => {
    if (line === "") return [];
    const declared = /^(# (?:HELP|TYPE)) (\S+) (.*)$/.exec(line);
    const [, keyword, name = "", rest] = declared ?? [];
    return counters.has(name) ? [`${keyword} ${name.slice(0, -"_total".length)} ${rest}`] : [line];
  });
  return `${lines.join("\n")}\n# EOF\n`;
}
