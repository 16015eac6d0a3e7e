import { createByteCollector } from "../rest/byte-collector.ts";
import { type HttpRequest, wantBody } from "./http.ts";

/** The flags and the length of a message, before each in gRPC, gRPC-Web and the streams of Connect. */
const prefixBytes = 5;
/** A body without envelopes is handed on in pieces of this many bytes at least. */
const handedOnBytes = 64 * 1024;

/**
 * The bytes of a request, asked for when they are first read. Where messages are
 * enveloped, each comes as one piece, when all of it is there: connect-es makes
 * room for a message as soon as its length is announced, and looks at all pieces
 * for each that comes, which a client that sends them small can make as slow as
 * it likes. A message above `maxBytes` is told by its prefix alone; the reader
 * refuses it.
 */
export function bodyOf(request: HttpRequest, enveloped: boolean, maxBytes: number): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      wantBody(request);
      // A body that is not read to its end is discarded later; destroyed, it would block the connection.
      const chunks: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
      return enveloped ? envelopes(chunks, maxBytes) : inLargePieces(chunks);
    },
  };
}

/** Also for tests: whole envelopes, and in the end what is none. */
export async function* envelopes(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  const kept = createByteCollector();
  let wanted = prefixBytes;
  for await (const chunk of chunks) {
    let rest = chunk;
    while (kept.length + rest.length >= wanted) {
      const missing = wanted - kept.length;
      kept.add(rest.subarray(0, missing));
      rest = rest.subarray(missing);
      if (wanted === prefixBytes) {
        const length = ((kept.at(1) << 24) | (kept.at(2) << 16) | (kept.at(3) << 8) | kept.at(4)) >>> 0;
        if (length > 0 && length <= maxBytes) {
          wanted += length;
          continue;
        }
      }
      yield kept.take();
      wanted = prefixBytes;
    }
    if (rest.length > 0) kept.add(rest);
  }
  if (kept.length > 0) yield kept.take();
}

async function* inLargePieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const kept = createByteCollector();
  for await (const chunk of chunks) {
    kept.add(chunk);
    if (kept.length >= handedOnBytes) yield kept.take();
  }
  if (kept.length > 0) yield kept.take();
}
