import { gatherWrites, type HttpResponse, pieceBytes } from "../rest/http.ts";

/**
 * The bytes of a response's body, in chunks of {@link pieceBytes} at most; see
 * there. Those that come in one turn of the event loop are sent together.
 */
export function inPieces(body: AsyncIterable<Uint8Array>, response: HttpResponse): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => piecesOf(body[Symbol.asyncIterator](), response) };
}

/** Not a generator: it runs once a token, and passes on what is thrown into it. */
function piecesOf(chunks: AsyncIterator<Uint8Array>, response: HttpResponse): AsyncIterator<Uint8Array> {
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
      return chunk.done === true ? chunk : first(chunk.value);
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
