/** deploy/grafana/loqui.json: what Grafana would say only when somebody looks at it. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parser } from "@prometheus-io/lezer-promql";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { documentedMetrics } from "./documented-metrics.ts";

const datasource = z.strictObject({ type: z.literal("prometheus"), uid: z.literal("$\u007bdatasource}") });
/** Grafana's grid is 24 columns wide. */
const gridPos = z
  .strictObject({ x: z.int().min(0), y: z.int().min(0), w: z.int().min(1), h: z.int().min(1) })
  .refine(({ x, w }) => x + w <= 24, "beyond the grid");
const target = z.strictObject({
  refId: z.string().regex(/^[A-Z]$/),
  datasource,
  expr: z.string().min(1),
  legendFormat: z.string().min(1),
});
const row = z.strictObject({
  id: z.int(),
  type: z.literal("row"),
  title: z.string().min(1),
  collapsed: z.literal(false),
  gridPos,
  panels: z.tuple([]),
});
const panel = z.strictObject({
  id: z.int(),
  type: z.literal("timeseries"),
  title: z.string().min(1),
  datasource,
  gridPos,
  fieldConfig: z.strictObject({
    defaults: z.strictObject({
      // Of @grafana/data's valueFormats, those that are used.
      unit: z.enum(["reqps", "percentunit", "s", "bytes", "short"]),
      min: z.number(),
      max: z.number().optional(),
      custom: z.strictObject({
        fillOpacity: z.number().min(0).max(100).optional(),
        stacking: z.strictObject({ mode: z.enum(["none", "normal", "percent"]) }).optional(),
      }),
    }),
    overrides: z.tuple([]),
  }),
  options: z.strictObject({
    legend: z.strictObject({
      displayMode: z.enum(["list", "table", "hidden"]),
      placement: z.enum(["bottom", "right"]),
    }),
    tooltip: z.strictObject({ mode: z.enum(["single", "multi", "none"]) }),
  }),
  targets: z.array(target).min(1),
});
/** The classic model, as Grafana from 10 on imports it; later versions migrate it. */
const dashboard = z.strictObject({
  title: z.literal("loqui"),
  uid: z.string().regex(/^[a-zA-Z0-9_-]{1,40}$/),
  tags: z.array(z.string()),
  schemaVersion: z.int().min(36).max(42),
  version: z.int(),
  editable: z.boolean(),
  timezone: z.enum(["browser", "utc", ""]),
  refresh: z.string().regex(/^\d+[smhd]$/),
  time: z.strictObject({ from: z.string().regex(/^now-\d+[smhd]$/), to: z.literal("now") }),
  templating: z.strictObject({ list: z.array(z.looseObject({ name: z.string(), type: z.string() })) }),
  panels: z.array(z.discriminatedUnion("type", [row, panel])),
});

type SyntaxNode = ReturnType<typeof parser.parse>["topNode"];

const path = resolve(import.meta.dirname, "../../deploy/grafana/loqui.json");
const parsed = dashboard.parse(JSON.parse(readFileSync(path, "utf8")));
const panels = parsed.panels.filter((candidate) => candidate.type === "timeseries");
const queries = panels.flatMap(({ title, targets }) => targets.map((query) => ({ title, ...query })));
const metrics = documentedMetrics();
/** What Prometheus itself adds to a sample. */
const scraped = ["instance", "job"];

/** The labels that a metric's samples have; undefined where there is no such metric. */
function labelsOf(name: string): readonly string[] | undefined {
  const own = metrics.get(name);
  if (own !== undefined && own.type !== "histogram") return own.labels;
  const histogram = metrics.get(name.replace(/_(bucket|sum|count)$/, ""));
  if (histogram?.type !== "histogram" || own !== undefined) return undefined;
  return name.endsWith("_bucket") ? [...histogram.labels, "le"] : histogram.labels;
}

/** Grafana's own variables replaced by what they may stand for. */
function withoutVariables(expression: string): string {
  return expression.replaceAll("$__rate_interval", "5m").replaceAll("$model", "hello");
}

