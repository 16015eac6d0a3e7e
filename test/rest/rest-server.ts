import { once } from "node:events";
import { createServer, request as requestHttp1 } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server, type OutgoingHttpHeaders } from "node:http2";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { LoquiError } from "../../src/errors.ts";
import type { RequestRecord } from "../../src/request-context.ts";
import { createRestHandler, type FailedRequest, type RestHandler, type RestOptions } from "../../src/rest/handler.ts";
import { createDispatcher } from "../../src/services/dispatcher.ts";
import type { ServiceImplementation } from "../../src/services/handlers.ts";

export type HttpVersion = "HTTP/1.1" | "HTTP/2";

export interface RestServerOptions extends Omit<RestOptions, "dispatcher" | "onError"> {
  readonly implementations: readonly ServiceImplementation[];
  readonly maxTimeoutMs?: number;
}

/** A REST handler behind two real servers, one for each HTTP version. */
export interface RestServer extends AsyncDisposable {
  readonly ports: Readonly<Record<HttpVersion, number>>;
  readonly handler: RestHandler;
  /** The records of the calls that have ended. */
  readonly records: RequestRecord[];
  /** The errors that requests have ended with. */
  readonly failures: { readonly error: LoquiError; readonly request: FailedRequest }[];
  /** As the server's shutdown does it. */
  shutDown(reason: LoquiError): void;
}

export async function startRestServer(options: RestServerOptions): Promise<RestServer> {
  const { implementations, maxTimeoutMs = 60_000, ...rest } = options;
  const shutdown = new AbortController();
  const records: RequestRecord[] = [];
  const failures: RestServer["failures"] = [];
  const dispatcher = createDispatcher({
    services: implementations,
    maxTimeoutMs,
    shutdownSignal: shutdown.signal,
    onRecord: (record) => records.push(record),
  });
  const handler = createRestHandler({
    dispatcher,
    ...rest,
    onError: (error, request) => failures.push({ error, request }),
  });
  const http1 = createServer(handler);
  const http2 = createHttp2Server(handler);
  const sockets = new Set<Socket>();
  for (const server of [http1, http2]) {
    server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  const portOf = (server: typeof http1 | typeof http2) => (server.address() as AddressInfo).port;
  return {
    ports: { "HTTP/1.1": portOf(http1), "HTTP/2": portOf(http2) },
    handler,
    records,
    failures,
    shutDown: (reason) => shutdown.abort(reason),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await Promise.all([http1, http2].map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

export interface TestRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON where it is neither text nor bytes. */
  readonly body?: unknown;
  /** Leaves Content-Length away. */
  readonly chunked?: boolean;
}

export interface TestResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** What has arrived so far. */
  body(): Buffer;
  text(): string;
  json(): unknown;
  /** Resolves when the text so far passes, with it; rejects when the response ends before. */
  until(seen: (text: string) => boolean): Promise<string>;
  /** Resolves when the response has ended: `complete`, or broken off. */
  readonly ended: Promise<"complete" | "broken">;
  /** Hangs up. */
  leave(): void;
  pause(): void;
  resume(): void;
}

/** Sends a request and resolves when the response's header is there. */
export async function open(server: RestServer, version: HttpVersion, request: TestRequest): Promise<TestResponse> {
  const bytes = bodyBytes(request.body);
  const headers: Record<string, string> = {
    ...(request.body !== undefined && !isText(request.body) && { "content-type": "application/json" }),
    ...(bytes !== undefined && request.chunked !== true && { "content-length": String(bytes.length) }),
    ...request.headers,
  };
  const method = request.method ?? (bytes === undefined ? "GET" : "POST");
  const port = server.ports[version];
  return version === "HTTP/1.1"
    ? openHttp1(port, method, request.path, headers, bytes)
    : openHttp2(port, method, request.path, headers, bytes);
}

/** Sends a request and resolves when the whole response is there. */
export async function ask(server: RestServer, version: HttpVersion, request: TestRequest): Promise<TestResponse> {
  const response = await open(server, version, request);
  const end = await response.ended;
  if (end !== "complete") throw new Error(`the response was broken off after ${JSON.stringify(response.text())}`);
  return response;
}

/** Sends raw bytes over HTTP/1.1 and gives back all that comes until the server closes. */
export async function raw(server: RestServer, ...pieces: (string | Buffer)[]): Promise<string> {
  const socket = connect(server.ports["HTTP/1.1"], "127.0.0.1");
  await once(socket, "connect");
  const closed = once(socket, "close");
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await closed;
  return text;
}

function isText(body: unknown): boolean {
  return typeof body === "string" || body instanceof Uint8Array;
}

function bodyBytes(body: unknown): Buffer | undefined {
  if (body === undefined) return undefined;
  if (typeof body === "string") return Buffer.from(body);
  return body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
}

interface Incoming {
  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  on(event: "end" | "close", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

function received(
  incoming: Incoming,
  status: number,
  rawHeaders: OutgoingHttpHeaders,
  leave: () => void,
  onClose: (listener: () => void) => void,
): TestResponse {
  const chunks: Buffer[] = [];
  const listeners = new Set<() => void>();
  let end: "complete" | "broken" | undefined;
  const ended = new Promise<"complete" | "broken">((resolve) => {
    const finish = (how: "complete" | "broken") => {
      end ??= how;
      resolve(end);
      for (const listener of listeners) listener();
    };
    incoming.on("end", () => finish("complete"));
    incoming.on("error", () => finish("broken"));
    onClose(() => finish("broken"));
  });
  incoming.on("data", (chunk) => {
    chunks.push(chunk);
    for (const listener of listeners) listener();
  });
  const body = () => Buffer.concat(chunks);
  const headers = Object.fromEntries(
    Object.entries(rawHeaders)
      .filter(([name]) => !name.startsWith(":") && name !== "date")
      .map(([name, value]) => [name, String(value)]),
  );
  return {
    status,
    headers,
    body,
    text: () => body().toString(),
    json: () => JSON.parse(body().toString()),
    until: (seen) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const text = body().toString();
          if (seen(text)) resolve(text);
          else if (end !== undefined) reject(new Error(`the response ended with ${JSON.stringify(text)}`));
          else return;
          listeners.delete(look);
        };
        listeners.add(look);
        look();
      }),
    ended,
    leave,
    pause: () => incoming.pause(),
    resume: () => incoming.resume(),
  };
}

function openHttp1(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string>,
  body: Buffer | undefined,
): Promise<TestResponse> {
  return new Promise((resolve, reject) => {
    const request = requestHttp1({ port, host: "127.0.0.1", method, path, headers, agent: false });
    request.on("error", reject);
    request.on("response", (response) => {
      response.on("error", () => {});
      resolve(
        received(
          response,
          response.statusCode ?? 0,
          response.headers as OutgoingHttpHeaders,
          () => request.destroy(),
          (listener) => response.on("close", listener),
        ),
      );
    });
    if (body !== undefined) request.write(body);
    request.end();
  });
}

function openHttp2(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string>,
  body: Buffer | undefined,
): Promise<TestResponse> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on("error", reject);
    const stream = session.request({ ":method": method, ":path": path, ...headers }, { endStream: body === undefined });
    stream.on("error", reject);
    stream.on("close", () => session.close());
    stream.on("response", (responseHeaders) => {
      resolve(
        received(
          stream,
          Number(responseHeaders[":status"]),
          responseHeaders as OutgoingHttpHeaders,
          () => stream.close(8),
          (listener) => stream.on("close", listener),
        ),
      );
    });
    if (body !== undefined) {
      stream.write(body);
      stream.end();
    }
  });
}
