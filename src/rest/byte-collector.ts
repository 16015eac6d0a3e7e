/** Bytes that arrive piece by piece, kept until somebody takes them all. */
export interface ByteCollector {
  /** Of what is kept. */
  readonly length: number;
  /** Keeps a piece. It must not change any more. */
  add(piece: Uint8Array): void;
  /** Reads a byte that is kept, from the first one on. */
  at(index: number): number;
  /** All that is kept, as one piece; then nothing is. */
  take(): Buffer;
}

/** What is copied together with its neighbours instead of being kept as it is. */
const smallBytes = 4 * 1024;
const slabBytes = 16 * 1024;

/**
 * Keeps no more memory than has arrived, and a little: a client may send its
 * body a byte at a time, and a Buffer for each would take a hundred.
 */
export function createByteCollector(): ByteCollector {
  let pieces: Uint8Array[] = [];
  /** Small pieces so far: `slab` up to `used`. The last of `pieces` is followed by it. */
  let slab: Buffer | undefined;
  let used = 0;
  let length = 0;

  function closeSlab(): void {
    if (slab === undefined || used === 0) return;
    pieces.push(slab.subarray(0, used));
    slab = slab.subarray(used);
    used = 0;
  }

  return {
    get length() {
      return length;
    },
    add(piece) {
      length += piece.length;
      // The first is kept as it is: often it is all.
      if (piece.length >= smallBytes || length === piece.length) {
        closeSlab();
        if (piece.length > 0) pieces.push(piece);
        return;
      }
      if (slab === undefined || slab.length - used < piece.length) {
        closeSlab();
        slab = Buffer.allocUnsafeSlow(slabBytes);
      }
      slab.set(piece, used);
      used += piece.length;
    },
    at(index) {
      let rest = index;
      for (const piece of pieces) {
        if (rest < piece.length) return piece[rest] as number;
        rest -= piece.length;
      }
      if (slab === undefined || rest >= used) throw new RangeError(`there is no byte ${index} of ${length}`);
      return slab[rest] as number;
    },
    take() {
      closeSlab();
      const [first] = pieces;
      const all =
        pieces.length === 1 && first !== undefined
          ? Buffer.from(first.buffer, first.byteOffset, first.byteLength)
          : Buffer.concat(pieces, length);
      pieces = [];
      length = 0;
      return all;
    },
  };
}
