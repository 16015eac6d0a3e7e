import type { Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { withoutPaths } from "../error-trace.ts";
import type { Logger } from "../telemetry/log.ts";
import { checkTlsMaterial, readTlsFiles, type TlsFiles, type TlsMaterial } from "./tls-files.ts";

export interface TlsOptions {
  readonly files: TlsFiles;
  /** A client that has not finished its handshake by then is closed. */
  readonly handshakeTimeoutMs: number;
  /** How often the files are looked at. */
  readonly checkMs: number;
  readonly log: Logger;
  /** Takes each connection whose handshake is done, with the protocol agreed by ALPN, false where there was none. */
  readonly accept: (socket: TLSSocket, protocol: string | false | null) => void;
  /** Called for each connection that the handshake ended. */
  readonly onRefused: () => void;
}

/** Does the TLS handshakes of connections that another server accepted. */
export interface TlsTermination {
  readonly handshake: (socket: Socket) => void;
  /** Closes the connections that are in their handshake, and no longer looks at the files. */
  stop(): void;
}

/**
 * TLS 1.2 and 1.3 with ALPN for `h2` and `http/1.1`. Certificate, key and
 * client CA are taken anew when their files change; connections that are open
 * keep theirs. Files that can't be used are logged, and the old ones stay.
 *
 * The files are read every `checkMs` rather than watched: what tells of a
 * change differs between a rename (certbot), a swapped link in the folder above
 * (Kubernetes) and a network file system, where nothing does. Rejects with a
 * ListenError that names the file.
 */
export async function createTlsTermination(options: TlsOptions): Promise<TlsTermination> {
  const { files, log } = options;
  const first = await readTlsFiles(files);
  reportExpiry(checkTlsMaterial(files, first).expires, log);

  const server = createServer({
    ...contextOf(first),
    ALPNProtocols: ["h2", "http/1.1"],
    handshakeTimeout: options.handshakeTimeoutMs,
    requestCert: files.clientCaFile !== undefined,
    rejectUnauthorized: files.clientCaFile !== undefined,
  });
  const pending = new Map<string, Socket>();
  server.on("secureConnection", (socket) => {
    pending.delete(peerOf(socket));
    options.accept(socket, socket.alpnProtocol);
  });
  server.on("tlsClientError", (error, socket) => {
    log.debug({ err: error }, "a TLS handshake failed");
    options.onRefused();
    socket.destroy();
  });

  const watch = watchTlsFiles(files, first, options.checkMs, {
    reload(material, expires) {
      server.setSecureContext(contextOf(material));
      log.info("TLS files reloaded");
      reportExpiry(expires, log);
    },
    fail: (error) =>
      log.error(
        { reason: withoutPaths(String(error), files.certFile, files.keyFile, files.clientCaFile ?? files.certFile) },
        "the new TLS files can't be used, the old ones stay",
      ),
  });

  return {
    handshake(socket) {
      const peer = peerOf(socket);
      pending.set(peer, socket);
      socket.once("close", () => {
        if (pending.get(peer) === socket) pending.delete(peer);
      });
      server.emit("connection", socket);
    },
    stop() {
      watch.stop();
      for (const socket of pending.values()) socket.destroy();
    },
  };
}

function contextOf(material: TlsMaterial) {
  return { ...material, minVersion: "TLSv1.2" as const };
}

/** Tells the connections of one port apart; the socket after the handshake is another object. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function reportExpiry(expires: Date, log: Logger): void {
  if (expires.getTime() < Date.now()) log.warn({ expires }, "the TLS certificate has expired: clients will refuse it");
}

/**
 * Looks at the files every `checkMs`. What it finds is used once two looks in a
 * row have found the same: certificate and key are written one after the other.
 */
function watchTlsFiles(
  files: TlsFiles,
  first: TlsMaterial,
  checkMs: number,
  on: { reload: (material: TlsMaterial, expires: Date) => void; fail: (error: unknown) => void },
): { stop(): void } {
  let used = textOf(first);
  let seen = used;
  let stopped = false;
  let timer = setTimeout(look, checkMs);

  async function look(): Promise<void> {
    let material: TlsMaterial | undefined;
    let failure: unknown;
    try {
      material = await readTlsFiles(files);
    } catch (error) {
      failure = error;
    }
    if (stopped) return;
    const text = material === undefined ? String(failure) : textOf(material);
    if (text === seen && text !== used) {
      used = text;
      try {
        if (material === undefined) throw failure;
        on.reload(material, checkTlsMaterial(files, material).expires);
      } catch (error) {
        on.fail(error);
      }
    }
    seen = text;
    timer = setTimeout(look, checkMs);
    timer.unref();
  }

  timer.unref();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

function textOf({ cert, key, ca }: TlsMaterial): string {
  return JSON.stringify([cert, key, ca]);
}
