import { gatherWrites, type HttpResponse, pieceBytes } from "../rest/http.ts";

/**
 * The bytes of a response's body, in chunks of {@link pieceBytes} at most; see
 * there. Those that come in one turn of the event loop are sent together. Where
 * the last envelope stands for a message that `takeEncoded` has, empty, it is
 * replaced by that message's.
 */
export function inPieces(
  body: AsyncIterable<Uint8Array>,
  response: HttpResponse,
  takeEncoded: () => Uint8Array | undefined,
): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => piecesOf(body[Symbol.asyncIterator](), response, takeEncoded) };
}

/** Not a generator: it runs once a token, and passes on what is thrown into it. */
function piecesOf(
  chunks: AsyncIterator<Uint8Array>,
  response: HttpResponse,
  takeEncoded: () => Uint8Array | undefined,
): AsyncIterator<Uint8Array> {
  let rest: Uint8Array | undefined;

  function first(bytes: Uint8Array): IteratorResult<Uint8Array> {
    rest = bytes.length > pieceBytes ? bytes.subarray(pieceBytes) : undefined;
    return { done: false, value: rest === undefined ? bytes : bytes.subarray(0, pieceBytes) };
  }

  return {
    async next() {
      if (rest !== undefined) return first(rest);
      const chunk = await chunks.next();
      gatherWrites(response);
      if (chunk.done === true) {
        if (takeEncoded() !== undefined) throw new Error("no empty envelope came for a message that is encoded");
        return chunk;
      }
      const message = isEmptyEnvelope(chunk.value) ? takeEncoded() : undefined;
      if (message === undefined) return first(chunk.value);
      rest = message;
      return { done: false, value: envelopeStart(message.length) };
    },
    async return(value) {
      return (await chunks.return?.(value)) ?? { done: true, value: undefined };
    },
    async throw(error) {
      if (chunks.throw === undefined) throw error;
      return chunks.throw(error);
    },
  };
}

/** What comes before a message in gRPC, gRPC-Web and Connect's streams: no flags, and the message's length. */
function envelopeStart(length: number): Uint8Array {
  const start = Buffer.alloc(envelopeStartBytes);
  start.writeUInt32BE(length, 1);
  return start;
}

const envelopeStartBytes = 5;

function isEmptyEnvelope(bytes: Uint8Array): boolean {
  return bytes.length === envelopeStartBytes && bytes[0] === 0;
}
