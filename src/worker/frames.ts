import type { Writable } from "node:stream";

/** The largest payload of a frame, in bytes: more than any message may have. */
export const maxFrameBytes = 64 * 1024 * 1024;

/** Payloads from this size on are handed to the kernel as they are; smaller ones are copied together. */
const copyBelowBytes = 16 * 1024;

/** Cuts a stream of bytes into frames: a 32-bit big-endian length and that many bytes of payload. */
export interface FrameReader {
  /** Takes the next bytes of the stream. Throws a RangeError when a frame is larger than the limit. */
  push(bytes: Uint8Array): void;
  /** Whether the stream ended inside a frame if it ended now. */
  readonly partial: boolean;
}

/**
 * Makes a reader. A payload that lies within one push is a view of it, without
 * a copy; one that is spread over several is copied once.
 */
export function createFrameReader(onFrame: (payload: Uint8Array) => void, limitBytes = maxFrameBytes): FrameReader {
  const header = new Uint8Array(4);
  let headerFilled = 0;
  let payload: Uint8Array | undefined;
  let payloadFilled = 0;

  return {
    push(bytes) {
      let at = 0;
      while (at < bytes.length) {
        if (payload !== undefined) {
          const part = bytes.subarray(at, at + payload.length - payloadFilled);
          payload.set(part, payloadFilled);
          payloadFilled += part.length;
          at += part.length;
          if (payloadFilled < payload.length) return;
          const whole = payload;
          payload = undefined;
          onFrame(whole);
          continue;
        }
        const part = bytes.subarray(at, at + 4 - headerFilled);
        header.set(part, headerFilled);
        headerFilled += part.length;
        at += part.length;
        if (headerFilled < 4) return;
        headerFilled = 0;
        const length = readLength(header);
        if (length > limitBytes) throw new RangeError(`a frame of ${length} bytes is above the maximum ${limitBytes}`);
        if (at + length <= bytes.length) {
          onFrame(bytes.subarray(at, at + length));
          at += length;
        } else {
          payload = Buffer.allocUnsafe(length);
          payloadFilled = 0;
        }
      }
    },
    get partial() {
      return headerFilled > 0 || payload !== undefined;
    },
  };
}

/**
 * Writes frames to a stream, all of one call in one write. Returns whether the
 * stream wants more: false while it holds more than 64 KiB, see {@link drained}.
 */
export function writeFrames(stream: Writable, payloads: readonly Uint8Array[]): boolean {
  const size = payloads.reduce((sum, payload) => sum + 4 + payload.length, 0);
  if (payloads.some((payload) => payload.length >= copyBelowBytes)) {
    let room = true;
    stream.cork();
    for (const payload of payloads) {
      const header = Buffer.allocUnsafe(4);
      header.writeUInt32BE(payload.length);
      stream.write(header);
      room = stream.write(payload);
    }
    stream.uncork();
    return room;
  }
  const buffer = Buffer.allocUnsafe(size);
  let at = 0;
  for (const payload of payloads) {
    at = buffer.writeUInt32BE(payload.length, at);
    buffer.set(payload, at);
    at += payload.length;
  }
  return stream.write(buffer);
}

function readLength(header: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0] = header;
  return a * 0x1000000 + b * 0x10000 + c * 0x100 + d;
}

/** Resolves when a stream that holds too much has been read, or is closed. */
export function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    if (!stream.writableNeedDrain || stream.destroyed) return resolve();
    const done = () => {
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    };
    stream.on("drain", done);
    stream.on("close", done);
  });
}
