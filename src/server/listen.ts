import { createServer as createHttp1Server } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Session } from "node:http2";
import { type AddressInfo, Server as NetServer, type Socket } from "node:net";
import type { HttpHandler, HttpRequest, HttpResponse } from "./http.ts";
import { createHttp1Connections } from "./http1-connections.ts";
import type { ServerLimits } from "./limits.ts";
import { createSniffer } from "./sniff.ts";

/** Why the server could not listen; the message is for the person at the terminal. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  /** Node's code, e.g. `EADDRINUSE`. */
  readonly code: string;

  constructor(code: string, message: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export interface ListenOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly limits: ServerLimits;
  readonly handler: HttpHandler;
  /** Takes errors of the open port that belong to no request, e.g. EMFILE when no file descriptor is left. */
  readonly onError: (error: Error) => void;
}

/** One port that answers HTTP/1.1 and HTTP/2 without TLS. */
export interface Listener {
  /** `http://HOST:PORT`, with the port that was bound. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Connections that are open, whatever they speak. */
  connections(): Promise<number>;
  /**
   * Takes no more connections or streams (GOAWAY). Connections close when their
   * last response has been sent: at once where there is none.
   */
  stopAccepting(): void;
  /** Closes every connection, in flight or not. */
  closeAll(): void;
  /** Settles when the port is free and the last connection has closed. */
  readonly closed: Promise<void>;
}

/**
 * Opens the port. The HTTP/1.1 server is the one that listens, so that its
 * timeouts and closing work; connections that begin with the HTTP/2 preface
 * are handed to an HTTP/2 server that listens nowhere. Rejects with a
 * {@link ListenError}.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { limits } = options;
  const http1 = createHttp1Server({
    noDelay: true,
    // Finds peers that vanished without a word while a response is being computed.
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // How often Node looks; its default of 30 s would stretch every timeout by as much.
    connectionsCheckingInterval: Math.min(5_000, limits.headersTimeoutMs),
  });
  const http2 = createHttp2Server({
    settings: {
      initialWindowSize: limits.streamWindowBytes,
      maxConcurrentStreams: limits.maxConcurrentStreams,
      maxHeaderListSize: limits.maxHeaderBytes,
    },
    // In MB; the default of 10 refuses streams (ENHANCE_YOUR_CALM) when a few large responses wait: grpc-node#1666.
    maxSessionMemory: 64,
  });

  const connections = createHttp1Connections();
  http1.prependListener("request", (request, response) => connections.begin(request.socket, response));
  http1.prependListener("checkContinue", (request, response) => connections.begin(request.socket, response));
  for (const server of [http1, http2]) {
    server.on("request", options.handler);
    server.on("checkContinue", (request: HttpRequest, response: HttpResponse) => {
      // Without the interim response the handler's refusal, by Content-Length, comes before the body.
      if (Number(request.headers["content-length"] ?? 0) <= limits.maxRequestBytes) response.writeContinue();
      else if (request.httpVersionMajor === 1) response.setHeader("connection", "close");
      options.handler(request, response);
    });
  }

  const sessions = new Set<ServerHttp2Session>();
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    // The stream window alone leaves the connection's at 64 KiB: nodejs/node#31084.
    session.setLocalWindowSize(limits.connectionWindowBytes);
  });

  const [acceptHttp1] = http1.listeners("connection") as ((this: unknown, socket: Socket) => void)[];
  if (acceptHttp1 === undefined) throw new Error("the HTTP server has no connection listener");
  const sniffer = createSniffer(limits.firstByteTimeoutMs, (socket, version) => {
    if (version === "http2") {
      // Node's server opens sockets that may be half open. On HTTP/2 a client that ended its side has left, with all its streams.
      socket.allowHalfOpen = false;
      http2.emit("connection", socket);
    } else {
      connections.add(socket);
      acceptHttp1.call(http1, socket);
    }
  });
  http1.removeAllListeners("connection");
  http1.on("connection", sniffer.sniff);

  await new Promise<void>((resolve, reject) => {
    const fail = (error: unknown) => reject(listenError(error as NodeJS.ErrnoException, options));
    http1.once("error", fail);
    try {
      http1.listen(options.port, options.host, resolve);
    } catch (error) {
      fail(error);
    }
  });
  http1.removeAllListeners("error").on("error", options.onError);
  const { port } = http1.address() as AddressInfo;
  const closed = new Promise<void>((resolve) => http1.once("close", resolve));

  return {
    url: `http://${options.host.includes(":") ? `[${options.host}]` : options.host}:${port}`,
    host: options.host,
    port,
    closed,
    connections: () => new Promise((resolve) => http1.getConnections((_, count) => resolve(count ?? 0))),
    stopAccepting() {
      // Not http1.close(): see createHttp1Connections.
      NetServer.prototype.close.call(http1);
      sniffer.closeUndecided();
      connections.stop();
      for (const session of sessions) session.close();
    },
    closeAll() {
      sniffer.closeUndecided();
      http1.close();
      http1.closeAllConnections();
      for (const session of sessions) session.destroy();
    },
  };
}

function listenError(error: NodeJS.ErrnoException, { host, port }: ListenOptions): ListenError {
  const code = error.code ?? "UNKNOWN";
  return new ListenError(code, listenMessage(code, host, port, error.message), error);
}

function listenMessage(code: string, host: string, port: number, message: string): string {
  switch (code) {
    case "EADDRINUSE":
      return `port ${port} on ${host} is taken: stop the program that listens there, or choose another port`;
    case "EACCES":
      return `port ${port} on ${host} needs privileges that this process does not have: choose a port above 1023`;
    case "EADDRNOTAVAIL":
      return `${host} is not an address of this machine`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `host ${host} has no address`;
    default:
      return `can't listen on ${host}, port ${port}: ${message}`;
  }
}
