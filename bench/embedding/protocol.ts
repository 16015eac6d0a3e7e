import { cpuMeter } from "../support/cpu-meter.ts";
import { figure, median } from "../support/statistics.ts";
import { measureInTurn } from "../support/turns.ts";
import { type Bare, type BareOptions, startBare } from "./bare.ts";
import type { Encoding } from "./clients.ts";
import type { Side } from "./sides.ts";

const vectors = 1000;

/** Requests of each kind before any is timed, so that all of it is compiled. */
const warmUp = 20;

/**
 * One request of 1,000 texts of one word, whose vectors have 1,024 numbers: over
 * each protocol, packed and not. What the bare engine takes for them, tokens and
 * lengths of 1 included, is told beside: the rest is queueing and the protocol.
 * One protocol after the other: a million numbers as JSON leave the front's
 * garbage collector with work that would be told as the next one's.
 */
export async function benchProtocol(
  sides: readonly Side[],
  options: BareOptions & { readonly rounds: number },
): Promise<void> {
  using bare = await startBare(options);
  console.log(`${vectors} vectors of 1,024 numbers in one request, ${options.rounds} rounds`);
  for (const side of sides) await benchSide(side, bare, options.rounds);
}

async function benchSide({ name, processes, ask }: Side, bare: Bare, rounds: number): Promise<void> {
  const texts = Array.from({ length: vectors }, () => "a");
  const measured = [
    {
      name: "bare engine",
      processes: { bare: bare.pid },
      run: async () => (await bare.run([texts])).modelMs,
      bytes: () => 0,
    },
    ...(["float", "binary"] as const satisfies Encoding[]).map((encoding) => {
      let bytes = 0;
      return {
        name: `${name} ${encoding}`,
        processes,
        bytes: () => bytes,
        async run() {
          const started = performance.now();
          bytes = await ask(texts, encoding);
          return performance.now() - started;
        },
      };
    }),
  ];
  for (const { run } of measured) for (let turn = 0; turn < warmUp; turn += 1) await run();
  const results = await measureInTurn(measured, rounds, async ({ processes, run }) => {
    const cpu = cpuMeter(processes);
    const elapsedMs = await run();
    return { elapsedMs, cpuMs: cpu(1) };
  });
  const bareMs = (results[0] ?? []).map(({ elapsedMs }) => elapsedMs);
  for (const [index, { name, bytes }] of measured.entries()) {
    const own = results[index] ?? [];
    const elapsed = own.map(({ elapsedMs }) => elapsedMs);
    const more = median(elapsed.map((ms, round) => ms - (bareMs[round] ?? Number.NaN)));
    const cpu = Object.keys(own[0]?.cpuMs ?? {}).map(
      (process) => `${process} ${median(own.map(({ cpuMs }) => cpuMs[process] ?? Number.NaN)).toFixed(1)}`,
    );
    console.log(
      `  ${name.padEnd(22)} ${figure(elapsed)} ms, ${more.toFixed(1)} above the bare engine; CPU ms: ${cpu.join(", ")}; ${(bytes() / 1e6).toFixed(1)} MB`,
    );
  }
}
