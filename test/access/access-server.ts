import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import type { Metadata } from "@grpc/grpc-js";
import OpenAI, { APIError } from "openai";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { type ApiKey, createKeyRing, hashKey, type KeyRing } from "../../src/access/keys.ts";
import type { RateLimit } from "../../src/access/rate-limits.ts";
import type { Scope } from "../../src/access/scopes.ts";
import { createRestHandler } from "../../src/rest/handler.ts";
import type { ServerOptions } from "../../src/server/server.ts";
import { detailOf, grpcError, grpcJsClient } from "../server/grpc-js-client.ts";
import { chatRequest, startTestServer, type TestServer } from "../server/test-server.ts";

/** The text of the test key of this name. */
export const plainKey = (id: string) => `loqui_test-key-of-${id}`;

export function testKey(id: string, scopes: readonly Scope[] = ["inference"], limit: RateLimit = {}): ApiKey {
  return { id, hash: hashKey(plainKey(id)), scopes: new Set(scopes), tenant: `tenant-${id}`, ...limit };
}

/** A server that asks for these keys, REST included; nothing but its own address may be asked for. */
export async function startAccessServer(
  keys: readonly ApiKey[] | undefined,
  options: Partial<ServerOptions> = {},
): Promise<TestServer & { ring: KeyRing | undefined }> {
  const ring = keys && createKeyRing(keys);
  const server = await startTestServer({
    ...(ring && { keys: ring }),
    allowedHosts: [],
    rest: (dispatcher, limits, admit) =>
      createRestHandler({
        dispatcher,
        admit,
        limits: { bodyBytes: limits.maxRequestBytes },
        onError: (error, { dispatched }) => dispatched || options.onRejected?.(error.kind, "rest"),
      }),
    ...options,
  });
  return Object.assign(server, { ring });
}

/** How a call ended, in terms that all protocols share. */
export interface Outcome {
  /** gRPC's status code; 0 where it succeeded. */
  readonly code: number;
  /** The HTTP status, where the protocol has one. */
  readonly http?: number;
  /** OpenAI's code, or the kind of the error. */
  readonly kind?: string;
  readonly message?: string;
  /** Headers of the response, or gRPC's metadata. */
  readonly header: (name: string) => string | undefined;
}

export type Headers = Readonly<Record<string, string>>;
type Call = (server: TestServer, headers: Headers) => Promise<Outcome>;

/** Grpc codes of the HTTP statuses that a gate answers with. */
const codeOf: Readonly<Record<number, number>> = { 401: 16, 403: 7, 429: 8 };

async function openai(server: TestServer, headers: Headers, stream: boolean): Promise<Outcome> {
  const client = new OpenAI({
    baseURL: `${server.url}/v1`,
    apiKey: "unused",
    maxRetries: 0,
    defaultHeaders: { authorization: null, ...headers },
  });
  const messages = [{ role: "user" as const, content: "1" }];
  try {
    const request = { model: stream ? "count" : "echo", messages, stream };
    const { data, response } = await client.chat.completions.create(request).withResponse();
    if (Symbol.asyncIterator in data) for await (const _ of data);
    return { code: 0, http: response.status, header: (name) => response.headers.get(name) ?? undefined };
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const { status, code, headers: received } = error as APIError<number, globalThis.Headers>;
    return {
      code: codeOf[status] ?? Code.Unknown,
      http: status,
      kind: String(code),
      message: String((error.error as { message?: unknown }).message),
      header: (name) => received.get(name) ?? undefined,
    };
  }
}

async function connect(transport: Transport, headers: Headers, stream: boolean): Promise<Outcome> {
  const client = createClient(ChatService, transport);
  let received = new globalThis.Headers();
  const options = {
    headers,
    onHeader: (header: globalThis.Headers) => {
      received = header;
    },
  };
  try {
    if (stream) for await (const _ of client.streamChatCompletion(chatRequest("count", "1"), options));
    else await client.createChatCompletion(chatRequest("echo"), options);
    return { code: 0, header: (name) => received.get(name) ?? undefined };
  } catch (reason) {
    const error = ConnectError.from(reason);
    const kind = error.findDetails(ErrorDetailSchema)[0]?.kind;
    return {
      code: error.code,
      ...(kind !== undefined && { kind }),
      message: error.rawMessage,
      header: (name) => error.metadata.get(name) ?? received.get(name) ?? undefined,
    };
  }
}

async function grpcJs(server: TestServer, headers: Headers, stream: boolean): Promise<Outcome> {
  using client = grpcJsClient(server);
  const { createChatCompletion, streamChatCompletion } = ChatService.method;
  let received: Metadata | undefined;
  const run = async () => {
    if (!stream) {
      const onHeaders = (metadata: Metadata) => {
        received = metadata;
      };
      await client.unary(createChatCompletion, chatRequest("echo"), { metadata: headers, onHeaders });
      return;
    }
    const call = client.serverStream(streamChatCompletion, chatRequest("count", "1"), { metadata: headers });
    call.on("metadata", (metadata) => {
      received = metadata;
    });
    for await (const _ of call);
  };
  try {
    await run();
    return { code: 0, header: (name) => received?.get(name)[0]?.toString() };
  } catch (reason) {
    const error = await grpcError(Promise.reject(reason));
    const kind = detailOf(error)?.kind;
    return {
      code: error.code,
      ...(kind !== undefined && { kind }),
      message: error.details,
      header: (name) => (error.metadata.get(name)[0] ?? received?.get(name)[0])?.toString(),
    };
  }
}

const transports = {
  Connect: (server: TestServer) => createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" }),
  "Connect over HTTP/2": (server: TestServer) => createConnectTransport({ baseUrl: server.url, httpVersion: "2" }),
  "gRPC-Web": (server: TestServer) => createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1" }),
};

/** A chat completion by every protocol, unary and streaming, with real clients. */
export const calls: readonly [name: string, call: Call][] = [false, true].flatMap((stream): [string, Call][] => {
  const kind = stream ? "stream" : "unary";
  return [
    [`REST, OpenAI's SDK, ${kind}`, (server, headers) => openai(server, headers, stream)],
    ...Object.entries(transports).map(([name, transport]): [string, Call] => [
      `${name}, ${kind}`,
      (server, headers) => connect(transport(server), headers, stream),
    ]),
    [`gRPC, grpc-js, ${kind}`, (server, headers) => grpcJs(server, headers, stream)],
  ];
});

/** The path of a method by Connect and gRPC. */
export const pathOf = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;
