import type { Random } from "./random.ts";

/** A header that a request may carry or carry wrongly. */
type Mutation = (headers: Record<string, string>, random: Random) => void;

const contentTypes = [
  ...["application/json", "application/proto", "application/connect+json", "application/connect+proto"],
  ...["application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc-web"],
  ...["application/grpc-web+proto", "application/grpc-web+json", "application/grpc-web-text", "application/grpc+x"],
  ...[
    "application/grpc-web-text+proto",
    "application/grpc;x=1",
    "APPLICATION/GRPC",
    "application/connect+x",
    "text/plain",
  ],
  ...[
    "application/json; charset=utf-16",
    "application/json;charset=UTF-8",
    "application/json; charset",
    "multipart/form-data",
  ],
  ...[
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "/",
    "",
    ";",
  ],
  ...["application/octet-stream", "application/", "application/json, application/json", "a".repeat(3_000)],
];
const grpcTimeouts = [
  ...["1S", "5S", "100m", "1m", "1n", "100u", "0S", "0n", "1H", "99999999H", "99999999M", "2147484S", "123456789S"],
  ...["-1S", "1s", "S", "1", "", " 1S", "1.5S", "1e3S", "٣S".normalize(), "1S, 2S", "9".repeat(5_000)].map(latin),
];
const milliseconds = [
  "0",
  "1",
  "50",
  "5000",
  "2147483647",
  "2147483648",
  "9999999999",
  "99999999999",
  "-1",
  "1e3",
  "x",
];
const seconds = [
  "0",
  "0.0000001",
  "0.05",
  "5",
  "1e3",
  "-1",
  "",
  "x",
  "999999999999",
  "9999999999999",
  "1.0000000001",
  "1,2",
];
const encodings = ["identity", "gzip", "br", "deflate", "zstd", "GZIP", "x-gzip", "gzip, gzip", "", "snappy", "\t"];

const values = [
  ...[
    "",
    "x",
    "0",
    "1",
    "-1",
    "null",
    "*/*",
    "\u00e4\u00ff",
    "%00",
    "%zz",
    '"',
    "a,b;c=d",
    "=?utf-8?q?x?=",
    "AAAA",
    "!!!",
  ],
  ...["x".repeat(200), "x".repeat(5_000)],
];
const names = [
  ...["accept", "accept-encoding", "accept-language", "authorization", "x-api-key", "cookie", "user-agent", "referer"],
  ...[
    "te",
    "traceparent",
    "tracestate",
    "x-request-id",
    "x-loqui-strict",
    "connect-protocol-version",
    "grpc-accept-encoding",
  ],
  ...[
    "connect-accept-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-trace-bin",
    "some-bin",
    "__proto__",
  ],
  ...[
    "constructor",
    "x-forwarded-for",
    "forwarded",
    "range",
    "if-none-match",
    "content-language",
    "x-http-method-override",
  ],
  ...[
    "prefer",
    "priority",
    "x-user-agent",
    "idempotency-key",
    "openai-organization",
    "grpc-status-details-bin",
    "date",
  ],
];

const mutations: readonly Mutation[] = [
  (headers, random) => {
    headers["content-type"] = random.pick(contentTypes);
  },
  (headers) => {
    delete headers["content-type"];
  },
  (headers, random) => {
    headers["grpc-timeout"] = random.pick(grpcTimeouts);
  },
  (headers, random) => {
    headers["connect-timeout-ms"] = random.pick(milliseconds);
  },
  (headers, random) => {
    headers["x-request-timeout"] = random.pick(seconds);
  },
  (headers, random) => {
    headers[random.pick(["content-encoding", "grpc-encoding", "connect-content-encoding"])] = random.pick(encodings);
  },
  (headers, random) => {
    const accepts = ["accept-encoding", "grpc-accept-encoding", "connect-accept-encoding"];
    headers[random.pick(accepts)] = random.pick([...encodings, "gzip,identity", "*", "br;q=0"]);
  },
  (headers, random) => {
    headers[random.pick(names)] = random.pick(values);
  },
  (headers, random) => {
    headers[random.pick(names)] = random.pick(values);
  },
  (headers, random) => {
    headers.te = random.pick(["trailers", "", "gzip", "trailers, deflate"]);
  },
  (headers) => {
    delete headers.te;
  },
  (headers, random) => {
    headers["x-loqui-strict"] = random.pick(["1", "0", "true", ""]);
  },
  (headers, random) => {
    headers["connect-protocol-version"] = random.pick(["1", "2", "", "x"]);
  },
  (headers, random) => {
    headers.origin = random.pick(["null", "http://evil.example", "http://localhost", "x", "http://127.0.0.1:1", ""]);
  },
  (headers, random) => {
    headers.expect = random.pick(["100-continue", "200-ok", "x"]);
  },
  (headers, random) => {
    const count = random.pick([30, 100, 300]);
    for (let i = 0; i < count; i++) headers[`x-many-${i}`] = "v".repeat(random.pick([1, 40, 200]));
  },
];

/** Changes, adds or removes a few headers. */
export function mutateHeaders(headers: Record<string, string>, random: Random): void {
  for (let left = random.pick([1, 1, 2, 4]); left > 0; left--) random.pick(mutations)(headers, random);
}

/** HTTP carries headers as Latin-1. */
function latin(text: string): string {
  return Buffer.from(text).toString("latin1");
}
