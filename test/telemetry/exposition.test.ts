import { expect, test } from "vitest";
import { asksForOpenMetrics, toOpenMetrics } from "../../src/telemetry/exposition.ts";
import { parseExposition } from "./exposition-parser.ts";

test.each([
  [undefined, false],
  ["", false],
  ["*/*", false],
  ["text/plain", false],
  ["application/openmetrics-text", true],
  ["application/openmetrics-text; version=1.0.0; charset=utf-8", true],
  ["Application/OpenMetrics-Text;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true],
  ["application/openmetrics-text;q=0.3, text/plain;q=0.5", false],
  ["application/openmetrics-text;q=0", false],
  ["application/openmetrics-text;q=x", false],
  [`${",".repeat(100_000)}application/openmetrics-text`, false],
])("accept: %s", (accept, openMetrics) => {
  expect(asksForOpenMetrics(accept)).toBe(openMetrics);
});

const text = `# HELP a_total things
# TYPE a_total counter
a_total{x="# TYPE a_total counter"} 3

# HELP b_total a gauge of this name stays
# TYPE b_total gauge
b_total 1
`;

test("counters are declared without _total, nothing else changes", () => {
  expect(toOpenMetrics(text)).toBe(`# HELP a things
# TYPE a counter
a_total{x="# TYPE a_total counter"} 3
# HELP b_total a gauge of this name stays
# TYPE b_total gauge
b_total 1
# EOF
`);
});

test.each([
  ["a sample without a declaration", "a 1\n"],
  ["a sample under another's", "# HELP a x\n# TYPE a gauge\nb 1\n"],
  ["a sample twice", "# HELP a x\n# TYPE a gauge\na 1\na 2\n"],
  ["a metric twice", "# HELP a x\n# TYPE a gauge\n# TYPE a gauge\n"],
  ["a counter without _total", "# HELP a x\n# TYPE a counter\na 1\n"],
  ["no description", "# TYPE a gauge\na 1\n"],
  ["a label's quote", '# HELP a x\n# TYPE a gauge\na{x="""} 1\n'],
  ["a number that is none", "# HELP a x\n# TYPE a gauge\na Nan\n"],
  [
    "buckets that shrink",
    '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
  ],
  ["no last bucket", '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 2\na_sum 1\na_count 2\n'],
  ["no end of the last line", "# HELP a x\n# TYPE a gauge\na 1"],
])("the tests' parser refuses %s", (_, page) => {
  expect(() => parseExposition(page, false)).toThrow();
});
