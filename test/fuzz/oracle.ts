import type { FuzzCase } from "./fuzz-case.ts";
import { methods } from "./messages.ts";
import type { Answer, Outcome } from "./send.ts";

/** What an outcome is: its kind for the tally, and what is wrong with it. */
export interface Verdict {
  readonly label: string;
  readonly finding?: string;
}

const rpcPaths = new Set(methods.map((method) => `/${method.parent.typeName}/${method.name}`));
/** Connect's codes (connectrpc.com/docs/protocol) but for those that mean our fault: unknown, internal, data_loss. */
const connectCodes = new Map([
  ["canceled", 499],
  ["invalid_argument", 400],
  ["deadline_exceeded", 504],
  ["not_found", 404],
  ["already_exists", 409],
  ["permission_denied", 403],
  ["resource_exhausted", 429],
  ["failed_precondition", 400],
  ["aborted", 409],
  ["out_of_range", 400],
  ["unimplemented", 501],
  ["unavailable", 503],
  ["unauthenticated", 401],
]);
const ourFault = new Map([
  [2, "UNKNOWN"],
  [13, "INTERNAL"],
  [15, "DATA_LOSS"],
]);

/** Judges by what the protocols promise; knows nothing of what the request deserved but its protocol. */
export function judge(fuzzCase: FuzzCase, outcome: Outcome): Verdict {
  switch (outcome.kind) {
    case "hung":
      return { label: "hung", finding: "no end within the deadline" };
    case "left":
      return { label: "left" };
    case "unsendable":
      return { label: `unsendable ${outcome.why}` };
    case "broken": {
      const label = `${fuzzCase.transport} broken: ${outcome.how}`;
      if (fuzzCase.leaveAfterMs !== undefined) return { label: "left" };
      return refusedByHttp2(fuzzCase, outcome.how) ? { label } : { label, finding: label };
    }
    case "answer":
      return judgeAnswer(fuzzCase, outcome);
    default:
      return outcome satisfies never;
  }
}

/** nghttp2 resets what no handler sees: headers above the limits, and `*` for a path (RFC 9113, 8.3.1). */
function refusedByHttp2({ transport, headers, target }: FuzzCase, how: string): boolean {
  if (transport !== "http2") return false;
  const size = Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
  if (/(ENHANCE_YOUR_CALM|REFUSED_STREAM)$/.test(how)) {
    return size + target.length > 8_192 || Object.keys(headers).length > 100;
  }
  return how.endsWith("PROTOCOL_ERROR") && !target.startsWith("/");
}

function judgeAnswer(fuzzCase: FuzzCase, answer: Answer): Verdict {
  const { status, headers } = answer;
  if (fuzzCase.transport === "raw1") {
    const label = `raw ${status}`;
    return status >= 500 && !allowed5xx.has(status) ? { label, finding: label } : { label };
  }
  const type = headers["content-type"] ?? "";
  const protocol = protocolOf(fuzzCase, type);
  try {
    return { label: `${protocol} ${check[protocol](fuzzCase, answer)}` };
  } catch (error) {
    if (!(error instanceof Finding)) throw error;
    return { label: `${protocol} finding`, finding: `${protocol} ${status}: ${error.message}` };
  }
}

class Finding extends Error {}

/** What Node answers by itself: to an `expect` that it doesn't know, and to a header that is too large. */
const ofNode = new Set([417, 431]);
const allowed5xx = new Set([501, 503, 504, 505]);

/** What grpc/doc/compression.md wants INTERNAL for, though it is the client's fault. */
const undeclaredCompression = /^received compressed envelope, but do not know how to decompress/;

type Protocol = "grpc" | "grpc-web" | "connect-stream" | "connect" | "rest" | "http";

