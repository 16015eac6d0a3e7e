import { createServer as createHttp1Server, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, Server as NetServer, type Socket } from "node:net";
import type { Logger } from "../telemetry/log.ts";
import type { RejectSink } from "../telemetry/rejections.ts";
import { affordableConnections, fileLimit } from "./file-limit.ts";
import { announcesBody, type HttpHandler, type HttpRequest, type HttpResponse, onBodyWanted } from "./http.ts";
import { createHttp1Connections } from "./http1-connections.ts";
import { createHttp2Sessions } from "./http2-sessions.ts";
import type { ServerLimits } from "./limits.ts";
import { listenError } from "./listen-error.ts";
import { createRate } from "./rate.ts";
import { refuseHeader } from "./request-header.ts";
import { createSniffer } from "./sniff.ts";
import { createTlsTermination } from "./tls.ts";
import type { TlsFiles } from "./tls-files.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly limits: ServerLimits;
  /** With these the port speaks TLS only. */
  readonly tls?: TlsFiles | undefined;
  readonly handler: HttpHandler;
  readonly onRejected: RejectSink;
  readonly log: Logger;
}

/** One port that answers HTTP/1.1 and HTTP/2, both with TLS or both without. */
export interface Listener {
  /** `http://HOST:PORT` or `https://HOST:PORT`, with the port that was bound. */
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
 * timeouts and closing work; connections that begin with the HTTP/2 preface, or
 * agreed on `h2` in their TLS handshake, are handed to an HTTP/2 server that
 * listens nowhere. Rejects with a ListenError.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { limits, log, onRejected } = options;
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
  // Counted in refuseHeader: Node would leave out what is above, and go on.
  http1.maxHeadersCount = 0;
  http1.maxConnections = maxConnections(limits, log);
  const http2 = createHttp2Server({
    settings: {
      initialWindowSize: limits.streamWindowBytes,
      maxConcurrentStreams: limits.maxConcurrentStreams,
      maxHeaderListSize: limits.maxHeaderBytes,
    },
    // Node resets a stream with more. Those between are told why, in refuseHeader.
    maxHeaderListPairs: 2 * limits.maxHeaderFields,
    // In MB; the default of 10 refuses streams (ENHANCE_YOUR_CALM) when a few large responses wait: grpc-node#1666.
    maxSessionMemory: 64,
    // Behind the limit of Http2Sessions, which comes first and says ENHANCE_YOUR_CALM.
    streamResetBurst: 20 * limits.http2ResetsPerSecond,
    streamResetRate: 2 * limits.http2ResetsPerSecond,
  });

  const connections = createHttp1Connections(limits.maxConcurrentStreams, onRejected);
  const sessions = createHttp2Sessions(limits, onRejected);
  const admit = (request: HttpRequest, response: HttpResponse): boolean =>
    ("stream" in request || connections.begin(request, response as ServerResponse<IncomingMessage>)) &&
    !refuseHeader(request, response, limits, onRejected);
  for (const server of [http1, http2]) {
    server.on("request", (request: HttpRequest, response: HttpResponse) => {
      if (admit(request, response)) options.handler(request, response);
    });
    server.on("checkContinue", (request: HttpRequest, response: HttpResponse) => {
      if (!admit(request, response)) return;
      holdContinue(request, response, limits.maxRequestBytes);
      options.handler(request, response);
    });
  }
  http1.on("clientError", (error, socket) => connections.fail(socket as Socket, error));

  const [acceptHttp1] = http1.listeners("connection") as ((this: unknown, socket: Socket) => void)[];
  if (acceptHttp1 === undefined) throw new Error("the HTTP server has no connection listener");
  let opening: Socket | undefined;
  http2.on("session", (session) => {
    if (opening !== undefined) sessions.add(session, opening);
  });
  const speakHttp1 = (socket: Socket) => {
    connections.add(socket);
    acceptHttp1.call(http1, socket);
  };
  const speakHttp2 = (socket: Socket) => {
    // Node's server opens sockets that may be half open. On HTTP/2 a client that ended its side has left, with all its streams.
    socket.allowHalfOpen = false;
    opening = socket;
    http2.emit("connection", socket);
    opening = undefined;
  };
  const sniffer = createSniffer(
    limits.firstByteTimeoutMs,
    (socket, version) => (version === "http2" ? speakHttp2 : speakHttp1)(socket),
    () => onRejected("first_byte_timeout"),
  );
  const tls =
    options.tls &&
    (await createTlsTermination({
      files: options.tls,
      handshakeTimeoutMs: limits.tlsHandshakeTimeoutMs,
      checkMs: limits.tlsCheckMs,
      log,
      accept: (socket, protocol) => (protocol === "h2" ? speakHttp2 : speakHttp1)(socket),
      onRefused: () => onRejected("tls_handshake"),
    }));

