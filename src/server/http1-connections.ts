import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { ConnectionRejectReason, RejectSink } from "../telemetry/rejections.ts";

/**
 * What is open on each HTTP/1.1 connection. Stands in for two things of Node's
 * server: `closeIdleConnections()`, and thus `close()`, which destroy
 * connections whose response has been ended but not yet sent; and its answer to
 * a request that can't be parsed, which overtakes the responses of those before
 * it on the connection, so that their client would take it for theirs.
 */
export interface Http1Connections {
  /** A new connection. */
  add(socket: Socket): void;
  /** A request on it, to be answered by the response; false where it must not be: see `maxOpen`. */
  begin(request: IncomingMessage, response: ServerResponse): boolean;
  /** What came on the connection is no HTTP, or took too long: answered in its turn, then the connection is closed. */
  fail(socket: Socket, error: NodeJS.ErrnoException): void;
  /** Closes the idle connections now, and each other one when its last response has been sent. */
  stop(): void;
}

interface Connection {
  /** Requests whose response has not been sent, in their order. */
  readonly open: Map<ServerResponse, IncomingMessage>;
  /** The status that the connection ends with, once those before it are answered. */
  failure?: number;
}

/** `maxOpen`: requests that a client may send without waiting for their responses. */
export function createHttp1Connections(maxOpen: number, onRejected: RejectSink): Http1Connections {
  const connections = new Map<Socket, Connection>();
  let stopping = false;

  /** Does what is due once a response has been sent, or when there is none to wait for. */
  function proceed(socket: Socket, { open, failure }: Connection): void {
    if (failure === undefined) {
      if (stopping && open.size === 0) socket.destroySoon();
      return;
    }
    // The request that failed is the last, where its header was whole. It gets the error for its response.
    const [first, second] = open;
    if (second !== undefined || first?.[1].complete === true) return;
    if (first?.[0].headersSent) socket.destroy();
    else endWith(socket, failure);
  }

  return {
    add(socket) {
      connections.set(socket, { open: new Map() });
      socket.once("close", () => connections.delete(socket));
    },
    begin(request, response) {
      const { socket } = request;
      const connection = connections.get(socket);
      if (connection === undefined || connection.failure !== undefined) return false;
      if (connection.open.size >= maxOpen) {
        // After those before it; a client sends those behind it again (RFC 9112, section 9.3.2).
        onRejected("pipelining_limit");
        connection.failure = 503;
        return false;
      }
      connection.open.set(response, request);
      response.once("close", () => {
        if (connection.open.delete(response) && connections.has(socket)) proceed(socket, connection);
      });
      return true;
    },
    fail(socket, error) {
      const connection = connections.get(socket);
      if (connection === undefined || error.code === "ECONNRESET" || !socket.writable) {
        socket.destroy();
        return;
      }
      if (connection.failure !== undefined) return;
      const [status, reason] = statusOf(error);
      onRejected(reason);
      connection.failure = status;
      proceed(socket, connection);
    },
    stop() {
      stopping = true;
      for (const [socket, connection] of connections) proceed(socket, connection);
    },
  };
}

/** The statuses are those of Node's own answer. */
function statusOf({ code }: NodeJS.ErrnoException): [status: number, reason: ConnectionRejectReason] {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return [431, "header_too_large"];
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return [413, "bad_http"];
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return [408, "request_timeout"];
    default:
      return [400, "bad_http"];
  }
}

function endWith(socket: Socket, status: number): void {
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  socket.destroySoon();
}
