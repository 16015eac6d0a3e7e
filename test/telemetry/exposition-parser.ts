/** One metric of a page: its declaration and its samples by their names and labels, as written. */
export interface Family {
  readonly help: string;
  readonly type: string;
  readonly samples: Map<string, number>;
}

/**
 * Parses a page of metrics and throws for whatever the format doesn't allow:
 * Prometheus' text format 0.0.4, or OpenMetrics 1.0 where `openMetrics` is set.
 * A metric is declared before its samples and once, its samples stand together,
 * no sample comes twice, names fit the type, histograms are cumulative.
 */
export function parseExposition(page: string, openMetrics: boolean): Map<string, Family> {
  const families = new Map<string, Family>();
  const helps = new Map<string, string>();
  const seen = new Set<string>();
  let current: { name: string; family: Family } | undefined;
  const body = openMetrics ? page.replace(/# EOF\n$/, "") : page;
  if (openMetrics && body === page) throw new Error("the page does not end with # EOF");
  if (!body.endsWith("\n")) throw new Error("the last line has no end");

  for (const line of body.slice(0, -1).split("\n")) {
    if (line === "" && !openMetrics) continue;
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (help !== null) {
      const [, name = "", text = ""] = help;
      if (helps.has(name)) throw new Error(`${name} is described twice`);
      helps.set(name, text);
      continue;
    }
    const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
    if (type !== null) {
      const [, name = "", kind = ""] = type;
      if (families.has(name)) throw new Error(`${name} is declared twice`);
      current = { name, family: { help: helps.get(name) ?? "", type: kind, samples: new Map() } };
      families.set(name, current.family);
      continue;
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*",?)*\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|\+Inf|-Inf)$/.exec(
        line,
      );
    if (sample === null) throw new Error(`not a line of the format: ${line}`);
    const [, name = "", labels = "", value = ""] = sample;
    if (current === undefined || !namesOf(current.name, current.family.type, openMetrics).includes(name)) {
      throw new Error(`${name} stands under ${current?.name}`);
    }
    if (seen.has(name + labels)) throw new Error(`${name}${labels} comes twice`);
    seen.add(name + labels);
    current.family.samples.set(name + labels, Number(value.replace("Inf", "Infinity")));
  }
  for (const [name, family] of families) {
    if (family.help === "") throw new Error(`${name} is not described`);
    if (family.type === "counter" && !openMetrics && !name.endsWith("_total")) throw new Error(`${name} lacks _total`);
    if (family.type === "histogram") checkHistogram(name, family);
  }
  return families;
}

function namesOf(name: string, type: string, openMetrics: boolean): string[] {
  if (type === "histogram") return [`${name}_bucket`, `${name}_sum`, `${name}_count`];
  return type === "counter" && openMetrics ? [`${name}_total`] : [name];
}

function checkHistogram(name: string, { samples }: Family): void {
  const last = new Map<string, { bound: number; count: number }>();
  for (const [key, count] of samples) {
    const bucket = /^(\w+)_bucket\{le="([^"]+)",?(.*)\}$/.exec(key);
    if (bucket === null) continue;
    const [, , le = "", rest = ""] = bucket;
    const bound = Number(le.replace("Inf", "Infinity"));
    const before = last.get(rest);
    if (before !== undefined && (before.bound >= bound || before.count > count))
      throw new Error(`${key} is not cumulative`);
    last.set(rest, { bound, count });
  }
  for (const [rest, { bound, count }] of last) {
    const total = samples.get(`${name}_count${rest === "" ? "" : `{${rest}}`}`);
    if (bound !== Number.POSITIVE_INFINITY || total !== count)
      throw new Error(`${name}{${rest}} does not end with +Inf`);
  }
}
