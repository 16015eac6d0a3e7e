/**
 * The server that connectrpc/conformance tests: reads one ServerCompatRequest
 * from standard input, opens loqui's listener with the ConformanceService, says
 * where on standard output, and ends on SIGTERM. Messages have their length
 * before them, four bytes, the highest first.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { TlsFiles } from "../../../src/server/tls-files.ts";
import {
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "../gen/connectrpc/conformance/v1/server_compat_pb.ts";
import { serve } from "../serve.ts";
import { conformanceService } from "./service.ts";

const input = Buffer.concat(await Array.fromAsync(process.stdin as AsyncIterable<Buffer>));
const request = fromBinary(ServerCompatRequestSchema, input.subarray(4, 4 + input.readUInt32BE(0)));

const folder = mkdtempSync(join(tmpdir(), "loqui-conformance-"));
const server = await serve([conformanceService], {
  limits: request.messageReceiveLimit > 0 ? { maxRequestBytes: request.messageReceiveLimit } : {},
  ...(request.useTls && { tls: tlsFiles() }),
});
process.once("SIGTERM", async () => {
  await server.close({ force: true });
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});

const response = toBinary(
  ServerCompatResponseSchema,
  create(ServerCompatResponseSchema, {
    host: server.host,
    port: server.port,
    ...(request.useTls && { pemCert: request.serverCreds?.cert ?? new Uint8Array() }),
  }),
);
const length = Buffer.alloc(4);
length.writeUInt32BE(response.length);
process.stdout.write(Buffer.concat([length, response]));

/** The certificate that the request brought, with its key and the certificate that clients show, as files. */
function tlsFiles(): TlsFiles {
  const { serverCreds, clientTlsCert } = request;
  if (serverCreds === undefined) throw new Error("TLS was asked for without a certificate");
  const write = (name: string, pem: Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, pem, { mode: 0o600 });
    return path;
  };
  return {
    certFile: write("cert.pem", serverCreds.cert),
    keyFile: write("key.pem", serverCreds.key),
    ...(clientTlsCert.length > 0 && { clientCaFile: write("client-ca.pem", clientTlsCert) }),
  };
}
