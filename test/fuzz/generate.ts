import type { FuzzCase } from "./fuzz-case.ts";
import { mutateHeaders } from "./headers.ts";
import { mutateBytes } from "./mutate-bytes.ts";
import { caseRandom, type Random } from "./random.ts";
import { restDraft } from "./rest-case.ts";
import { type Draft, rpcDraft } from "./rpc-case.ts";

/** The case with this number: of one seed always the same. */
export function generateCase(seed: number, number: number): FuzzCase {
  const random = caseRandom(seed, number);
  const draft = random.chance(0.45) ? restDraft(random) : rpcDraft(random);
  if (random.chance(0.2)) {
    mutateHeaders(draft.headers, random);
    draft.notes.push("headers changed");
  }
  if (random.chance(0.03)) {
    draft.body = mutateBytes(draft.body, random);
    draft.notes.push("body changed");
  }
  // So that a line of the server's log leads to its case.
  if (draft.headers["x-request-id"] === undefined) draft.headers["x-request-id"] = requestIdOf(number);
  const leaving = draft.leaveAfterMs ?? (random.chance(0.01) ? random.pick([0, 1, 10, 50]) : undefined);
  const short = leaving !== undefined && random.chance(0.5) ? random.int(draft.body.length + 1) : undefined;
  const raw = random.chance(0.02) ? rawHead(draft, random) : undefined;
  if (raw !== undefined) draft.notes.push("raw head");
  return {
    number,
    transport: raw === undefined ? draft.transport : "raw1",
    httpMethod: draft.httpMethod,
    target: draft.target,
    headers: draft.headers,
    body: draft.body,
    chunked: random.chance(0.3),
    notes: draft.notes,
    ...(leaving !== undefined && { leaveAfterMs: leaving }),
    ...(short !== undefined && draft.leaveAfterMs === undefined && { bodyShort: short }),
    ...(raw !== undefined && { rawHead: raw }),
  };
}

/** The request id that a case sends, unless that is what it varies. */
export function requestIdOf(number: number): string {
  return `fuzz-${number}`;
}

/** The head of an HTTP/1.1 request with something wrong in it. */
function rawHead(draft: Draft, random: Random): Buffer {
  const version = random.pick(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "http/1.1", ""]);
  const host = random.pick([
    "Host: localhost",
    "Host: localhost",
    "Host:",
    "Host: a b",
    "Host: [",
    "Host: a\r\nHost: b",
    "X: y",
  ]);
  const length = random.pick([
    ...[`Content-Length: ${draft.body.length}`, `Content-Length: ${draft.body.length}`, "Content-Length: -1"],
    ...["Content-Length: 0", "Content-Length: 99999999999999999999", "Content-Length: 1\r\nContent-Length: 2"],
    ...["Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked\r\nContent-Length: 3", ""],
  ]);
  const headers = Object.entries(draft.headers).map(([name, value]) => `${name}: ${value}`);
  const lines = [`${draft.httpMethod} ${draft.target} ${version}`, host, length, "Connection: close", ...headers];
  const head = Buffer.from(`${lines.filter((line) => line !== "").join("\r\n")}\r\n\r\n`, "latin1");
  return random.chance(0.5) ? mutateBytes(head, random) : head;
}
