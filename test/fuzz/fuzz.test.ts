import { expect, test } from "vitest";
import { fuzz } from "./fuzz.ts";

/** 20,000 in `npm run test:interop`; enough here to know that the fuzzer works. */
const cases = Number(process.env.LOQUI_TEST_FUZZ_CASES ?? 2_000);

test(`${cases} requests, right and wrong: each is answered as its protocol promises`, {
  timeout: 600_000,
}, async () => {
  const report = await fuzz({ seed: 1, cases, concurrency: 24, maxFindings: 5 });
  expect(report.findings).toEqual([]);
  expect(report.cases).toBe(cases);
  expect(report.goodRequests).toBe(cases / 500);

  // Many cases must get through to a model, or nothing was tested.
  const answered = ["rest 200", "rest stream", "connect ok", "connect-stream ok, messages"];
  for (const label of [...answered, "grpc status 0", "grpc-web status 0"]) {
    expect(report.tally.get(label) ?? 0, label).toBeGreaterThan(cases / 1000);
  }
  const unsendable = [...report.tally].filter(([label]) => label.startsWith("unsendable"));
  expect(unsendable.reduce((sum, [, times]) => sum + times, 0)).toBeLessThan(cases * 0.03);

  // A leak of a kilobyte a case would be twice as much.
  const growth = report.after.heap + report.after.buffers - report.before.heap - report.before.buffers;
  expect(growth).toBeLessThan(10 << 20);
});
