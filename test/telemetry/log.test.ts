import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { LoquiError, toLoquiError } from "../../src/errors.ts";
import type { RequestRecord } from "../../src/request-context.ts";
import { createLog, logRecords } from "../../src/telemetry/log.ts";

const record: RequestRecord = {
  requestId: "r-1",
  protocol: "rest",
  method: "loqui.v1.ChatService/CreateChatCompletion",
  receivedAt: 1_700_000_000_000,
  model: "loqui/tiny-chat",
  promptTokens: 3,
  durationMs: 12.5,
  outcome: "ok",
};

function collect(level: string) {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(text, _, done) {
      const { time, ...line } = JSON.parse(text);
      expect(time).toBeTypeOf("number");
      lines.push(line);
      done();
    },
  });
  return { lines, sink: logRecords(createLog({ level, stream })) };
}

test("a finished call is one line", () => {
  const { lines, sink } = collect("info");
  sink(record, undefined);
  expect(lines).toEqual([{ level: "info", ...record, msg: "call finished" }]);
});

test("a client's mistake is named by kind, rule and field, not quoted", () => {
  const { lines, sink } = collect("info");
  const error = new LoquiError("invalid_request", 'messages[0].role: "secret prompt" is no role', {
    param: "messages[0].role",
    code: "enum.defined_only",
  });
  sink({ ...record, outcome: error.kind }, error);
  expect(lines[0]).toMatchObject({
    level: "info",
    outcome: "invalid_request",
    error: { kind: "invalid_request", code: "enum.defined_only", param: "messages[0].role" },
  });
  expect(JSON.stringify(lines)).not.toContain("secret");
});

test("a fault of ours says where it was thrown, without the machine's folders", () => {
  const { lines, sink } = collect("info");
  sink({ ...record, outcome: "internal" }, toLoquiError(new TypeError("can't open /etc/secret")));
  expect(lines[0]).toMatchObject({ level: "error", error: { kind: "internal", code: "internal", cause: "TypeError" } });
  expect(lines[0]).toMatchObject({
    error: { at: expect.arrayContaining([expect.stringMatching(/test\/telemetry\/log\.test\.ts:\d+:\d+/)]) },
  });
  const text = JSON.stringify(lines);
  expect(text).not.toContain("secret");
  expect(text).not.toContain(process.cwd());
});

test("a thrown value that is no error is named by its type", () => {
  const { lines, sink } = collect("info");
  sink({ ...record, outcome: "internal" }, toLoquiError("secret"));
  expect(lines[0]).toMatchObject({ error: { kind: "internal", cause: "string" } });
  expect(JSON.stringify(lines)).not.toContain("secret");
});

test("level debug adds the messages", () => {
  const { lines, sink } = collect("debug");
  sink({ ...record, outcome: "internal" }, toLoquiError(new TypeError("broken")));
  expect(lines[0]).toMatchObject({ error: { message: "internal error", causeMessage: "broken" } });
});

test("health checks and reflection are logged at debug", () => {
  for (const [level, count] of [
    ["info", 0],
    ["debug", 1],
  ] as const) {
    const { lines, sink } = collect(level);
    sink({ ...record, method: "grpc.health.v1.Health/Check" }, undefined);
    expect(lines).toHaveLength(count);
  }
});

test("silent writes nothing", () => {
  const { lines, sink } = collect("silent");
  sink(record, undefined);
  sink({ ...record, outcome: "internal" }, toLoquiError("x"));
  expect(lines).toEqual([]);
});
