/** The kernel kills a worker for want of memory, in a control group of its own where this process may make one. */
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { workerOf } from "../support/processes.ts";
import { startWithScripts } from "../support/running-loqui.ts";
import { endless, endlessParameters, grpcClient, post, question, readDisturbed, until } from "./support.ts";

/** A control group with next to no memory, by version 2 or 1; undefined where none can be made. */
function makeGroup(): string | undefined {
  for (const [root, limit] of [
    ["/sys/fs/cgroup", "memory.max"],
    ["/sys/fs/cgroup/memory", "memory.limit_in_bytes"],
  ] as const) {
    const path = join(root, `loqui-test-${process.pid}`);
    try {
      mkdirSync(path);
    } catch {
      continue;
    }
    if (existsSync(join(path, limit))) {
      writeFileSync(join(path, limit), String(1 << 20));
      return path;
    }
    rmdirSync(path);
  }
  return undefined;
}

const group = process.platform === "linux" ? makeGroup() : undefined;

it.skipIf(group === undefined)("counts it, and holds it against the input", async () => {
  if (group === undefined) return;
  try {
    await using running = await startWithScripts({ endless }, {}, { endless: endlessParameters });
    const { url } = running;
    const client = grpcClient(url);
    for (let time = 1; time <= 2; time++) {
      const read = readDisturbed(client.streamChatCompletion(question("endless")), () => {
        writeFileSync(join(group, "cgroup.procs"), String(workerOf("endless")));
      });
      await expect(read).rejects.toMatchObject({ code: Code.Unavailable });
    }
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('loqui_worker_oom_kills_total{model="endless"} 2\n');
    expect(metrics).toContain('loqui_inputs_quarantined_total{model="endless"} 1\n');
    expect((await post(url, { model: "endless" })).status).toBe(422);
  } finally {
    await until("the group is empty", () => {
      try {
        rmdirSync(group);
        return true;
      } catch {
        return false;
      }
    });
  }
});
