import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { createFrameReader, drained, writeFrames } from "../../src/worker/frames.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (payload: Uint8Array) => new TextDecoder().decode(payload);

function encode(...payloads: Uint8Array[]): Buffer {
  const stream = new PassThrough();
  writeFrames(stream, payloads);
  return stream.read() as Buffer;
}

function collect(limitBytes?: number) {
  const frames: string[] = [];
  const reader = createFrameReader((payload) => frames.push(text(payload)), limitBytes);
  return { frames, reader };
}

describe("reading", () => {
  const payloads = ["", "a", "hello", "x".repeat(300), "", "日本"];
  const stream = encode(...payloads.map(bytes));

  test("the bytes are a big-endian length and the payload", () => {
    expect([...encode(bytes("ab"), bytes(""))]).toEqual([0, 0, 0, 2, 97, 98, 0, 0, 0, 0]);
  });

  test("all frames of one push", () => {
    const { frames, reader } = collect();
    reader.push(stream);
    expect(frames).toEqual(payloads);
    expect(reader.partial).toBe(false);
  });

  test("byte by byte", () => {
    const { frames, reader } = collect();
    for (const byte of stream) reader.push(Uint8Array.of(byte));
    expect(frames).toEqual(payloads);
    expect(reader.partial).toBe(false);
  });

  test("cut in two at every byte", () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const { frames, reader } = collect();
      reader.push(stream.subarray(0, cut));
      reader.push(stream.subarray(cut));
      expect(frames).toEqual(payloads);
    }
  });

  test("knows that a frame is open", () => {
    const { reader } = collect();
    reader.push(Uint8Array.of(0, 0));
    expect(reader.partial).toBe(true);
    reader.push(Uint8Array.of(0, 2, 97));
    expect(reader.partial).toBe(true);
    reader.push(Uint8Array.of(98));
    expect(reader.partial).toBe(false);
  });

  test("a whole payload is a view of what was pushed", () => {
    let frame: Uint8Array | undefined;
    const pushed = encode(bytes("hello"));
    createFrameReader((payload) => {
      frame = payload;
    }).push(pushed);
    expect(frame?.buffer).toBe(pushed.buffer);
  });

  test.each([
    { length: 17, header: [0, 0, 0, 17] },
    { length: 4_294_967_295, header: [255, 255, 255, 255] },
  ])("a frame of $length bytes is refused before anything is allocated for it", ({ length, header }) => {
    const { reader } = collect(16);
    expect(() => reader.push(Uint8Array.from(header))).toThrow(
      new RangeError(`a frame of ${length} bytes is above the maximum 16`),
    );
  });

  test("the largest frame that is allowed passes", () => {
    const { frames, reader } = collect(16);
    reader.push(encode(bytes("0123456789abcdef")));
    expect(frames).toEqual(["0123456789abcdef"]);
  });
});

describe("writing", () => {
  test("small frames are one write", () => {
    const stream = new PassThrough();
    let writes = 0;
    stream.on("data", () => writes++);
    expect(writeFrames(stream, [bytes("a"), bytes("b"), bytes("c")])).toBe(true);
    stream.read();
    expect(writes).toBe(1);
  });

  test("over a real socket: large payloads arrive whole, and a full buffer is waited for", async () => {
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
      const reader = createFrameReader((payload) => received.push(payload.length));
      const payloads = sizes.map((size) => new Uint8Array(size));
      expect(writeFrames(socket, payloads)).toBe(false);
      client.on("data", (chunk) => reader.push(chunk));
      await drained(socket);
      expect(socket.writableLength).toBe(0);
      socket.end();
      await new Promise((done) => client.once("end", done));
      expect(received).toEqual(sizes);
      expect(reader.partial).toBe(false);
    } finally {
      client.destroy();
      server.close();
      rmSync(folder, { recursive: true });
    }
  });

  test("waiting ends when the stream is closed", async () => {
    const stream = new PassThrough({ highWaterMark: 8 });
    expect(writeFrames(stream, [bytes("more than eight bytes")])).toBe(false);
    const wait = drained(stream);
    stream.destroy();
    await wait;
    await drained(stream);
  });
});
