import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * Which HTTP/1.1 connections are between two requests. Stands in for
 * `closeIdleConnections()`, and thus `close()`, of Node's server: those
 * destroy connections whose response has been ended but not yet sent.
 */
export interface Http1Connections {
  /** A new connection. */
  add(socket: Socket): void;
  /** A request on it, to be answered by the response. */
  begin(socket: Socket, response: ServerResponse): void;
  /** Closes the idle connections now, and each other one when its last response has been sent. */
  stop(): void;
}

export function createHttp1Connections(): Http1Connections {
  const responsesOf = new Map<Socket, number>();
  let stopping = false;

  return {
    add(socket) {
      responsesOf.set(socket, 0);
      socket.once("close", () => responsesOf.delete(socket));
    },
    begin(socket, response) {
      responsesOf.set(socket, (responsesOf.get(socket) ?? 0) + 1);
      response.once("close", () => {
        const open = responsesOf.get(socket);
        if (open === undefined) return; // the connection is closed already
        responsesOf.set(socket, open - 1);
        if (stopping && open === 1) socket.destroySoon();
      });
    },
    stop() {
      stopping = true;
      for (const [socket, open] of responsesOf) if (open === 0) socket.destroySoon();
    },
  };
}