  const admitsAddress = createAddressLimit(limits.maxConnectionsPerAddress);
  http1.removeAllListeners("connection");
  http1.on("connection", (socket) => {
    if (!admitsAddress(socket)) {
      onRejected("address_limit");
      socket.destroy();
    } else if (tls === undefined) sniffer.sniff(socket);
    else tls.handshake(socket);
  });
  http1.on("drop", () => onRejected("connection_limit"));

  try {
    await new Promise<void>((resolve, reject) => {
      http1.once("error", reject);
      http1.listen(options.port, options.host, resolve);
    });
  } catch (error) {
    tls?.stop();
    throw listenError(error as NodeJS.ErrnoException, options.host, options.port);
  }
  http1.removeAllListeners("error").on("error", reportErrors(log));
  const { port } = http1.address() as AddressInfo;
  const closed = new Promise<void>((resolve) => http1.once("close", resolve));
  const authority = `${options.host.includes(":") ? `[${options.host}]` : options.host}:${port}`;

  return {
    url: `${tls === undefined ? "http" : "https"}://${authority}`,
    host: options.host,
    port,
    closed,
    connections: () => new Promise((resolve) => http1.getConnections((_, count) => resolve(count ?? 0))),
    stopAccepting() {
      // Not http1.close(): see createHttp1Connections.
      NetServer.prototype.close.call(http1);
      tls?.stop();
      sniffer.closeUndecided();
      connections.stop();
      sessions.stop();
    },
    closeAll() {
      tls?.stop();
      sniffer.closeUndecided();
      http1.close();
      http1.closeAllConnections();
      sessions.destroy();
    },
  };
}

/**
 * Has a client that waits for `100 Continue` wait until its body is wanted: a
 * request that is refused by its header, for want of a key say, gets the refusal
 * instead. Whether its client sends the body then is anybody's guess, so that
 * HTTP/1.1 closes the connection (RFC 9110, section 10.1.1).
 */
function holdContinue(request: HttpRequest, response: HttpResponse, maxBytes: number): void {
  const closes = request.httpVersionMajor === 1 && announcesBody(request);
  if (closes) response.setHeader("connection", "close");
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return;
  onBodyWanted(request, () => {
    if (response.headersSent || response.destroyed) return;
    if (closes) response.removeHeader("connection");
    response.writeContinue();
  });
}

function maxConnections({ maxConnections: wanted }: ServerLimits, log: Logger): number {
  const files = fileLimit();
  const affordable = affordableConnections(wanted, files);
  if (affordable < wanted) {
    log.warn({ wanted, connections: affordable, files }, "fewer connections than wanted: ulimit -n is too low");
  }
  return affordable;
}

/** Whether an address may have one more connection; counts it. */
function createAddressLimit(most: number): (socket: Socket) => boolean {
  const counts = new Map<string, number>();
  return (socket) => {
    const address = socket.remoteAddress;
    if (most === 0 || address === undefined) return true;
    const count = counts.get(address) ?? 0;
    if (count >= most) return false;
    counts.set(address, count + 1);
    socket.once("close", () => {
      const left = (counts.get(address) ?? 1) - 1;
      if (left === 0) counts.delete(address);
      else counts.set(address, left);
    });
    return true;
  };
}

/**
 * Errors of the open port that belong to no request, logged every 10 s at most.
 * A lack of file descriptors is seldom among them: libuv closes the connections
 * that it can't accept without a word.
 */
function reportErrors(log: Logger): (error: NodeJS.ErrnoException) => void {
  const logs = createRate(0.1, 1);
  let unlogged = 0;
  return (error) => {
    if (logs()) {
      log.error({ err: error, ...(unlogged > 0 && { unlogged }) }, "the port reports an error");
      unlogged = 0;
    } else {
      unlogged += 1;
    }
  };
}
