import { cpuMeter } from "../support/cpu-meter.ts";
import { figure, ratio } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import { type BareOptions, startBare } from "./bare.ts";
import type { Side } from "./sides.ts";
import type { BenchText } from "./texts.ts";

/** Texts of one request. */
const batchSize = 32;
/** Requests of a round, one after the other. */
const requests = 2;

/** Requests of 32 texts, one after the other, against the same batches on the bare engine. */
export async function benchOverhead(
  sides: readonly Side[],
  options: BareOptions & { readonly texts: readonly BenchText[]; readonly rounds: number },
): Promise<void> {
  const { texts, rounds } = options;
  using bare = await startBare(options);
  const order = Array.from({ length: requests }, (_, index) =>
    texts.slice(index * batchSize, (index + 1) * batchSize).map(({ text }) => text),
  );
  const measured = [
    { name: "bare session", processes: { bare: bare.pid }, run: async () => (await bare.run(order)).sessionMs },
    ...sides.map(({ name, processes, ask }) => ({
      name,
      processes,
      async run() {
        const started = performance.now();
        for (const request of order) await ask(request, "binary");
        return performance.now() - started;
      },
    })),
  ];
  for (const side of measured) await side.run();
  const results = await measureInTurn(measured, rounds, async ({ processes, run }) => {
    const cpu = cpuMeter(processes);
    const elapsedMs = (await run()) / requests;
    return { elapsedMs, cpuMs: Object.values(cpu(requests)).reduce((sum, ms) => sum + ms, 0) };
  });
  console.log(`requests of ${batchSize} texts, ${rounds} rounds of ${requests}`);
  for (const [index, { name }] of measured.entries()) {
    const elapsed = (side: number) => (results[side] ?? []).map(({ elapsedMs }) => elapsedMs);
    const cpu = (side: number) => (results[side] ?? []).map(({ cpuMs }) => cpuMs);
    console.log(
      `  ${name.padEnd(22)} ${figure(elapsed(index))} ms a request ${ratio(elapsed(index), elapsed(0)).toFixed(3)}×; ` +
        `CPU ${figure(cpu(index))} ms ${ratio(cpu(index), cpu(0)).toFixed(3)}×`,
    );
  }
}
