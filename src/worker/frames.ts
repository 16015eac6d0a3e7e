import type { Writable } from "node:stream";

/** What a frame carries; see worker.proto. */
export const FrameKind = { call: 0, message: 1, failure: 2, complete: 3, progress: 4 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** A frame between the front and a worker: a byte for the kind, a 32-bit big-endian length, that many bytes. */
export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Uint8Array;
}

/** A frame on its way out; its payload may lie in parts. */
export interface OutgoingFrame {
  readonly kind: FrameKind;
  readonly payload: Parts;
}

/** Bytes, whole or in parts that follow one another. */
export type Parts = Uint8Array | readonly Uint8Array[];

const headerBytes = 5;

/** The largest payload of a frame, in bytes: more than any message may have. */
export const maxFrameBytes = 64 * 1024 * 1024;

/** Payloads from this size on are handed to the kernel as they are, and read where they belong; smaller ones are copied. */
const copyBelowBytes = 16 * 1024;

/** Parts of larger payloads are handed over as they are too; those below this size are copied together, which costs no more. */
const joinBelowBytes = 1024;

/** Cuts a stream of bytes into frames. */
export interface FrameReader {
  /** Takes the next bytes of the stream, and copies what it needs. Throws a RangeError for a frame that can't be one. */
  push(bytes: Buffer): void;
  /**
   * What is missing of a large payload: the next bytes of the stream may be read
   * into the beginning of it, and be pushed as they lie there, without a copy.
   * Undefined where no large one is missing.
   */
  readonly missing: Buffer | undefined;
}

const nothing = Buffer.alloc(0);

/** Makes a reader. Payloads are copies of their own, so that the stream's buffer can be used again. */
export function createFrameReader(onFrame: (frame: Frame) => void, limitBytes = maxFrameBytes): FrameReader {
  /** The header of a frame that has not come whole, then its payload. */
  let rest: Buffer = nothing;
  let kind: FrameKind = FrameKind.message;
  let payload: Buffer | undefined;
  let filled = 0;

  /** Takes bytes from `at` on and says up to where. */
  function take(bytes: Buffer, at: number): number {
    if (payload === undefined) {
      kind = kindOf(bytes[at]);
      const length = bytes.readUInt32BE(at + 1);
      if (length > limitBytes) throw new RangeError(`a frame of ${length} bytes is above the maximum ${limitBytes}`);
      payload = Buffer.allocUnsafe(length);
      filled = 0;
      at += headerBytes;
    }
    const count = Math.min(bytes.length - at, payload.length - filled);
    const isThere = bytes.buffer === payload.buffer && bytes.byteOffset + at === payload.byteOffset + filled;
    if (!isThere) bytes.copy(payload, filled, at);
    filled += count;
    if (filled === payload.length) {
      const frame = { kind, payload };
      payload = undefined;
      onFrame(frame);
    }
    return at + count;
  }

  return {
    push(pushed) {
      const bytes = rest.length === 0 ? pushed : Buffer.concat([rest, pushed]);
      let at = 0;
      while (payload === undefined ? bytes.length - at >= headerBytes : at < bytes.length) at = take(bytes, at);
      rest = payload === undefined && at < bytes.length ? Buffer.from(bytes.subarray(at)) : nothing;
    },
    get missing() {
      return payload !== undefined && payload.length - filled >= copyBelowBytes ? payload.subarray(filled) : undefined;
    },
  };
}

/** Writes frames to a stream, all of one call in one write. */
export function writeFrames(stream: Writable, frames: readonly OutgoingFrame[]): void {
  const buffers = frames.flatMap(({ kind, payload }) => {
    const parts = payload instanceof Uint8Array ? [payload] : payload;
    return [headerOf(kind, bytesOf(parts)), ...parts];
  });
  if (bytesOf(buffers) < copyBelowBytes) {
    stream.write(Buffer.concat(buffers));
    return;
  }
  stream.cork();
  for (const buffer of joined(buffers)) stream.write(buffer);
  stream.uncork();
}

/** The same bytes in fewer parts. */
function* joined(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  let from = 0;
  for (let at = 0; at <= parts.length; at += 1) {
    const part = parts[at];
    if (part !== undefined && part.length < joinBelowBytes) continue;
    if (at > from) yield Buffer.concat(parts.slice(from, at));
    if (part !== undefined) yield part;
    from = at + 1;
  }
}

function headerOf(kind: FrameKind, length: number): Buffer {
  const header = Buffer.allocUnsafe(headerBytes);
  header.writeUInt32BE(length, header.writeUInt8(kind, 0));
  return header;
}

function bytesOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

function kindOf(byte: number | undefined): FrameKind {
  if (byte === undefined || byte > FrameKind.progress) throw new RangeError(`there are no frames of kind ${byte}`);
  return byte as FrameKind;
}
