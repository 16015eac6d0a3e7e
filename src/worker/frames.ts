import type { Writable } from "node:stream";

/** What a frame carries; see worker.proto. */
export const FrameKind = { call: 0, message: 1, failure: 2, complete: 3, progress: 4 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** A frame between the front and a worker: a byte for the kind, a 32-bit big-endian length, that many bytes. */
export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Uint8Array;
}

const headerBytes = 5;

/** The largest payload of a frame, in bytes: more than any message may have. */
export const maxFrameBytes = 64 * 1024 * 1024;

/** Payloads from this size on are handed to the kernel as they are; smaller ones are copied together. */
const copyBelowBytes = 16 * 1024;

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
export function writeFrames(stream: Writable, frames: readonly Frame[]): void {
  if (frames.some(({ payload }) => payload.length >= copyBelowBytes)) {
    stream.cork();
    for (const frame of frames) {
      const header = Buffer.allocUnsafe(headerBytes);
      writeHeader(header, 0, frame);
      stream.write(header);
      stream.write(frame.payload);
    }
    stream.uncork();
    return;
  }
  let size = 0;
  for (const { payload } of frames) size += headerBytes + payload.length;
  const buffer = Buffer.allocUnsafe(size);
  let at = 0;
  for (const frame of frames) {
    at = writeHeader(buffer, at, frame);
    buffer.set(frame.payload, at);
    at += frame.payload.length;
  }
  stream.write(buffer);
}

function writeHeader(buffer: Buffer, at: number, { kind, payload }: Frame): number {
  return buffer.writeUInt32BE(payload.length, buffer.writeUInt8(kind, at));
}

function kindOf(byte: number | undefined): FrameKind {
  if (byte === undefined || byte > FrameKind.progress) throw new RangeError(`there are no frames of kind ${byte}`);
  return byte as FrameKind;
}
