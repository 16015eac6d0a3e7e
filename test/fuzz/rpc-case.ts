import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { type DescMethod, type MessageShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import type { Transport } from "./fuzz-case.ts";
import { requestMessage, weightedMethods } from "./messages.ts";
import { mutateBytes, withStrangeFields } from "./mutate-bytes.ts";
import { mutateJson } from "./mutate-json.ts";
import type { Random } from "./random.ts";

/** The parts of a case that depend on its protocol. */
export interface Draft {
  transport: Transport;
  httpMethod: string;
  target: string;
  headers: Record<string, string>;
  body: Buffer;
  notes: string[];
  leaveAfterMs?: number;
}

/** A request by gRPC, gRPC-Web or Connect. */
export function rpcDraft(random: Random): Draft {
  const method = random.pick(weightedMethods);
  const protocol = random.pick(["grpc", "grpc-web", "connect"] as const);
  const json = random.chance(0.4);
  const notes = [`${protocol} ${method.name}`];
  const transport = protocol === "grpc" || random.chance(0.5) ? "http2" : "http1";
  const target = `/${method.parent.typeName}/${method.name}`;
  const unary = protocol === "connect" && method.methodKind === "unary";

  const draft: Draft = { transport, httpMethod: "POST", target, headers: {}, body: Buffer.alloc(0), notes };
  if (endless.has(method.name)) draft.leaveAfterMs = 100;
  if (random.chance(0.7)) draft.headers[protocol === "connect" ? "connect-timeout-ms" : "grpc-timeout"] = "5000";
  if (protocol !== "connect" && "grpc-timeout" in draft.headers) draft.headers["grpc-timeout"] = "5S";
  const count = method.methodKind.startsWith("client") || method.methodKind.startsWith("bidi") ? random.int(4) : 1;
  const payloads = Array.from({ length: count }, () => payload(method, json, random, notes));
  if (unary) {
    const message = payloads[0] ?? Buffer.alloc(0);
    if (method.idempotency !== undefined && random.chance(0.5)) return asGet(draft, message, json, random);
    draft.headers["content-type"] = `application/${json ? "json" : "proto"}`;
    draft.body = message;
    if (random.chance(0.15)) compressBody(draft, "content-encoding", random);
    return draft;
  }
  const subtype = json ? "json" : "proto";
  draft.headers["content-type"] =
    protocol === "connect" ? `application/connect+${subtype}` : `application/${protocol}+${subtype}`;
  if (!json && protocol !== "connect" && random.chance(0.5)) draft.headers["content-type"] = `application/${protocol}`;
  if (protocol === "grpc") draft.headers.te = "trailers";
  const encodingHeader = protocol === "connect" ? "connect-content-encoding" : "grpc-encoding";
  const compressed = random.chance(0.15);
  if (compressed) draft.headers[encodingHeader] = "gzip";
  draft.body = Buffer.concat(payloads.map((bytes) => envelope(bytes, compressed, random, notes)));
  if (protocol === "grpc-web" && random.chance(0.05)) {
    draft.headers["content-type"] = `application/grpc-web-text${random.pick(["", "+proto"])}`;
    draft.body = Buffer.from(draft.body.toString("base64"));
  }
  return draft;
}

/** Streams that end when their client leaves. */
const endless = new Set(["Watch", "WatchModels"]);

function payload(method: DescMethod, json: boolean, random: Random, notes: string[]): Buffer {
  const message = requestMessage(method, random);
  const bytes = json ? Buffer.from(jsonOf(method, message)) : Buffer.from(toBinary(method.input, message));
  if (random.chance(0.4)) return bytes;
  if (json && random.chance(0.85)) {
    notes.push("json changed");
    return Buffer.from(mutateJson(bytes.toString(), random));
  }
  if (!json && random.chance(0.3)) {
    notes.push("strange fields");
    return withStrangeFields(bytes, random);
  }
  notes.push("bytes changed");
  return mutateBytes(bytes, random);
}

function jsonOf(method: DescMethod, message: MessageShape<DescMethod["input"]>): string {
  try {
    return toJsonString(method.input, message);
  } catch {
    // A random message may hold what proto3 JSON can't say.
    return "{}";
  }
}

function asGet(draft: Draft, message: Buffer, json: boolean, random: Random): Draft {
  draft.httpMethod = "GET";
  draft.notes.push("get");
  const query = new URLSearchParams({ connect: random.pick(["v1", "v1", "v2"]), encoding: json ? "json" : "proto" });
  const compression = random.chance(0.2) ? random.pick(["gzip", "br", "identity"]) : undefined;
  const bytes = compression === "gzip" && random.chance(0.8) ? gzipSync(message) : message;
  if (compression !== undefined) query.set("compression", compression);
  if (!json || compression !== undefined || random.chance(0.3)) {
    query.set("base64", "1");
    query.set("message", random.chance(0.8) ? bytes.toString("base64url") : bytes.toString("latin1").slice(0, 500));
  } else query.set("message", message.toString().slice(0, 4_000));
  if (random.chance(0.1)) query.delete(random.pick([...query.keys()]));
  draft.target += `?${query}`;
  return draft;
}

/** Compresses a body, rightly or wrongly. */
export function compressBody(draft: Draft, header: string, random: Random): void {
  const encoding = random.pick(["gzip", "gzip", "gzip", "br", "deflate"]);
  draft.headers[header] = encoding;
  draft.notes.push(`${header}: ${encoding}`);
  if (random.chance(0.01)) {
    draft.notes.push("bomb");
    draft.body = bomb();
  } else if (random.chance(0.85)) {
    draft.body = { gzip: gzipSync, br: fastBrotli, deflate: deflateSync }[encoding as "gzip"](draft.body);
  }
  if (random.chance(0.3))
    draft.body = random.chance(0.5) ? mutateBytes(draft.body, random) : draft.body.subarray(0, -3);
}

const fastBrotli = (bytes: Buffer) => brotliCompressSync(bytes, { params: {} });

let bombBytes: Buffer | undefined;

/** 68 KB that become 70 MB, which is above the limit. */
function bomb(): Buffer {
  bombBytes ??= gzipSync(Buffer.alloc(70_000_000, 0x20), { level: 9 });
  return bombBytes;
}

/** A message with its five bytes of flags and length, right or wrong. */
function envelope(payload: Buffer, compressed: boolean, random: Random, notes: string[]): Buffer {
  let flags = 0;
  let bytes = payload;
  if (compressed && random.chance(0.8)) {
    flags = 1;
    bytes = random.chance(0.01) ? bomb() : random.chance(0.9) ? gzipSync(payload) : payload;
    if (random.chance(0.2)) bytes = random.chance(0.5) ? mutateBytes(bytes, random) : bytes.subarray(0, -3);
  }
  if (random.chance(0.05)) flags = random.pick([1, 2, 3, 4, 0x80, 0x81, 0xff]);
  let length = bytes.length;
  if (random.chance(0.05)) {
    length = random.pick([0, length + 1, Math.max(0, length - 1), 2 ** 24, 2 ** 26, 2 ** 26 + 1, 2 ** 31, 2 ** 32 - 1]);
    notes.push(`length ${length} for ${bytes.length}`);
  }
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(length, 1);
  if (flags !== 0) notes.push(`flags ${flags}`);
  return Buffer.concat([head, bytes]);
}
