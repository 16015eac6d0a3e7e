import { residentBytes } from "../../test/support/processes.ts";
import type { Side } from "./sides.ts";
import type { BenchText } from "./texts.ts";

const concurrency = 64;

/** Requests of one text each over all protocols in turn, and how large the server's processes are meanwhile. */
export async function benchMemory(
  sides: readonly Side[],
  texts: readonly BenchText[],
  requests: number,
): Promise<void> {
  console.log(`memory over ${requests} requests of one text, ${concurrency} at a time`);
  const started = performance.now();
  for (let tenth = 0; tenth <= 10; tenth += 1) {
    const sizes = Object.entries(sides[0]?.processes ?? {}).map(
      ([name, pid]) => `${name} ${(residentBytes(pid) / 1e6).toFixed(0)} MB`,
    );
    const done = Math.round((tenth * requests) / 10);
    console.log(
      `  ${String(done).padStart(7)} requests: ${sizes.join(", ")}; ${((performance.now() - started) / 1000).toFixed(0)} s`,
    );
    if (tenth === 10) break;
    let left = Math.round(((tenth + 1) * requests) / 10) - done;
    const ask = async () => {
      while (left > 0) {
        left -= 1;
        const text = texts[left % texts.length]?.text ?? "";
        await sides[left % sides.length]?.ask([text]);
      }
    };
    await Promise.all(Array.from({ length: concurrency }, ask));
  }
}
