import type { DescMethod } from "@bufbuild/protobuf";
import { jsonCodec } from "../../src/codec/codec.ts";
import { createRouteTable } from "../../src/rest/routes.ts";
import { modelNames, requestMessage, restServices } from "./messages.ts";
import { mutateBytes } from "./mutate-bytes.ts";
import { mutateJson } from "./mutate-json.ts";
import type { Random } from "./random.ts";
import { compressBody, type Draft } from "./rpc-case.ts";

const { bindings } = createRouteTable(restServices);
const chatBindings = bindings.filter(({ template }) => template.source === "/v1/chat/completions");
const weightedBindings = [...bindings, ...Array.from({ length: 30 }, () => chatBindings).flat()];

const others = [
  ...[
    "/",
    "/livez",
    "/readyz",
    "/health",
    "/openapi.json",
    "/v1",
    "/v1/",
    "//",
    "/v1/models/",
    "/V1/MODELS",
    "/*",
    "*",
  ],
  ...[
    "/v1/models/../models",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/%6dodels",
    "/v1/models%00",
    "/v1/chat/completions/",
    "/?",
  ],
  ...[
    "/loqui.v1.ChatService/Nothing",
    "/loqui.v1.ChatService",
    "/metrics",
    "/favicon.ico",
    "http://x/v1/models",
    "/v1/models:x",
  ],
];
const verbs = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "M-SEARCH"];
const models = [
  ...[
    modelNames.usual,
    modelNames.small,
    "nothing",
    "a/b",
    "a%2Fb",
    "llama3.1:latest",
    "%zz",
    "%00",
    "%",
    "..",
    "%2e%2e",
  ],
  ...[
    "hello:load",
    "hello:nothing",
    ":load",
    "h%65llo",
    "hello%20",
    "%F0%9F%98%80",
    "%ff",
    "x".repeat(600),
    "a//b",
    "hello/",
  ],
  ...["constructor", "__proto__", "hello?x", "hello%3Aload", "%25"],
];

/** A request by REST: an endpoint of the schema, a probe, or a path that leads nowhere. */
export function restDraft(random: Random): Draft {
  const draft: Draft = {
    transport: random.chance(0.5) ? "http1" : "http2",
    httpMethod: "GET",
    target: "/",
    headers: {},
    body: Buffer.alloc(0),
    notes: [],
  };
  if (random.chance(0.06)) {
    draft.target = random.pick(others);
    if (random.chance(0.4)) draft.httpMethod = random.pick(verbs);
    draft.notes.push(`rest ${draft.target}`);
    return draft;
  }
  const binding = random.pick(weightedBindings);
  const target = random.pick(binding.targets);
  draft.httpMethod = binding.httpMethod;
  draft.notes.push(`rest ${target.method.name}`);
  // Whom the others talk to must stay loaded.
  const named = target.method.name === "UnloadModel" ? models.filter((name) => !name.startsWith("h")) : models;
  draft.target = binding.template.source.replace(/\{[^}]*\}/, () => random.pick(named));
  if (random.chance(0.7)) draft.headers["x-request-timeout"] = "5";
  if (target.method.name === "WatchModels") draft.leaveAfterMs = 100;

  const text = jsonOf(target.method, random);
  if (binding.body === "") {
    if (random.chance(0.6)) draft.target += `?${queryOf(text, random)}`;
    if (random.chance(0.1)) {
      draft.body = Buffer.from(text);
      draft.headers["content-type"] = "application/json";
    }
  } else if (target.multipart && random.chance(0.7)) multipartBody(draft, text, random);
  else jsonBody(draft, withFlag(text, target.method, random), random);
  if (random.chance(0.05)) draft.httpMethod = random.pick(verbs);
  if (random.chance(0.05)) draft.target = mutateTarget(draft.target, random);
  if (random.chance(0.08)) compressBody(draft, "content-encoding", random);
  return draft;
}

function jsonOf(method: DescMethod, random: Random): string {
  const message = requestMessage(method, random);
  try {
    return jsonCodec(method.input).encode(message);
  } catch {
    // A mixed message may hold what the codec can't print.
    return "{}";
  }
}

