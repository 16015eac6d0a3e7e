import type { Socket } from "node:net";

const preface = Buffer.from("PRI * HTTP/2.0\r\n");

/** What a new connection turned out to speak. */
export type HttpVersion = "http1" | "http2";

/**
 * Tells HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes of a
 * connection (RFC 9113, section 3.4). One that says too little within the time
 * is closed. `Upgrade: h2c` is not supported: RFC 9113 has dropped it.
 */
export interface Sniffer {
  /** Takes a fresh socket; calls `accept` once, with all bytes back in the socket. */
  readonly sniff: (socket: Socket) => void;
  /** Closes the connections that have not said anything yet. */
  readonly closeUndecided: () => void;
}

export function createSniffer(
  timeoutMs: number,
  accept: (socket: Socket, version: HttpVersion) => void,
  onTimeout: () => void,
): Sniffer {
  const undecided = new Set<Socket>();

  function sniff(socket: Socket): void {
    let seen: Buffer = Buffer.alloc(0);
    const timer = setTimeout(() => {
      onTimeout();
      socket.destroy();
    }, timeoutMs);
    undecided.add(socket);

    function release(): void {
      clearTimeout(timer);
      undecided.delete(socket);
      socket.off("readable", read).off("end", destroy).off("error", destroy).off("close", release);
    }

    function destroy(): void {
      socket.destroy();
    }

    function read(): void {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const length = Math.min(seen.length, preface.length);
      const matches = seen.compare(preface, 0, length, 0, length) === 0;
      if (matches && length < preface.length) return;
      release();
      socket.unshift(seen);
      accept(socket, matches ? "http2" : "http1");
    }

    socket.on("readable", read).on("end", destroy).on("error", destroy).on("close", release);
  }

  return {
    sniff,
    closeUndecided: () => {
      for (const socket of undecided) socket.destroy();
    },
  };
}
