import { describe, expect, test } from "vitest";
import { printCase } from "./fuzz-case.ts";
import { generateCase } from "./generate.ts";
import { minimise } from "./minimise.ts";
import { judge } from "./oracle.ts";
import type { Answer } from "./send.ts";

const rest = {
  ...generateCase(1, 1),
  transport: "http1",
  httpMethod: "POST",
  target: "/v1/embeddings",
  headers: {},
} as const;
const { leaveAfterMs: _, ...staying } = rest;
const grpc = { ...staying, target: "/grpc.health.v1.Health/Check", headers: { "content-type": "application/grpc" } };
const connect = { ...grpc, headers: { "content-type": "application/json" } };

function answer(status: number, type: string, body = "", trailers: Record<string, string> = {}): Answer {
  return { kind: "answer", status, headers: { "content-type": type }, trailers, body: Buffer.from(body) };
}

const json = "application/json";
const error = (code: string) => `{"error":{"message":"m","type":"t","param":null,"code":"${code}"}}`;
const endOfStream = (end: string) => `\u0002\0\0\0${String.fromCharCode(end.length)}${end}`;

describe("what the oracle finds", () => {
  test.each([
    ["500", staying, answer(500, json, error("internal")), "rest 500: 500 internal: m"],
    ["502", staying, answer(502, json, error("x")), "rest 502: 502 x: m"],
    ["an error that is no JSON", staying, answer(400, "text/html", "<h1>"), "rest 400: an error as text/html"],
    ["an error of another shape", staying, answer(400, json, '{"message":"m"}'), "rest 400: no error object"],
    [
      "an error without a code",
      staying,
      answer(400, json, '{"error":{"message":"m","type":"t","param":null}}'),
      /code is/,
    ],
    ["a stream without an end", staying, answer(200, "text/event-stream", 'data: {"a":1}\n\n'), /neither \[DONE\]/],
    ["an event that is cut", staying, answer(200, "text/event-stream", "data: {}\n\ndata: {"), /doesn't end/],
    [
      "INTERNAL",
      grpc,
      answer(200, "application/grpc", "", { "grpc-status": "13", "grpc-message": "m" }),
      /INTERNAL: m/,
    ],
    ["UNKNOWN", grpc, answer(200, "application/grpc", "", { "grpc-status": "2" }), /UNKNOWN/],
    ["no grpc-status", grpc, answer(200, "application/grpc"), /grpc-status undefined/],
    ["REST's answer to gRPC", grpc, answer(404, json, error("not_found")), "grpc 404: HTTP status 404"],
    [
      "an envelope that is cut",
      connect,
      answer(200, "application/connect+json", "\0\0\0\0\u0009{}"),
      /envelope that is cut/,
    ],
    ["a code that is none", connect, answer(400, json, '{"code":"nope"}'), /code nope/],
    ["a code with another's status", connect, answer(500, json, '{"code":"not_found"}'), /not_found is HTTP 404/],
    [
      "internal at the end",
      connect,
      answer(200, "application/connect+json", endOfStream('{"error":{"code":"internal"}}')),
      /code internal/,
    ],
    ["a hung request", staying, { kind: "hung" } as const, "no end within the deadline"],
    ["a broken one", staying, { kind: "broken", how: "ECONNRESET" } as const, "http1 broken: ECONNRESET"],
  ])("%s", (_, fuzzCase, outcome, finding) => {
    expect(judge(fuzzCase, outcome).finding).toEqual(
      typeof finding === "string" ? finding : expect.stringMatching(finding),
    );
  });

  test.each([
    ["an error of OpenAI's shape", staying, answer(400, json, error("x")), "rest 400 x"],
    [
      "a stream that says how it failed",
      staying,
      answer(200, "text/event-stream", `data: ${error("timeout")}\n\n`),
      "rest stream, error timeout",
    ],
    [
      "INTERNAL where gRPC asks for it",
      grpc,
      answer(200, "application/grpc", "", {
        "grpc-status": "13",
        "grpc-message": "received compressed envelope, but do not know how to decompress",
      }),
      "grpc status 13",
    ],
    [
      "an unknown method of Connect",
      { ...staying, headers: { "connect-protocol-version": "1" } },
      answer(404, json, '{"code":"unimplemented","message":"m"}'),
      "rest 404 of Connect",
    ],
    [
      "a stream of Connect that the gate refuses, of a method that there isn't",
      { ...staying, headers: { "content-type": "application/connect+proto" } },
      answer(403, "", ""),
      "rest 403 of Connect",
    ],
    ["a gRPC status", grpc, answer(200, "application/grpc", "", { "grpc-status": "3" }), "grpc status 3"],
    [
      "the end of a stream",
      connect,
      answer(200, "application/connect+json", endOfStream("{}")),
      "connect-stream ok, empty",
    ],
  ])("nothing in %s", (_, fuzzCase, outcome, label) => {
    expect(judge(fuzzCase, outcome)).toEqual({ label });
  });
});

test("a seed and a number always make the same case, in any order", () => {
  const printed = [5, 3, 40_000, 4].map((number) => printCase(generateCase(7, number)));
  expect([5, 3, 40_000, 4].reverse().map((number) => printCase(generateCase(7, number)))).toEqual(printed.reverse());
  expect(printCase(generateCase(8, 5))).not.toBe(printCase(generateCase(7, 5)));
});

test("a case is cut down to what shows its finding", async () => {
  const body = Buffer.from(`${"x".repeat(300)}BAD${"y".repeat(200)}`);
  const fuzzCase = { ...staying, headers: { "content-type": json, te: "trailers" }, body };
  const smallest = await minimise(fuzzCase, "bad 1", async (each) =>
    each.body.includes("BAD") && "te" in each.headers ? "bad 2" : undefined,
  );
  expect(smallest.body.toString()).toBe("BAD");
  expect(smallest.headers).toEqual({ te: "trailers" });
});
