import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** A certificate and its private key, in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateAuthority extends Certificate {
  /** A certificate of this CA for 127.0.0.1 and localhost, for servers and clients alike. */
  issue(name: string, options?: { readonly notAfter?: Date }): Certificate;
}

const day = 86_400_000;

/**
 * Makes a CA of its own for a test: X.509 v3 (RFC 5280) with ECDSA keys, as
 * much of it as TLS clients ask for. Node signs but writes no certificates, and
 * the packages that do bring twenty more.
 */
export function createAuthority(name = "loqui test CA"): CertificateAuthority {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const self = certificate({ subject: name, issuer: name, key: privateKey, signer: privateKey, extensions: ca });
  return {
    ...self,
    issue(subject, { notAfter } = {}) {
      const { privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      return certificate({ subject, issuer: name, key, signer: privateKey, extensions: leaf, notAfter });
    },
  };
}

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}

const sequence = (...items: readonly Uint8Array[]) => der(0x30, ...items);
const oid = (hex: string) => der(6, Buffer.from(hex, "hex"));
const utcTime = (time: Date) =>
  der(
    0x17,
    Buffer.from(
      `${time
        .toISOString()
        .replace(/[-:T]|\.\d+/g, "")
        .slice(2)}`,
    ),
  );
const yes = der(1, Buffer.of(0xff));
const extension = (id: string, ...value: readonly Uint8Array[]) => sequence(oid(id), ...value);

const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"));
/** basicConstraints, keyUsage: keyCertSign. */
const ca = [extension("551d13", yes, der(4, sequence(yes))), extension("551d0f", yes, der(4, der(3, Buffer.of(2, 4))))];
/** subjectAltName: an IP address and a DNS name. */
const leaf = [
  extension("551d11", der(4, sequence(der(0x87, Buffer.of(127, 0, 0, 1)), der(0x82, Buffer.from("localhost"))))),
];

interface Contents {
  readonly subject: string;
  readonly issuer: string;
  readonly key: KeyObject;
  readonly signer: KeyObject;
  readonly extensions: readonly Uint8Array[];
  readonly notAfter?: Date | undefined;
}

function certificate({ subject, issuer, key, signer, extensions, notAfter }: Contents): Certificate {
  const nameOf = (text: string) => sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(text)))));
  const end = notAfter ?? new Date(Date.now() + 30 * day);
  const body = sequence(
    der(0xa0, der(2, Buffer.of(2))),
    der(2, Buffer.of(1), randomBytes(8)),
    ecdsaWithSha256,
    nameOf(issuer),
    sequence(utcTime(new Date(Math.min(Date.now(), end.getTime()) - day)), utcTime(end)),
    nameOf(subject),
    createPublicKey(key).export({ format: "der", type: "spki" }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = der(3, Buffer.of(0), sign("sha256", body, signer));
  const base64 = sequence(body, ecdsaWithSha256, signature).toString("base64");
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}(?!$)/g, "$&\n")}\n-----END CERTIFICATE-----\n`,
    key: key.export({ format: "pem", type: "pkcs8" }).toString(),
  };
}
