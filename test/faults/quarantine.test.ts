/** A worker dies of the same input twice: the input is refused from then on, all else is answered. */
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { signalWorker } from "../support/processes.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";
import { endless, endlessParameters, grpcClient, killInFlight, post, question, readDisturbed } from "./support.ts";

let running: RunningLoqui;
beforeEach(async () => {
  running = await startWithScripts({ endless }, {}, { endless: endlessParameters });
});
afterEach(() => running[Symbol.asyncDispose]());

const refused = "the worker of the model endless died of this input twice; it is refused for 60 min";

async function othersAreAnswered(): Promise<void> {
  // The number of tokens is a part of the input.
  const other = await post(running.url, { model: "endless", max_tokens: 3 });
  expect(other.status).toBe(200);
  expect(await other.json()).toMatchObject({ choices: [{ message: { content: "on and off " } }] });
}

describe("an input of which the worker dies twice", () => {
  it("REST, before the first byte: 503 for itself, 422 for the next, on every protocol", async () => {
    const { url } = running;
    const answer = post(url, { model: "endless" });
    await killInFlight(url, "endless");
    await killInFlight(url, "endless");
    const first = await answer;
    expect(first.status).toBe(503);
    expect(first.headers.get("x-should-retry")).toBe("false");
    expect(await first.json()).toMatchObject({ error: { code: "worker_crashed" } });

    for (const more of [{}, { stream: true }, { user: "another" }]) {
      const next = await post(url, { model: "endless", ...more });
      expect(next.status).toBe(422);
      expect(next.headers.get("x-should-retry")).toBe("false");
      expect(await next.json()).toEqual({
        error: { message: refused, type: "invalid_request_error", param: null, code: "input_quarantined" },
      });
    }
    const client = grpcClient(url);
    const aborted = { code: Code.Aborted, rawMessage: refused };
    await expect(client.createChatCompletion(question("endless"))).rejects.toMatchObject(aborted);
    await expect(Array.fromAsync(client.streamChatCompletion(question("endless")))).rejects.toMatchObject(aborted);
    await othersAreAnswered();
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('loqui_inputs_quarantined_total{model="endless"} 1\n');
    expect(metrics).toContain('loqui_worker_crashes_total{model="endless"} 2\n');
    expect(metrics).toContain('loqui_worker_restarts_total{model="endless"} 2\n');
  });

  it("gRPC, in mid-stream: two requests break, the third is refused", async () => {
    const { url } = running;
    const client = grpcClient(url);
    for (let time = 1; time <= 2; time++) {
      const read = readDisturbed(client.streamChatCompletion(question("endless")), () => {
        signalWorker("endless", "SIGSEGV");
      });
      await expect(read).rejects.toMatchObject({ code: Code.Unavailable });
    }
    await expect(Array.fromAsync(client.streamChatCompletion(question("endless")))).rejects.toMatchObject({
      code: Code.Aborted,
      rawMessage: refused,
    });
    expect((await post(url, { model: "endless" })).status).toBe(422);
    await othersAreAnswered();
  });

  it("is told from those that were in flight with it", async () => {
    const { url } = running;
    // Both are implicated; the second waits behind the first, which never ends.
    const killer = post(url, { model: "endless", seed: 1 });
    const bystander = post(url, { model: "endless", seed: 2, max_tokens: 3 });
    await killInFlight(url, "endless");
    // Whichever comes first runs alone: the killer dies again, the bystander is answered.
    await killInFlight(url, "endless");
    expect((await killer).status).toBe(503);
    expect((await bystander).status).toBe(200);
    expect((await post(url, { model: "endless", seed: 1 })).status).toBe(422);
    expect((await post(url, { model: "endless", seed: 2, max_tokens: 3 })).status).toBe(200);
  });
});

describe("a worker that somebody kills while it answers", () => {
  it.each(["SIGKILL", "SIGTERM"] as const)("by %s: nothing is held against the input", async (signal) => {
    const { url } = running;
    const client = grpcClient(url);
    for (let time = 1; time <= 3; time++) {
      const read = readDisturbed(client.streamChatCompletion(question("endless")), () => {
        signalWorker("endless", signal);
      });
      await expect(read).rejects.toMatchObject({ code: Code.Unavailable });
    }
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('loqui_worker_crashes_total{model="endless"} 3\n');
    expect(metrics).toContain('loqui_worker_oom_kills_total{model="endless"} 0\n');
    expect(metrics).toContain('loqui_inputs_quarantined_total{model="endless"} 0\n');
  });

  it("before the first byte: the request ends after two tries, the next is taken", async () => {
    const { url } = running;
    const answer = post(url, { model: "endless" });
    await killInFlight(url, "endless", "SIGKILL");
    await killInFlight(url, "endless", "SIGKILL");
    expect((await answer).status).toBe(503);
    const next = await post(url, { model: "endless", stream: true });
    expect(next.status).toBe(200);
    await next.body?.cancel();
  });
});
