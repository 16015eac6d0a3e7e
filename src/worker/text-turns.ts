import { setImmediate } from "node:timers/promises";
import { LoquiError } from "../errors.ts";

/** Bytes of one text: tokenizing takes the event loop, this some half a second. */
const maxTextBytes = 1024 * 1024;
/** Characters that are tokenized before other calls get their turn. */
const turnLength = 16 * 1024;
/** What a text costs however short it is, in characters: 10,000 empty ones take 50 ms, 10,000 of a word or two 200. */
const textCost = 64;

/** Counts the texts that a request has tokenized, so that it holds up others by a few milliseconds only. */
export interface TextTurns {
  /**
   * A text that is about to be tokenized; `length` in characters is what was read
   * to make it. Throws `invalid_request`, naming it, for more than 1 MiB.
   */
  take(text: string, param: string, length?: number): string;
  /**
   * Lets other calls have their turn, where much text was taken since the last.
   * Throws the signal's reason.
   */
  turn(signal: AbortSignal): Promise<void> | undefined;
}

export function createTextTurns(): TextTurns {
  let left = turnLength;
  return {
    take(text, param, length = text.length) {
      left -= length + textCost;
      checkTextBytes(text, param);
      return text;
    },
    turn(signal) {
      if (left > 0) return undefined;
      left = turnLength;
      return setImmediate().then(() => signal.throwIfAborted());
    },
  };
}

/** Throws `invalid_request`, naming it, for a text of more than 1 MiB. */
export function checkTextBytes(text: string, param: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxTextBytes) return;
  const message = `${param}: ${bytes} bytes of text are above the maximum ${maxTextBytes}`;
  throw new LoquiError("invalid_request", message, { param });
}
