import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname;
const goModule = join(here, "../go");
const runner = "connectrpc.com/conformance/cmd/connectconformance";

/**
 * Runs connectrpc/conformance's cases for servers against loqui's listener, as
 * config.yaml claims them, and writes each as a test case of a JUnit file. True
 * where all passed but those that known-failing.txt lists.
 */
export function runConformance(junitFile: string): boolean {
  const server = [process.execPath, join(here, "server.ts")];
  const { status, stdout, error } = spawnSync(
    "go",
    [
      ...["tool", runner, "--mode", "server", "--vv", "--max-servers", "2", "--parallel", "4"],
      ...["--conf", join(here, "config.yaml"), "--known-failing", `@${join(here, "known-failing.txt")}`],
      ...["--", ...server],
    ],
    {
      cwd: goModule,
      encoding: "utf8",
      maxBuffer: 256 << 20,
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 20 * 60_000,
    },
  );
  if (error !== undefined) throw error;
  const noise = /^(Sending request|Received response) for "/;
  process.stdout.write(
    `${stdout
      .split("\n")
      .filter((line) => !noise.test(line))
      .join("\n")}\n`,
  );

  const cases = casesOf(stdout);
  const inside = { passed: "", failed: "<failure/>", "known to fail": "<skipped/>" };
  const lines = [...cases].map(
    ([name, outcome]) => `<testcase name="${escapeXml(name)}">${inside[outcome]}</testcase>`,
  );
  writeFileSync(junitFile, `<testsuite>${lines.join("\n")}</testsuite>\n`);
  return status === 0;
}

type Outcome = "passed" | "failed" | "known to fail";

/** What became of each case, by the runner's output; one without a result has failed. Throws where the sums differ. */
function casesOf(output: string): Map<string, Outcome> {
  const cases = new Map<string, Outcome>();
  for (const [, name = ""] of output.matchAll(/^Sending request for "(.+)"\.\.\.$/gm)) cases.set(name, "failed");
  for (const [, name = ""] of output.matchAll(/^Received response for "(.+)"\.\.\.$/gm)) cases.set(name, "passed");
  for (const [, name = ""] of output.matchAll(/^INFO: (.+) failed \(as expected\):$/gm))
    cases.set(name, "known to fail");
  for (const [, name = ""] of output.matchAll(/^FAILED: (.+?)(?::| was expected to fail but did not)$/gm)) {
    cases.set(name, "failed");
  }
  const [, passed] = /^(\d+) passed, \d+ failed$/m.exec(output) ?? [];
  const counted = [...cases.values()].filter((outcome) => outcome === "passed").length;
  if (passed === undefined || counted !== Number(passed)) {
    throw new Error(`connectconformance says that ${passed} cases passed, its messages name ${counted}`);
  }
  return cases;
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
