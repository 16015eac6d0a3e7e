import type { Random } from "./random.ts";

const telling = [0x00, 0x01, 0x02, 0x07, 0x08, 0x0a, 0x0d, 0x22, 0x25, 0x2d, 0x7b, 0x7d, 0x7f, 0x80, 0xc0, 0xed, 0xff];

/** Bytes that differ from these in a few places: flipped, replaced, cut, inserted, repeated. */
export function mutateBytes(bytes: Buffer, random: Random): Buffer {
  let result: Buffer = Buffer.from(bytes);
  for (let left = 1 + random.int(4); left > 0; left--) result = mutateOnce(result, random);
  return result;
}

function mutateOnce(bytes: Buffer, random: Random): Buffer {
  const at = random.int(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random.int(random.chance(0.8) ? 8 : 4096));
  const [before, piece, after] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
  switch (random.int(7)) {
    case 0: {
      const flipped = Buffer.from(piece.subarray(0, 1));
      if (flipped.length === 1) flipped[0] = (flipped[0] as number) ^ (1 << random.int(8));
      return Buffer.concat([before, flipped, bytes.subarray(at + 1)]);
    }
    case 1:
      return Buffer.concat([before, Buffer.of(random.pick(telling)), bytes.subarray(at + 1)]);
    case 2:
      return Buffer.from(before);
    case 3:
      return Buffer.concat([before, after]);
    case 4:
      return Buffer.concat([before, piece, piece, after]);
    case 5: {
      const inserted = Buffer.from(Array.from({ length: 1 + random.int(8) }, () => random.pick(telling)));
      return Buffer.concat([before, inserted, bytes.subarray(at)]);
    }
    default:
      return Buffer.concat([before, Buffer.from(Array.from(piece, () => random.int(256))), after]);
  }
}

/** A Protobuf message with fields appended that it doesn't have or has otherwise. */
export function withStrangeFields(bytes: Buffer, random: Random): Buffer {
  const fields: Buffer[] = [bytes];
  for (let left = 1 + random.int(3); left > 0; left--) {
    const number = random.pick([0, 1, 2, 3, 7, 18, 24, 74, 100, 19_000, 536_870_911, 536_870_912]);
    const wireType = random.int(8);
    fields.push(varint(number * 8 + wireType), fieldPayload(wireType, random));
  }
  return Buffer.concat(fields);
}

function fieldPayload(wireType: number, random: Random): Buffer {
  switch (wireType) {
    case 0:
      return random.pick([varint(0), varint(2 ** 31), Buffer.alloc(9, 0xff), Buffer.alloc(11, 0xff)]);
    case 1:
      return Buffer.alloc(random.pick([8, 8, 3]), random.int(256));
    case 2: {
      const content = random.pick([
        Buffer.alloc(0),
        Buffer.from([0xff, 0xfe]),
        Buffer.from("\u{1f600}"),
        nestedMessages(random.pick([10, 99, 101, 3_000])),
        Buffer.alloc(random.int(300), 0x0a),
      ]);
      return Buffer.concat([
        varint(random.chance(0.8) ? content.length : random.pick([1, 2 ** 31 - 1, 2 ** 32])),
        content,
      ]);
    }
    case 5:
      return Buffer.alloc(random.pick([4, 4, 1]), random.int(256));
    default:
      return Buffer.alloc(random.int(5), random.int(256));
  }
}

/** Length-delimited fields of number 2 within each other. */
function nestedMessages(depth: number): Buffer {
  let content: Buffer = Buffer.alloc(0);
  for (let level = 0; level < depth; level++)
    content = Buffer.concat([Buffer.of(0x12), varint(content.length), content]);
  return content;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}
