import type { Readable, Transform } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { LoquiError } from "../errors.ts";
import { createByteCollector } from "./byte-collector.ts";
import { type HttpRequest, headerOf, wantBody } from "./http.ts";

/** The bounds of a request's body. */
export interface BodyLimits {
  /** Most bytes, on the wire as well as decoded. */
  readonly bytes: number;
  /** Longest time from the first read to the end. */
  readonly timeoutMs: number;
}

/** The body did not arrive in time: 408, which the error table has no kind for. */
export class BodyTimeout extends LoquiError {
  constructor(timeoutMs: number) {
    super("timeout", `the request body did not arrive within ${timeoutMs} ms`);
  }
}

/**
 * Reads a request's body, decoded, into `sink`; it is not read further while
 * what `sink` returns is pending. Needs memory for one chunk only.
 *
 * Rejects with `too_large` as soon as a limit is passed (before reading where
 * Content-Length says so), `unsupported_media_type` for an unknown
 * Content-Encoding, `invalid_request` for data that can't be decoded,
 * {@link BodyTimeout}, `cancelled` where the client leaves, and with what
 * `sink` throws. The request is left paused, neither destroyed nor drained.
 */
export async function readBody(
  request: HttpRequest,
  limits: BodyLimits,
  sink: (chunk: Buffer) => void | Promise<void>,
): Promise<void> {
  const declared = Number(headerOf(request, "content-length") ?? 0);
  if (declared > limits.bytes) throw tooLarge(limits, declared);
  const decoder = decoderOf(request);
  const source: Readable = decoder === undefined ? request : request.pipe(decoder);

  let received = 0;
  let decoded = 0;
  const settled = Promise.withResolvers<void>();
  const fail = (error: unknown) => settled.reject(error);
  const countReceived = (chunk: Buffer) => {
    received += chunk.length;
    if (received > limits.bytes) fail(tooLarge(limits));
  };
  const take = (chunk: Buffer) => {
    decoded += chunk.length;
    if (decoded > limits.bytes) {
      fail(tooLarge(limits));
      return;
    }
    try {
      const pending = sink(chunk);
      if (pending === undefined) return;
      source.pause();
      pending.then(() => source.resume(), fail);
    } catch (error) {
      fail(error);
    }
  };
  const leave = () => {
    // A request that has been read closes too, maybe before the decoder is through.
    if (!request.readableEnded || request.aborted)
      fail(new LoquiError("cancelled", "the client left before the request was complete"));
  };
  const end = () => {
    // A stream of HTTP/2 that was reset ends like one that is complete.
    if (request.aborted) leave();
    else settled.resolve();
  };
  const undecodable = (error: Error) =>
    fail(new LoquiError("invalid_request", `the request body can't be decoded: ${error.message}`, { cause: error }));
  const timer = setTimeout(() => fail(new BodyTimeout(limits.timeoutMs)), limits.timeoutMs);

  wantBody(request);
  if (request.destroyed) leave();
  request.on("error", leave);
  request.on("close", leave);
  source.on("data", take);
  source.on("end", end);
  if (decoder !== undefined) {
    request.on("data", countReceived);
    decoder.on("error", undecodable);
  }
  try {
    await settled.promise;
  } finally {
    clearTimeout(timer);
    request.off("close", leave);
    request.off("data", countReceived);
    source.off("data", take);
    source.off("end", end);
    // The listeners for "error" stay: without one, a late error would end the process.
    if (decoder !== undefined) {
      request.unpipe(decoder);
      decoder.destroy();
    }
    request.pause();
  }
}

/** The whole body in memory: see {@link readBody}. */
export async function readWholeBody(request: HttpRequest, limits: BodyLimits): Promise<Buffer> {
  const kept = createByteCollector();
  await readBody(request, limits, kept.add);
  return kept.take();
}

function tooLarge(limits: BodyLimits, declared?: number): LoquiError {
  const size = declared === undefined ? "" : ` of ${declared} bytes`;
  return new LoquiError("too_large", `the request body${size} is above the limit of ${limits.bytes} bytes`);
}

/** One coding at most: a body that is compressed twice is an attack, not a request. */
function decoderOf(request: HttpRequest): Transform | undefined {
  const encoding = headerOf(request, "content-encoding")?.trim().toLowerCase() ?? "identity";
  const chunkSize = inflateChunkBytes(Number(headerOf(request, "content-length") ?? 0));
  switch (encoding) {
    case "identity":
    case "":
      return undefined;
    case "gzip":
    case "x-gzip":
      return createGunzip({ chunkSize });
    case "deflate":
      return createInflate({ chunkSize });
    case "br":
      return createBrotliDecompress({ chunkSize });
    default:
      throw new LoquiError(
        "unsupported_media_type",
        `content-encoding ${JSON.stringify(encoding)} is not supported; gzip, deflate and br are`,
      );
  }
}

/**
 * In what pieces to decompress so many bytes (0: nobody knows). A piece costs a
 * turn of the event loop: in Node's 16 KiB a bomb of 64 MiB takes 4,096 of them,
 * which on a busy server are seconds. A small body needs no large buffer.
 */
export function inflateChunkBytes(compressedBytes: number): number {
  if (!(compressedBytes > 0)) return 64 * 1024;
  return Math.min(Math.max(compressedBytes * 4, 16 * 1024), 256 * 1024);
}
