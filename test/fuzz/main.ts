/**
 * Fuzzes a server of its own: `npm run fuzz -- --cases 1000000 --seed 1`.
 *
 *   --cases N        how many (20000)
 *   --seed N         which (1); the same seed sends the same cases
 *   --case N         only the case of this number
 *   --concurrency N  requests at a time (24)
 *   --seconds N      no new cases after so long
 *
 * Prints how often each kind of outcome came, the memory after the warm-up and
 * at the end, and each finding with its smallest case as it comes. Exits with 1 where there
 * is one.
 */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzz.ts";

const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    case: { type: "string" },
    concurrency: { type: "string", default: "24" },
    seconds: { type: "string" },
  },
});
const count = (text: string, name: string) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`--${name} ${text} is not a whole number`);
  return value;
};

const report = await fuzz({
  seed: count(values.seed, "seed"),
  cases: values.case === undefined ? count(values.cases, "cases") : 1,
  ...(values.case !== undefined && { first: count(values.case, "case") }),
  concurrency: count(values.concurrency, "concurrency"),
  ...(values.seconds !== undefined && { maxSeconds: count(values.seconds, "seconds") }),
  maxFindings: 20,
  onProgress: (line) => console.error(line),
});

for (const [label, times] of [...report.tally].sort(([, a], [, b]) => b - a)) {
  console.log(`${String(times).padStart(9)}  ${label}`);
}
const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
for (const name of ["heap", "buffers", "serverResident", "workersResident"] as const) {
  console.log(`${name}: ${mebibytes(report.before[name])} → ${mebibytes(report.after[name])}`);
}
console.log(
  `\n${report.cases} cases of seed ${values.seed} in ${report.seconds.toFixed(0)} s, ` +
    `${report.goodRequests} good requests answered, ${report.findings.length} findings`,
);
process.exitCode = report.findings.length > 0 ? 1 : 0;
