import { type FuzzCase, printCase } from "./fuzz-case.ts";
import { generateCase, requestIdOf } from "./generate.ts";
import { modelNames } from "./messages.ts";
import { minimise } from "./minimise.ts";
import { judge } from "./oracle.ts";
import { createSender, type Sender } from "./send.ts";
import { type Memory, startTarget, type Target } from "./target.ts";

/** What is fuzzed. */
export interface FuzzOptions {
  readonly seed: number;
  readonly cases: number;
  /** Number of the first case. Default 0. */
  readonly first?: number;
  /** Requests at a time. */
  readonly concurrency: number;
  /** Ends after so many different findings. */
  readonly maxFindings: number;
  /** Sends no more cases after so many seconds. Default: until all are sent. */
  readonly maxSeconds?: number;
  /** Told now and then, and of each finding at once. */
  readonly onProgress?: (line: string) => void;
}

/** What a run found. */
export interface FuzzReport {
  readonly cases: number;
  readonly seconds: number;
  /** How often each kind of outcome came. */
  readonly tally: ReadonlyMap<string, number>;
  readonly findings: readonly string[];
  /** Good requests that were answered in between, of how many. */
  readonly goodRequests: number;
  /** After the warm-up and at the end. */
  readonly before: Memory;
  readonly after: Memory;
}

const deadlineMs = 20_000;
const goodEvery = 500;

/**
 * Sends the cases to a server of its own and judges what comes back. A first
 * twentieth (at most 50,000) warms the server up before its memory is taken.
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { seed, cases, first = 0, concurrency, maxFindings, maxSeconds = Number.POSITIVE_INFINITY } = options;
  await using target = await startTarget();
  await using sender = createSender(target.url);
  const started = performance.now();
  const lastStart = started + maxSeconds * 1000;
  const tally = new Map<string, number>();
  const findings = new Map<string, string>();
  const inFlight = new Map<number, FuzzCase>();
  const end = first + cases;
  let next = first;
  let goodRequests = 0;

  async function found(what: string, fuzzCase: FuzzCase | undefined): Promise<void> {
    // Alike but for numbers and quoted values: one finding.
    const key = what
      .replace(/\d+/g, "N")
      .replace(/"[^"]*"/g, '""')
      .slice(0, 120);
    if (findings.has(key)) return;
    findings.set(key, what);
    if (fuzzCase === undefined) {
      options.onProgress?.(`FINDING ${what}`);
      return;
    }
    const again = target.alive() ? await minimise(fuzzCase, what, (each) => verdictOf(each, sender, target)) : fuzzCase;
    const told = `${what}\n  --seed ${seed} --case ${fuzzCase.number}\n${printCase(again)}`;
    findings.set(key, told);
    options.onProgress?.(`FINDING ${told}`);
  }

  async function work(until: number): Promise<void> {
    while (next < until && findings.size < maxFindings && performance.now() < lastStart) {
      const number = next++;
      if (number % goodEvery === 0) {
        const complaint = await goodRequest(target.url);
        if (complaint !== undefined) await found(`a good request: ${complaint}`, undefined);
        goodRequests++;
      }
      const fuzzCase = generateCase(seed, number);
      inFlight.set(number, fuzzCase);
      const { label, finding } = judge(fuzzCase, await sender.send(fuzzCase, deadlineMs));
      if (!target.alive()) {
        const suspects = [...inFlight.values()].map(printCase).join("\n");
        await found(`the server has ended; in flight were\n${suspects}`, undefined);
        return;
      }
      inFlight.delete(number);
      tally.set(label, (tally.get(label) ?? 0) + 1);
      if (finding !== undefined) await found(finding, fuzzCase);
      for (const line of target.takeComplaints()) {
        const id = /"fuzz-(\d+)"/.exec(line)?.[1];
        await found(`log: ${line}`, id === undefined ? undefined : generateCase(seed, Number(id)));
      }
      if (number % 20_000 === 0 && number > first) {
        const rate = (number - first) / ((performance.now() - started) / 1000);
        options.onProgress?.(`${number - first} cases, ${Math.round(rate)}/s, ${findings.size} findings`);
      }
    }
  }
  const workAll = (until: number) => Promise.all(Array.from({ length: concurrency }, () => work(until)));

  await workAll(first + Math.min(Math.ceil(cases / 20), 50_000));
  const before = await target.memory();
  await workAll(end);
  const after = target.alive() ? await target.memory(before) : before;
  return {
    ...{ cases: next - first, seconds: (performance.now() - started) / 1000, tally, goodRequests, before, after },
    findings: [...findings.values()],
  };
}

/** What a case that is sent once more shows; complaints in the log count. */
async function verdictOf(fuzzCase: FuzzCase, sender: Sender, target: Target): Promise<string | undefined> {
  const { finding } = judge(fuzzCase, await sender.send(fuzzCase, deadlineMs));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const line = target.takeComplaints().find((each) => each.includes(`"${requestIdOf(fuzzCase.number)}"`));
  return finding ?? (line === undefined ? undefined : `log: ${line}`);
}

/** What is wrong with the answer to a request that must succeed. */
async function goodRequest(url: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: modelNames.good, messages: [{ role: "user", content: "hi" }], max_tokens: 3 }),
      signal: AbortSignal.timeout(deadlineMs),
    });
    const text = await response.text();
    if (response.status !== 200) return `${response.status} ${text}`;
    const { choices } = JSON.parse(text) as { choices: { message: { content: string } }[] };
    const content = choices[0]?.message.content;
    return content === "Hello, this " ? undefined : `answered ${JSON.stringify(content)}`;
  } catch (error) {
    return String(error);
  }
}
