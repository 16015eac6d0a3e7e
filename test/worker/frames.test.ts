import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { createFrameReader, type Frame, FrameKind, type OutgoingFrame, writeFrames } from "../../src/worker/frames.ts";

const kinds = Object.values(FrameKind);

function frameOf(text: string, kind: FrameKind = FrameKind.message): Frame {
  return { kind, payload: Buffer.from(text) };
}

function encode(...frames: OutgoingFrame[]): Buffer {
  const stream = new PassThrough();
  writeFrames(stream, frames);
  return stream.read() as Buffer;
}

function collect(limitBytes?: number) {
  const frames: [FrameKind, string][] = [];
  const onFrame = ({ kind, payload }: Frame) => frames.push([kind, Buffer.from(payload).toString()]);
  return { frames, reader: createFrameReader(onFrame, limitBytes) };
}

describe("reading", () => {
  const texts = ["", "a", "hello", "x".repeat(300), "", "日本"];
  const sent = texts.map((text, i) => frameOf(text, kinds[i % kinds.length]));
  const expected = sent.map(({ kind }, i) => [kind, texts[i]]);
  const stream = encode(...sent);

  test("the bytes are a kind, a big-endian length and the payload", () => {
    expect([...encode(frameOf("ab"), frameOf("", FrameKind.complete))]).toEqual([1, 0, 0, 0, 2, 97, 98, 3, 0, 0, 0, 0]);
  });

  test("all frames of one push", () => {
    const { frames, reader } = collect();
    reader.push(stream);
    expect(frames).toEqual(expected);
  });

  test("byte by byte", () => {
    const { frames, reader } = collect();
    for (const byte of stream) reader.push(Buffer.of(byte));
    expect(frames).toEqual(expected);
  });

  test("cut in two at every byte", () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const { frames, reader } = collect();
      reader.push(stream.subarray(0, cut));
      reader.push(stream.subarray(cut));
      expect(frames).toEqual(expected);
    }
  });

  test("a payload is its own: what was pushed can be written over", () => {
    const payloads: Uint8Array[] = [];
    const reader = createFrameReader(({ payload }) => payloads.push(payload));
    for (const byte of encode(frameOf("hello"), frameOf("you"))) reader.push(Buffer.of(byte));
    const pushed = encode(frameOf("hello"), frameOf("you"));
    reader.push(pushed);
    pushed.fill(0);
    expect(payloads.map(String)).toEqual(["hello", "you", "hello", "you"].map((text) => String(Buffer.from(text))));
  });

  test("a large payload may be read where it belongs, byte by byte or all at once", () => {
    const sizes = [20_000, 3, 100_000, 16_384];
    const stream = Buffer.concat(sizes.map((size) => encode(frameOf("x".repeat(size - 1) + String(size)[0]))));
    for (const step of [1, 1_000, 70_000]) {
      const { frames, reader } = collect();
      let inPlace = 0;
      for (let at = 0; at < stream.length; ) {
        const { missing } = reader;
        const target = missing ?? Buffer.alloc(step);
        const read = stream.copy(target, 0, at, Math.min(at + step, stream.length));
        reader.push(target.subarray(0, read));
        if (missing !== undefined) inPlace += read;
        at += read;
      }
      expect(frames).toEqual(sizes.map((size) => [FrameKind.message, "x".repeat(size - 1) + String(size)[0]]));
      expect(inPlace).toBeGreaterThan(step === 70_000 ? 30_000 : 70_000);
    }
  });

  test.each([
    { length: 17, header: [1, 0, 0, 0, 17] },
    { length: 4_294_967_295, header: [1, 255, 255, 255, 255] },
  ])("a frame of $length bytes is refused before anything is allocated for it", ({ length, header }) => {
    const { reader } = collect(16);
    expect(() => reader.push(Buffer.from(header))).toThrow(
      new RangeError(`a frame of ${length} bytes is above the maximum 16`),
    );
  });

  test("a frame of an unknown kind is refused", () => {
    const { reader } = collect();
    expect(() => reader.push(Buffer.of(5, 0, 0, 0, 0))).toThrow(new RangeError("there are no frames of kind 5"));
  });

  test("the largest frame that is allowed passes", () => {
    const { frames, reader } = collect(16);
    reader.push(encode(frameOf("0123456789abcdef")));
    expect(frames).toEqual([[FrameKind.message, "0123456789abcdef"]]);
  });
});

describe("writing", () => {
  test("small frames are one write", () => {
    const stream = new PassThrough();
    let writes = 0;
    stream.on("data", () => writes++);
    writeFrames(stream, [frameOf("a"), frameOf("b"), frameOf("c")]);
    stream.read();
    expect(writes).toBe(1);
  });

  test("large parts are written as they lie, those between them together", () => {
    const [head, first, middle, second] = [[1, 2, 3], 20_000, [4], 1_024].map((part) =>
      typeof part === "number" ? new Uint8Array(part).fill(part % 251) : Uint8Array.from(part),
    ) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    const written: Uint8Array[] = [];
    const stream = new Writable({
      writev(chunks, done) {
        written.push(...chunks.map(({ chunk }) => chunk as Uint8Array));
        done();
      },
    });
    const payload = [head, middle, first, middle, middle, second];
    writeFrames(stream, [{ kind: FrameKind.message, payload }, frameOf("end", FrameKind.complete)]);
    expect(written.map(({ length }) => length)).toEqual([5 + 3 + 1, 20_000, 2, 1_024, 5 + 3]);
    expect([written[1]?.buffer, written[3]?.buffer]).toEqual([first.buffer, second.buffer]);
    const { frames, reader } = collect();
    for (const bytes of written) reader.push(Buffer.from(bytes));
    const whole = Buffer.concat(payload).toString();
    expect(frames).toEqual([
      [FrameKind.message, whole],
      [FrameKind.complete, "end"],
    ]);
  });

  test("over a real socket large payloads arrive whole", async () => {
    const folder = mkdtempSync(join(tmpdir(), "frames-"));
    const path = join(folder, "socket");
    const server = createServer();
    await new Promise<void>((done) => server.listen(path, done));
    const accepted = new Promise<Socket>((done) => server.once("connection", done));
    const client = connect(path);
    const socket = await accepted;
    try {
      const sizes = [0, 10, 20_000, 5_000_000, 1];
      const received: number[] = [];
      const reader = createFrameReader(({ payload }) => received.push(payload.length));
      client.on("data", (chunk) => reader.push(chunk));
      writeFrames(
        socket,
        sizes.map((size) => ({ kind: FrameKind.message, payload: new Uint8Array(size) })),
      );
      socket.end();
      await new Promise((done) => client.once("end", done));
      expect(received).toEqual(sizes);
    } finally {
      client.destroy();
      server.close();
      rmSync(folder, { recursive: true });
    }
  });
});
