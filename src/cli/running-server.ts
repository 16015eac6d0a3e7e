import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { ModelService } from "../../gen/loqui/v1/model_pb.ts";
import type { Settings } from "../config/settings.ts";
import { CommandError } from "./command-error.ts";

/** A server that may run with these settings, at its HOST:PORT. */
export interface RunningServer {
  readonly transport: Transport;
  /**
   * Whether a loqui answers there and knows the model, else its own words about
   * the name; false where none answers within a second. Throws a CommandError
   * where one does, but not to us.
   */
  knows(model: string): Promise<boolean | string>;
}

const askMs = 1_000;

/** How the server of these settings is spoken to. Throws a CommandError for a certificate that can't be read. */
export async function runningServer({ host, port, tls }: Settings): Promise<RunningServer> {
  const scheme = tls === undefined ? "http" : "https";
  const url = `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const nodeOptions = tls === undefined ? {} : trustOnly(await readCertificate(tls.certFile));
  const transport = createConnectTransport({ baseUrl: url, httpVersion: "1.1", nodeOptions });
  return {
    transport,
    async knows(model) {
      try {
        await createClient(ModelService, transport).getModel({ model }, { headers: authorization(), timeoutMs: askMs });
        return true;
      } catch (reason) {
        const error = ConnectError.from(reason);
        const fault = tlsFault(error, tls?.clientCaFile !== undefined);
        if (fault !== undefined) throw new CommandError(`the server at ${url} can't be trusted: ${fault}`);
        // Another kind of server has no such details.
        const [detail] = error.findDetails(ErrorDetailSchema);
        if (detail === undefined) return false;
        if (error.code === Code.NotFound) return error.rawMessage;
        if (error.code === Code.Unauthenticated) {
          throw new CommandError(`the server at ${url} asks for an API key: set LOQUI_API_KEYS to one that it knows`);
        }
        throw new CommandError(`the server at ${url} refuses: ${error.rawMessage}`);
      }
    },
  };
}

/** The first key of LOQUI_API_KEYS: what a server with the same environment accepts. */
export function authorization(): Record<string, string> {
  const [key = ""] = (process.env.LOQUI_API_KEYS ?? "").split(",");
  return key.trim() === "" ? {} : { authorization: `Bearer ${key.trim()}` };
}

async function readCertificate(path: string): Promise<X509Certificate> {
  try {
    return new X509Certificate(await readFile(path));
  } catch (error) {
    throw new CommandError(`LOQUI_TLS_CERT: ${path}: ${(error as Error).message}`);
  }
}

/**
 * Options of `node:https` that take this certificate and no other. Who issued it
 * and for which names doesn't matter: the server's own file says that it is the one.
 */
function trustOnly(certificate: X509Certificate) {
  const { fingerprint256 } = certificate;
  return {
    ca: certificate.toString(),
    allowPartialTrustChain: true,
    checkServerIdentity: (_: string, peer: { readonly fingerprint256: string }) =>
      peer.fingerprint256 === fingerprint256 ? undefined : otherCertificate(),
  };
}

function otherCertificate(): Error {
  return Object.assign(new Error("its certificate is not that of LOQUI_TLS_CERT"), { code: "ERR_TLS_CERT_NOT_PINNED" });
}

/**
 * What is wrong with the connection's security; undefined where it is something
 * else. Over TLS 1.3 a client learns only after the handshake that it lacks a
 * certificate: by an alert or, where its request is written before that is read,
 * by an end of the connection.
 */
function tlsFault(error: unknown, mutual: boolean): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const ended = code === "EPIPE" || code === "ECONNRESET";
    if (code === "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED" || (mutual && ended)) {
      return "it asks for a client's certificate, and `loqui run` has none";
    }
    if (/CERT|^ERR_(SSL|TLS)_/.test(String(code))) return message;
  }
  return undefined;
}