function nodesOf(expression: string, ...types: readonly string[]): { node: SyntaxNode; text: string }[] {
  const nodes: { node: SyntaxNode; text: string }[] = [];
  parser.parse(expression).iterate({
    enter: ({ node }) => {
      if (types.includes(node.name)) nodes.push({ node, text: expression.slice(node.from, node.to) });
    },
  });
  return nodes;
}

/** What is wrong with an expression: syntax, metrics and labels that don't exist, variables that nobody sets. */
function faultsOf(source: string): string[] {
  const expression = withoutVariables(source);
  const faults: string[] = [];
  if (expression.includes("$")) faults.push("an unknown variable");
  if (nodesOf(expression, "⚠").length > 0) faults.push("no PromQL");
  const known = new Set(scraped);
  for (const { node, text } of nodesOf(expression, "VectorSelector")) {
    const name = node.getChild("Identifier");
    const metric = name === null ? text : expression.slice(name.from, name.to);
    const labels = labelsOf(metric);
    if (labels === undefined) faults.push(`no metric ${metric}`);
    for (const label of labels ?? []) known.add(label);
    if (metrics.get(metric)?.type === "counter" && node.parent?.name !== "MatrixSelector") {
      faults.push(`${metric} is a counter and has no rate`);
    }
  }
  for (const { text } of nodesOf(expression, "LabelName")) if (!known.has(text)) faults.push(`no label ${text}`);
  return faults;
}

describe("deploy/grafana/loqui.json", () => {
  it("has panels with ids of their own, none on top of another", () => {
    const ids = parsed.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const taken = new Set<string>();
    for (const { title, gridPos: at } of parsed.panels) {
      for (let x = at.x; x < at.x + at.w; x++) {
        for (let y = at.y; y < at.y + at.h; y++) {
          expect(taken.has(`${x} ${y}`), title).toBe(false);
          taken.add(`${x} ${y}`);
        }
      }
    }
  });

  it("has the variables that its queries use", () => {
    expect(parsed.templating.list.map(({ name, type }) => [name, type])).toEqual([
      ["datasource", "datasource"],
      ["model", "query"],
    ]);
    expect(parsed.templating.list[1]).toMatchObject({ definition: "label_values(loqui_model_state, model)" });
    expect(labelsOf("loqui_model_state")).toContain("model");
  });

  it.each(queries)("$title, $refId: $expr", ({ expr, legendFormat }) => {
    expect(faultsOf(expr)).toEqual([]);
    // A legend can name what is left of the labels: those of the last grouping, or all.
    const [grouping] = nodesOf(withoutVariables(expr), "GroupingLabels");
    const left =
      grouping?.text.match(/\w+/g) ??
      nodesOf(withoutVariables(expr), "VectorSelector").flatMap(({ text }) => [
        ...(labelsOf(text.replace(/\{.*/s, "")) ?? []),
        ...scraped,
      ]);
    for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(left).toContain(label);
  });

  it.each(panels)("$title: each query has a letter of its own", ({ targets }) => {
    expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
  });

  it("shows most of the metrics", () => {
    const asked = new Set(
      queries.flatMap(({ expr }) =>
        nodesOf(withoutVariables(expr), "VectorSelector").map(({ text }) =>
          text.replace(/\{.*/s, "").replace(/_bucket$/, ""),
        ),
      ),
    );
    expect([...metrics.keys()].filter((name) => !asked.has(name))).toEqual([
      "loqui_build_info",
      "nodejs_heap_size_total_bytes",
    ]);
  });
});

it.each([
  ["sum by (x (rate(loqui_retries_total[5m]))", "no PromQL"],
  ["summ(loqui_queue_tokens)", "no PromQL"],
  ["rate(loqui_retry_total[$__rate_interval])", "no metric loqui_retry_total"],
  ["loqui_time_to_first_token_seconds", "no metric loqui_time_to_first_token_seconds"],
  ['loqui_queue_tokens{modell="a"}', "no label modell"],
  ["sum by (method) (loqui_queue_tokens)", "no label method"],
  ["sum(loqui_retries_total)", "loqui_retries_total is a counter and has no rate"],
  ["loqui_queue_tokens > $limit", "an unknown variable"],
])("%s: %s", (expression, fault) => {
  expect(faultsOf(expression)).toContain(fault);
});
