import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { withoutPaths } from "../../src/error-trace.ts";
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

function collect(level: string, content = false) {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(text, _, done) {
      const { time, ...line } = JSON.parse(text);
      expect(time).toBeTypeOf("number");
      lines.push(line);
      done();
    },
  });
  const log = createLog({ level, content, stream });
  return { lines, log, sink: logRecords(log, content) };
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

test.each([
  ["debug", true, { message: "internal error", causeMessage: "broken" }],
  ["info", true, {}],
  ["debug", false, {}],
])("level %s, content %s: messages %o", (level, content, messages) => {
  const { lines, log, sink } = collect(level, content);
  sink({ ...record, outcome: "internal" }, toLoquiError(new TypeError("broken")));
  const { kind, code, cause, at, ...rest } = Object(lines[0]).error;
  expect([kind, code, cause]).toEqual(["internal", "internal", "TypeError"]);
  expect(rest).toEqual(messages);
  log.error({ err: new TypeError("broken") }, "something else");
  expect(lines[1]).toMatchObject({ err: { name: "TypeError", at: at ? expect.any(Array) : [] } });
  expect(JSON.stringify(lines[1]).includes("broken")).toBe(content);
});

test.each([
  ["messages[0].content[1].text", "messages[0].content[1].text"],
  ["metadata.secret", "metadata.…"],
  ['metadata["a.b \\"]"]', "metadata.…"],
  ["chat_template_kwargs.secret[3]", "chat_template_kwargs.…[3]"],
  ["secret", "…"],
])("of the path %s the names of the schema stay", (param, logged) => {
  const { lines, sink } = collect("info");
  const error = new LoquiError("invalid_request", "no", { param });
  sink({ ...record, outcome: error.kind }, error);
  expect(lines[0]).toMatchObject({ error: { param: logged } });
});

test.each([
  ["worker_crashed", "error"],
  ["internal", "error"],
  ["model_unavailable", "warn"],
  ["overloaded", "warn"],
  ["timeout", "warn"],
  ["invalid_request", "info"],
  ["unauthenticated", "info"],
  ["cancelled", "info"],
] as const)("%s is logged at %s", (kind, level) => {
  const { lines, sink } = collect("info");
  sink({ ...record, outcome: kind }, new LoquiError(kind, "no"));
  expect(lines[0]).toMatchObject({ level, outcome: kind });
});

test("paths are cut down to their last name, addresses are not", () => {
  const text =
    "can't map '/home/me/models/x.gguf' (file:///opt/loqui/a.js:3:4), see http://127.0.0.1:80/a/b, a/b and /";
  expect(withoutPaths(text)).toBe("can't map '…/x.gguf' (…/a.js:3:4), see http://127.0.0.1:80/a/b, a/b and /");
});

test("of a long path the beginning is logged", () => {
  const { lines, log } = collect("info");
  log.info({ path: "/x".repeat(5_000) }, "request refused");
  expect(lines[0]?.path).toBe("/x".repeat(100));
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