/** By the answer where it says so; a gRPC request must get a gRPC answer. */
function protocolOf(fuzzCase: FuzzCase, answerType: string): Protocol {
  const path = fuzzCase.target.split("?", 1)[0] ?? "";
  const asked = fuzzCase.headers["content-type"] ?? "";
  const isRpc = rpcPaths.has(path);
  if (fuzzCase.httpMethod === "POST" && /^application\/grpc(\+(proto|json))?$/.test(asked) && path !== "*")
    return "grpc";
  if (answerType.startsWith("application/grpc-web")) return "grpc-web";
  if (answerType.startsWith("application/grpc")) return "grpc";
  if (answerType.startsWith("application/connect+")) return "connect-stream";
  if (isRpc && answerType === "" && fuzzCase.httpMethod !== "OPTIONS") return "http";
  return isRpc && fuzzCase.httpMethod !== "OPTIONS" ? "connect" : "rest";
}

/** Each returns the label of an answer that is in order and throws a Finding for one that is not. */
const check: Readonly<Record<Protocol, (fuzzCase: FuzzCase, answer: Answer) => string>> = {
  grpc({ transport }, { status, headers, trailers }) {
    if (status === 415 || ofNode.has(status)) return String(status);
    // A stream of requests needs HTTP/2.
    if (status === 505 && transport === "http1") return "505";
    expect(status === 200, `HTTP status ${status}`);
    const code = trailers["grpc-status"] ?? headers["grpc-status"];
    return grpcStatus(code, trailers["grpc-message"] ?? headers["grpc-message"]);
  },
  "grpc-web"(_, { status, headers, body }) {
    expect(status === 200, `HTTP status ${status}`);
    const frames = envelopes(body);
    const last = frames.at(-1);
    if (last === undefined) return grpcStatus(headers["grpc-status"], headers["grpc-message"]);
    expect((last.flags & 0x80) !== 0, "no trailer frame at the end");
    const fields = new Map(
      last.data
        .toString("latin1")
        .split("\r\n")
        .map((line) => line.split(/:\s*/, 2) as [string, string]),
    );
    return grpcStatus(fields.get("grpc-status"), fields.get("grpc-message"));
  },
  "connect-stream"(_, { status, body }) {
    expect(status === 200, `HTTP status ${status}`);
    const frames = envelopes(body);
    const last = frames.at(-1);
    expect(last !== undefined && (last.flags & 2) !== 0, "no end-of-stream message");
    const end = parse(last?.data ?? Buffer.alloc(0)) as { error?: unknown };
    return end.error === undefined ? `ok, ${frames.length > 1 ? "messages" : "empty"}` : connectError(end.error);
  },
  connect(fuzzCase, { status, headers, body }) {
    if (status === 200) {
      if (headers["content-type"] === "application/json") parse(body);
      return "ok";
    }
    if (fuzzCase.httpMethod === "HEAD") return `HEAD ${status}`;
    const error = parse(body) as { code?: string };
    const label = connectError(error);
    const expected = connectCodes.get(error.code ?? "");
    expect(status === expected, `${error.code} is HTTP ${expected}`);
    return label;
  },
  rest(fuzzCase, { status, headers, body }) {
    const type = headers["content-type"] ?? "";
    if (fuzzCase.httpMethod === "HEAD") {
      expect(body.length === 0 && status !== 500, "a body, or 500, for HEAD");
      return `HEAD ${status}`;
    }
    if (status < 300) {
      if (type.startsWith("text/event-stream")) return events(body.toString());
      if (type.startsWith("application/json")) parse(body);
      return String(status);
    }
    if (status === 403 && fuzzCase.httpMethod === "OPTIONS") return "preflight refused";
    if (body.length === 0 && (status === 400 || ofNode.has(status))) return `${status} of Node`;
    const refusal = unknownMethodCodes.get(status);
    if (refusal !== undefined && isConnect(fuzzCase)) return unknownConnectMethod(fuzzCase, status, refusal, body);
    expect(type === "application/json", `an error as ${type}`);
    return openaiError(status, parse(body));
  },
  http(_, { status, body }) {
    expect([400, 405, 415, 505].includes(status) || ofNode.has(status), `HTTP status ${status}`);
    expect(body.length === 0, "a body without content-type");
    return String(status);
  },
};

