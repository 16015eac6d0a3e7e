import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { type HttpResponse, pieceBytes } from "../../src/rest/http.ts";
import { inPieces } from "../../src/server/pieces.ts";

/** A response whose socket is gone: nothing is gathered for it. */
const response = Object.assign(new EventEmitter(), { socket: null }) as unknown as HttpResponse;
const envelope = (flags: number, text: string) => Buffer.from([flags, 0, 0, 0, text.length, ...Buffer.from(text)]);

async function pieces(chunks: readonly Uint8Array[], encoded: (Uint8Array | undefined)[]): Promise<Buffer[]> {
  async function* body() {
    yield* chunks;
  }
  const taken = await Array.fromAsync(inPieces(body(), response, () => encoded.shift()));
  return taken.map((piece) => Buffer.from(piece));
}

test("a message takes the place of its empty envelope, in pieces", async () => {
  const message = Buffer.alloc(2 * pieceBytes + 1, "m");
  const sent = await pieces([envelope(0, ""), envelope(0x80, "end")], [message]);
  expect(sent.map(({ length }) => length)).toEqual([5, pieceBytes, pieceBytes, 1, 8]);
  const start = Buffer.alloc(5);
  start.writeUInt32BE(message.length, 1);
  expect(Buffer.concat(sent)).toEqual(Buffer.concat([start, message, envelope(0x80, "end")]));
});

test("an empty message of its own stays, and so does what is no message", async () => {
  const chunks = [envelope(0, ""), envelope(0x80, ""), envelope(0, "text")];
  expect(await pieces(chunks, [])).toEqual(chunks);
});

test("a message without an envelope is not lost silently", async () => {
  await expect(pieces([envelope(0, "text")], [Buffer.alloc(20_000)])).rejects.toThrow("no empty envelope came");
});
