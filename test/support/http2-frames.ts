/** As much of HTTP/2 (RFC 9113) as a client of one call needs. */

export const frameType = { data: 0, headers: 1, settings: 4, windowUpdate: 8 } as const;

const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const;

export const frame = {
  /** The preface, settings with the largest stream window, the same for the connection, and the settings' receipt. */
  opening: () =>
    Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      frameOf(frameType.settings, 0, 0, Buffer.of(0, 4, 0x7f, 0xff, 0xff, 0xff)),
      frameOf(frameType.windowUpdate, 0, 0, Buffer.of(0x7f, 0xff, 0, 0)),
      frameOf(frameType.settings, flag.ack, 0, Buffer.alloc(0)),
    ]),
  /** The preface, and settings with a stream window of nothing. */
  shut: () =>
    Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      frameOf(frameType.settings, 0, 0, Buffer.of(0, 4, 0, 0, 0, 0)),
      frameOf(frameType.settings, flag.ack, 0, Buffer.alloc(0)),
    ]),
  /** Names and values shorter than 127 bytes, as literals (RFC 7541, 6.2.2). */
  headers: (stream: number, headers: Readonly<Record<string, string>>) =>
    frameOf(
      frameType.headers,
      flag.endHeaders,
      stream,
      Buffer.concat(
        Object.entries(headers).map(([name, value]) =>
          Buffer.concat([Buffer.of(0, name.length), Buffer.from(name), Buffer.of(value.length), Buffer.from(value)]),
        ),
      ),
    ),
  /** The last of its stream. */
  data: (stream: number, payload: Buffer) => frameOf(frameType.data, flag.endStream, stream, payload),
};

function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** Cuts a stream of bytes into frames. */
export function createFrameReader(
  onFrame: (type: number, flags: number, payload: Buffer) => void,
): (bytes: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 9) {
      const end = 9 + rest.readUIntBE(0, 3);
      if (rest.length < end) return;
      onFrame(rest.readUInt8(3), rest.readUInt8(4), rest.subarray(9, end));
      rest = rest.subarray(end);
    }
  };
}
