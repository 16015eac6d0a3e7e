import { promisify } from "node:util";
import { gunzip as gunzipCallback, gzip as gzipCallback } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { inflateChunkBytes } from "../rest/body.ts";

const gunzip = promisify(gunzipCallback);
const gzipBytes = promisify(gzipCallback);

/**
 * gzip for Connect. Data that is cut is INVALID_ARGUMENT like data that is wrong
 * (connect-node says INTERNAL), and a bomb is read in large pieces: each is a
 * turn of the event loop, and connect-node's 4,096 for 64 MiB took seconds on a
 * busy server.
 */
export const gzip: Compression = {
  name: "gzip",
  compress: (bytes) => gzipBytes(bytes),
  async decompress(bytes, readMaxBytes) {
    if (bytes.length === 0) return new Uint8Array(0);
    try {
      return await gunzip(bytes, { maxOutputLength: readMaxBytes, chunkSize: inflateChunkBytes(bytes.length) });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
        const message = `message is larger than ${readMaxBytes} bytes after decompression`;
        throw new ConnectError(message, Code.ResourceExhausted, undefined, undefined, error);
      }
      throw new ConnectError("decompression failed", Code.InvalidArgument, undefined, undefined, error);
    }
  },
};