/** Sets the member that selects a streaming variant. */
function withFlag(text: string, method: DescMethod, random: Random): string {
  if (method.methodKind !== "server_streaming" || random.chance(0.05)) return text;
  const [name, value] = method.name.includes("Speech") ? ["stream_format", '"sse"'] : ["stream", "true"];
  return text === "{}" ? `{"${name}":${value}}` : `{"${name}":${value},${text.slice(1)}`;
}

function jsonBody(draft: Draft, text: string, random: Random): void {
  draft.headers["content-type"] = random.chance(0.95) ? "application/json" : "application/json; charset=utf-8";
  draft.body = Buffer.from(text);
  if (random.chance(0.35)) return;
  if (random.chance(0.85)) {
    draft.notes.push("json changed");
    draft.body = Buffer.from(mutateJson(text, random));
  } else {
    draft.notes.push("bytes changed");
    draft.body = mutateBytes(draft.body, random);
  }
}

function multipartBody(draft: Draft, text: string, random: Random): void {
  const boundary = random.pick(["x", "----loquiFuzz", "a b", "'()+_,-./:=?"]);
  const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
  const parts = entries.flatMap(([name, value]) => {
    if (name === "file") return [];
    const content = typeof value === "string" ? value : JSON.stringify(value);
    return [part(name, content, random)];
  });
  const file = Buffer.alloc(random.pick([0, 1, 44, 3_000]), 0x52);
  if (random.chance(0.85)) parts.splice(random.int(parts.length + 1), 0, filePart(file, random));
  if (random.chance(0.02)) for (let i = 0; i < 300; i++) parts.push(part("temperature", "0", random));
  if (random.chance(0.02)) parts.push(part("prompt", "x".repeat((1 << 20) + 1), random));
  const body = parts.flatMap((bytes) => [Buffer.from(`--${boundary}\r\n`), bytes, Buffer.from("\r\n")]);
  draft.body = Buffer.concat([...body, Buffer.from(random.chance(0.95) ? `--${boundary}--\r\n` : `--${boundary}`)]);
  draft.headers["content-type"] =
    `multipart/form-data; boundary=${random.chance(0.9) ? JSON.stringify(boundary) : boundary}`;
  draft.notes.push("multipart");
  if (random.chance(0.3)) draft.body = mutateBytes(draft.body, random);
}

function part(name: string, content: string, random: Random): Buffer {
  const shown = random.chance(0.95)
    ? name
    : random.pick(["", "__proto__", "zz", "a[b]", "stream", "é", 'a"b', `${name}[]`]);
  const value = random.chance(0.85) ? content : random.pick(["", "x", "{}", "[", "1e400", "true", "null", "\0", "-1"]);
  const type = random.chance(0.05)
    ? `\r\ncontent-type: ${random.pick(["application/json", "text/plain; charset=utf-16", "/"])}`
    : "";
  return Buffer.from(`content-disposition: form-data; name="${shown}"${type}\r\n\r\n${value}`);
}

function filePart(content: Buffer, random: Random): Buffer {
  const name = random.pick(["file", "file", "file", "model", "zz"]);
  const filename = random.pick(["a.wav", "", "../../x", "é.wav", "\u202e", "x".repeat(2_000)]);
  const head = `content-disposition: form-data; name="${name}"; filename="${filename}"\r\ncontent-type: audio/wav`;
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`), content]);
}

function queryOf(text: string, random: Random): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(JSON.parse(text) as Record<string, unknown>)) {
    if (name === "model") continue;
    parameters.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  const extras = [
    "state=all",
    "state=robot",
    "type=chat",
    "type=",
    "force=true",
    "force=1",
    "force=x",
    "a.b.c=1",
    "__proto__=1",
  ];
  if (random.chance(0.5)) parameters.append(...(random.pick(extras).split("=") as [string, string]));
  const query = parameters.toString().slice(0, 4_000);
  return random.chance(0.2)
    ? `${query}&${random.pick(["%", "%zz", "&&&", "=", "a=b=c", "%00=%ff", "state[]=all", "#x", "?"])}`
    : query;
}

/** The target with bytes changed, still one that a request line can hold. */
function mutateTarget(target: string, random: Random): string {
  const changed = mutateBytes(Buffer.from(target), random).toString("latin1");
  const safe = changed.replace(
    /[^\x21-\x7e]/g,
    (character) => `%${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return safe.startsWith("/") ? safe : `/${safe}`;
}
