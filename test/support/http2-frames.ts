import { connect, type Socket } from "node:net";

/** As much of HTTP/2 (RFC 9113) as a client needs that counts bytes, or that breaks the rules. */

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { none: 0, endStream: 1, ack: 1, endHeaders: 4 } as const;

export const frame = {
  /** The preface, settings with the largest stream window, the same for the connection, and the settings' receipt. */
  opening: () =>
    Buffer.concat([
      frame.preface,
      frameOf(frameType.settings, flag.none, 0, Buffer.of(0, 4, 0x7f, 0xff, 0xff, 0xff)),
      frameOf(frameType.windowUpdate, flag.none, 0, Buffer.of(0x7f, 0xff, 0, 0)),
      frameOf(frameType.settings, flag.ack, 0),
    ]),
  /** The preface, and settings with a stream window of nothing. */
  shut: () =>
    Buffer.concat([
      frame.preface,
      frameOf(frameType.settings, flag.none, 0, Buffer.of(0, 4, 0, 0, 0, 0)),
      frameOf(frameType.settings, flag.ack, 0),
    ]),
  preface: Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  /** A whole header; `flags` say whether it ends its stream too. */
  headers: (stream: number, headers: Headers, flags: number = flag.endHeaders) =>
    frameOf(frameType.headers, flags, stream, fieldsOf(headers)),
  /** The last of its stream. */
  data: (stream: number, payload: Buffer) => frameOf(frameType.data, flag.endStream, stream, payload),
  rstStream: (stream: number, code: number) => frameOf(frameType.rstStream, flag.none, stream, uint32(code)),
  /** Without an error. */
  goaway: () => frameOf(frameType.goaway, flag.none, 0, Buffer.alloc(8)),
  windowUpdate: (stream: number, increment: number) =>
    frameOf(frameType.windowUpdate, flag.none, stream, uint32(increment)),
};

type Headers = Readonly<Record<string, string>> | readonly (readonly [name: string, value: string])[];

export function frameOf(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** A header block of literals that are not indexed (RFC 7541, 6.2.2). */
export function fieldsOf(headers: Headers): Buffer {
  const entries = Array.isArray(headers) ? headers : Object.entries(headers);
  return Buffer.concat(entries.flatMap(([name, value]) => [Buffer.of(0), stringOf(name), stringOf(value)]));
}

/** A string after its length, an integer with a prefix of 7 bits (RFC 7541, 5.1). */
function stringOf(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.of(...length, rest), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Cuts a stream of bytes into frames. */
export function createFrameReader(
  onFrame: (type: number, flags: number, payload: Buffer, stream: number) => void,
): (bytes: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 9) {
      const end = 9 + rest.readUIntBE(0, 3);
      if (rest.length < end) return;
      onFrame(rest.readUInt8(3), rest.readUInt8(4), rest.subarray(9, end), rest.readUInt32BE(5));
      rest = rest.subarray(end);
    }
  };
}

/** A client that sends whatever bytes it is given, and notes what comes back. */
export interface RawHttp2 extends Disposable {
  readonly socket: Socket;
  /** Of GOAWAY, the first one; undefined while none has come. */
  readonly goaway: number | undefined;
  /** Streams that were reset, with the code. */
  readonly resets: ReadonlyMap<number, number>;
  /** `:status` of each stream that was answered, where it is one of HPACK's static table or a plain literal. */
  readonly statuses: ReadonlyMap<number, number>;
  readonly pings: number;
  /** Resolves when the connection has closed. */
  readonly closed: Promise<void>;
}

/** RFC 7541, appendix A. */
const staticStatuses = [200, 204, 206, 304, 400, 404, 500];

export function connectRawHttp2({ host, port }: { host: string; port: number }): RawHttp2 {
  const socket = connect(port, host);
  const resets = new Map<number, number>();
  const statuses = new Map<number, number>();
  const seen = { goaway: undefined as number | undefined, pings: 0 };
  const read = createFrameReader((type, flags, payload, stream) => {
    if (type === frameType.goaway) seen.goaway ??= payload.readUInt32BE(4);
    if (type === frameType.rstStream) resets.set(stream, payload.readUInt32BE(0));
    if (type === frameType.ping && flags === flag.none) seen.pings += 1;
    if (type === frameType.headers && !statuses.has(stream)) {
      const first = payload.readUInt8(0);
      const literal = /[1-5]\d\d/.exec(payload.toString("latin1", 0, 12));
      statuses.set(stream, first & 0x80 ? (staticStatuses[(first & 0x7f) - 8] ?? 0) : Number(literal?.[0] ?? 0));
    }
  });
  // One that is cut off while it sends is told by a reset.
  socket.on("data", read).on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return {
    socket,
    resets,
    statuses,
    closed,
    get goaway() {
      return seen.goaway;
    },
    get pings() {
      return seen.pings;
    },
    [Symbol.dispose]: () => socket.destroy(),
  };
}