/** A request of Connect to a path that is no method's. */
function isConnect({ httpMethod, headers }: FuzzCase): boolean {
  const type = headers["content-type"] ?? "";
  const asked = /^application\/(connect\+|proto(;|$))/i.test(type) || "connect-protocol-version" in headers;
  return httpMethod === "POST" && asked;
}

/** What a call of a method that there isn't is refused with: for that, or before by the gate. */
const unknownMethodCodes: ReadonlyMap<number, string> = new Map([
  [401, "unauthenticated"],
  [403, "permission_denied"],
  [404, "unimplemented"],
  [429, "resource_exhausted"],
]);

function unknownConnectMethod({ headers }: FuzzCase, status: number, code: string, body: Buffer): string {
  if (/^application\/connect\+/i.test(headers["content-type"] ?? "")) expect(body.length === 0, "a body for a stream");
  else expect(connectError(parse(body)) === code, `another code than ${code}`);
  return `${status} of Connect`;
}

function expect(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Finding(what);
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    throw new Finding(`not JSON: ${body.toString().slice(0, 200)}`);
  }
}

function grpcStatus(code: string | undefined, message: string | undefined): string {
  expect(code !== undefined && /^\d{1,2}$/.test(code) && Number(code) <= 16, `grpc-status ${code}`);
  const fault = ourFault.get(Number(code));
  const text = decodeURIComponent(message ?? "");
  expect(fault === undefined || undeclaredCompression.test(text), `${fault}: ${text}`);
  return `status ${code}`;
}

function connectError(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const known = typeof code === "string" && (connectCodes.has(code) || undeclaredCompression.test(`${message}`));
  expect(known, `code ${code}: ${message}`);
  expect(message === undefined || typeof message === "string", "a message that is no text");
  return code;
}

function openaiError(status: number, body: unknown): string {
  const { error } = body as { error?: Record<string, unknown> };
  expect(typeof error === "object" && error !== null, "no error object");
  expect(typeof error.message === "string" && error.message !== "", "an error without a message");
  // What llama-server's health answers, whose shape it has.
  if (error.type === "unavailable_error") return String(status);
  expect(typeof error.type === "string", "an error without a type");
  expect(error.param === null || typeof error.param === "string", "param is neither null nor a text");
  expect(error.code === null || typeof error.code === "string", "code is neither null nor a text");
  expect(status < 500 || allowed5xx.has(status), `${status} ${error.code}: ${error.message}`);
  return `${status} ${error.code ?? ""}`.trim();
}

/** Server-sent events: complete, or ended by an error. */
function events(text: string): string {
  expect(text === "" || text.endsWith("\n\n"), "an event that doesn't end");
  const data = text.split("\n\n").flatMap((event) => /^data: (.*)$/m.exec(event)?.[1] ?? []);
  const last = data.at(-1);
  for (const each of data) if (each !== "[DONE]") parse(Buffer.from(each));
  if (last === "[DONE]") return "stream";
  const { error } = (last === undefined ? {} : parse(Buffer.from(last))) as { error?: { code?: string } };
  expect(error !== undefined, "a stream with neither [DONE] nor an error");
  expect(error.code !== "internal", "internal error in the stream");
  return `stream, error ${error.code}`;
}

function envelopes(body: Buffer): { flags: number; data: Buffer }[] {
  const frames: { flags: number; data: Buffer }[] = [];
  for (let at = 0; at < body.length; ) {
    expect(body.length - at >= 5, "an envelope that is cut");
    const length = body.readUInt32BE(at + 1);
    expect(body.length - at - 5 >= length, "an envelope that is cut");
    frames.push({ flags: body[at] ?? 0, data: body.subarray(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return frames;
}
