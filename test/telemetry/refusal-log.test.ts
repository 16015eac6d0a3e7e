import { Writable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LoquiError } from "../../src/errors.ts";
import type { RequestRecord } from "../../src/request-context.ts";
import { createLog, logRecords } from "../../src/telemetry/log.ts";
import { createRefusalLog } from "../../src/telemetry/refusal-log.ts";
import { startTestServer } from "../server/test-server.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

function collect(level: string) {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(text, _, done) {
      lines.push(JSON.parse(text));
      done();
    },
  });
  return { lines, log: createLog({ level, stream }) };
}

const record: RequestRecord = {
  requestId: "r-1",
  protocol: "rest",
  method: "loqui.v1.ChatService/CreateChatCompletion",
  receivedAt: 1_700_000_000_000,
};

test("of a flood the first lines are written, then one that counts the others, for each kind", () => {
  const { lines, log } = collect("info");
  const sink = logRecords(log, false, createRefusalLog(log, { lines: 3, periodMs: 1_000 }));
  for (let index = 0; index < 5_000; index++) {
    sink({ ...record, requestId: `r-${index}`, outcome: "overloaded" }, new LoquiError("overloaded", "full"));
  }
  sink({ ...record, outcome: "timeout" }, new LoquiError("timeout", "late"));
  expect(lines.map(({ requestId }) => requestId)).toEqual(["r-0", "r-1", "r-2", "r-1"]);
  expect(lines.every(({ level, msg }) => level === "warn" && msg === "call finished")).toBe(true);
  vi.advanceTimersByTime(1_000);
  expect(lines.slice(4)).toMatchObject([
    { level: "warn", kind: "overloaded", unlogged: 4_997, periodMs: 1_000, msg: "call finished: more of them" },
  ]);
  sink({ ...record, requestId: "later", outcome: "overloaded" }, new LoquiError("overloaded", "full"));
  expect(lines.at(-1)).toMatchObject({ requestId: "later" });
  vi.advanceTimersByTime(10_000);
  expect(lines).toHaveLength(6);
});

test("answers and faults of ours are all there", () => {
  const { lines, log } = collect("info");
  const sink = logRecords(log, false, createRefusalLog(log, { lines: 3 }));
  for (let index = 0; index < 10; index++) {
    sink({ ...record, outcome: "ok" }, undefined);
    sink({ ...record, outcome: "internal" }, new LoquiError("internal", "internal error"));
  }
  expect(lines).toHaveLength(20);
});

test("what the level leaves out is not counted", () => {
  const { lines, log } = collect("warn");
  const refuse = createRefusalLog(log, { lines: 1, periodMs: 1_000 });
  for (let index = 0; index < 10; index++) refuse("info", "not_found", {}, "request refused");
  vi.advanceTimersByTime(1_000);
  expect(lines).toEqual([]);
});

test("requests that a server refuses before they are calls, over REST and gRPC", async () => {
  const { lines, log } = collect("info");
  await using server = await startTestServer({ log, logRefusal: createRefusalLog(log, { lines: 5, periodMs: 1_000 }) });
  for (let index = 0; index < 20; index++) {
    expect((await fetch(`${server.url}/livez`, { headers: { origin: "https://evil.example" } })).status).toBe(403);
    const unknown = { method: "POST", headers: { "content-type": "application/proto" } };
    expect((await fetch(`${server.url}/a.B/C`, unknown)).status).toBe(404);
  }
  const refused = lines.filter(({ msg }) => msg === "request refused");
  expect(refused.map(({ kind }) => kind)).toEqual(Array(5).fill(["origin_refused", "unimplemented"]).flat());
  vi.advanceTimersByTime(1_000);
  expect(lines.filter(({ unlogged }) => unlogged === 15).map(({ kind }) => kind)).toEqual([
    "origin_refused",
    "unimplemented",
  ]);
});
