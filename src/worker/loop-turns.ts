import { setImmediate } from "node:timers/promises";
import { joinTokens } from "../engines/join-tokens.ts";
import type { TokenEngine } from "../engines/token-engine.ts";

/** Work that is done before others get their turn, in milliseconds; a piece of a text more than that is some two. */
const turnMs = 4;

/** Who waits longest for a turn of the event loop waits with this. */
let last: Promise<unknown> = Promise.resolve();

/** A turn of the event loop: of all the long work that waits for one, a piece is done in each. */
function nextTurn(): Promise<void> {
  const turn = last.then(() => setImmediate());
  last = turn;
  return turn;
}

/**
 * The tokens that {@link TokenEngine.tokenize} makes of a text. Those of a long
 * one are made piece by piece, so that others have their turn between. Throws the
 * signal's reason.
 */
export async function tokenizeInTurns(
  engine: Pick<TokenEngine, "tokenizePieces">,
  text: string,
  parseSpecial: boolean,
  signal: AbortSignal,
): Promise<Uint32Array> {
  const pieces: Uint32Array[] = [];
  let since = performance.now();
  for (const piece of engine.tokenizePieces(text, parseSpecial)) {
    pieces.push(piece);
    if (performance.now() - since < turnMs) continue;
    await nextTurn();
    signal.throwIfAborted();
    since = performance.now();
  }
  return joinTokens(pieces);
}
