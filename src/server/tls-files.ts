import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { ListenError } from "./listen-error.ts";

/** Where the certificate, its key and the CA of the clients lie, all in PEM. */
export interface TlsFiles {
  /** The server's certificate, then those between it and the CA that clients know. */
  readonly certFile: string;
  /** The private key of the first certificate, not encrypted. */
  readonly keyFile: string;
  /** Clients must show a certificate of one of these CAs (mutual TLS). Default: they need none. */
  readonly clientCaFile?: string;
}

/** What the files hold, in the shape that `node:tls` takes. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** More than any chain or CA bundle has. */
const maxFileBytes = 1 << 20;

/** Reads the files, unchecked. Rejects with a ListenError that names the file. */
export async function readTlsFiles(files: TlsFiles): Promise<TlsMaterial> {
  const [cert, key, ca] = await Promise.all([
    readPem(files.certFile),
    readPem(files.keyFile),
    files.clientCaFile === undefined ? undefined : readPem(files.clientCaFile),
  ]);
  return { cert, key, ...(ca !== undefined && { ca }) };
}

/**
 * Checks that the certificates and the key can be read and belong together, and
 * gives back the time at which the first of the server's chain expires. Throws
 * a ListenError that names the file and what is wrong with it.
 */
export function checkTlsMaterial(files: TlsFiles, { cert, key, ca }: TlsMaterial): { readonly expires: Date } {
  const chain = certificatesOf(files.certFile, cert);
  const privateKey = keyOf(files.keyFile, key);
  const [own] = chain;
  if (!own?.checkPrivateKey(privateKey)) {
    throw tlsError(`the key in ${files.keyFile} does not belong to the first certificate in ${files.certFile}`);
  }
  if (ca !== undefined && files.clientCaFile !== undefined) {
    for (const certificate of certificatesOf(files.clientCaFile, ca)) {
      // A client's own certificate stands for itself where it is self-signed.
      if (!certificate.ca && !certificate.verify(certificate.publicKey)) {
        throw tlsError(`${files.clientCaFile}: ${certificate.subject} is not a CA's certificate`);
      }
    }
  }
  try {
    createSecureContext({ cert, key, ...(ca !== undefined && { ca }) });
  } catch (error) {
    throw tlsError(`${files.certFile}: ${(error as Error).message}`, error);
  }
  return { expires: new Date(Math.min(...chain.map((certificate) => Date.parse(certificate.validTo)))) };
}

async function readPem(path: string): Promise<string> {
  try {
    const { size, isFile } = await stat(path).then((found) => ({ size: found.size, isFile: found.isFile() }));
    if (!isFile) throw tlsError(`${path} is not a file`);
    if (size > maxFileBytes)
      throw tlsError(`${path} has ${size} bytes: no certificate or key has over ${maxFileBytes}`);
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof ListenError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const reasons: Record<string, string> = { ENOENT: "no such file", EACCES: "this process may not read it" };
    throw tlsError(`${path}: ${reasons[code ?? ""] ?? message}`, error);
  }
}

function certificatesOf(path: string, pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw tlsError(`${path} holds no certificate in PEM`);
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw tlsError(`${path}: certificate ${index + 1} can't be read: ${(error as Error).message}`, error);
    }
  });
}

function keyOf(path: string, pem: string): KeyObject {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw tlsError(`${path} holds no private key in PEM`);
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(pem)) {
    throw tlsError(`${path}: the private key is encrypted; loqui takes no passphrase`);
  }
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw tlsError(`${path}: the private key can't be read: ${(error as Error).message}`, error);
  }
}

function tlsError(message: string, cause?: unknown): ListenError {
  return new ListenError("ERR_TLS_FILES", `TLS: ${message}`, cause);
}
