import type { DrySampling } from "../token-engine.ts";

/** DRY's view of one generation. */
export interface Dry {
  /** Takes the token that was drawn. */
  push(token: number): void;
  /** What the logits of the next token lose, by token. */
  penalties(): Map<number, number>;
}

/** Far beyond what any logit makes up for, and still a 32-bit float when it is divided by a temperature. */
const highestPenalty = 1e30;

/**
 * DRY ("don't repeat yourself", oobabooga/text-generation-webui#5677): the
 * longer the repetition that a token would go on with, the more it loses. As
 * `llama_sampler_dry` in llama.cpp, which isn't used for two reasons: the addon
 * doesn't show it the prompt, and it looks through the whole vocabulary for
 * each generation, during which nothing is decoded. Unlike there, the repeat
 * penalty comes after it: these penalties are a logit bias.
 *
 * `history` is the prompt; `bytesOf` is what a token stands for, with the names
 * of control tokens. Each token costs a pass over the window, some 10 ns a position.
 */
export function createDry(settings: DrySampling, history: Uint32Array, bytesOf: (token: number) => Buffer): Dry {
  const { multiplier, base, allowedLength, window } = settings;
  const breakers = settings.breakers.map((text) => Buffer.from(text));
  const longest = Math.max(1, ...breakers.map((breaker) => breaker.length));
  /** Tokens that hold a whole breaker; they are never punished. */
  const breaking = new Map<number, boolean>();
  // Room for two windows: when it is full, the last window moves to its front.
  const tokens = new Uint32Array(2 * window);
  const repeated = new Uint32Array(window);
  let length = 0;
  /** Tokens behind the last breaker. */
  let unbroken = 0;
  /** The text's end, as far as a breaker that isn't complete can reach back. */
  let tail: Buffer = Buffer.alloc(0);

  function begin(past: Uint32Array): void {
    tokens.set(past);
    length = past.length;
    const texts = Array.from(past, bytesOf);
    const text = Buffer.concat(texts);
    tail = text.subarray(Math.max(0, text.length - longest + 1));
    const end = lastEnd(text);
    for (let start = text.length; unbroken < length; unbroken++) {
      start -= texts[length - 1 - unbroken]?.length ?? 0;
      if (start < end) break;
    }
  }

  /** Where the last breaker ends in a text; 0 without one. */
  function lastEnd(text: Buffer): number {
    return breakers.reduce((end, breaker) => {
      const at = text.lastIndexOf(breaker);
      return at === -1 ? end : Math.max(end, at + breaker.length);
    }, 0);
  }

  function isBreaking(token: number): boolean {
    let known = breaking.get(token);
    if (known === undefined) {
      const text = bytesOf(token);
      known = breakers.some((breaker) => text.includes(breaker));
      breaking.set(token, known);
    }
    return known;
  }

  begin(history.subarray(Math.max(0, history.length - window)));

  return {
    push(token) {
      if (length === tokens.length) {
        tokens.copyWithin(0, length - window);
        length = window;
      }
      tokens[length++] = token;
      const text = Buffer.concat([tail, bytesOf(token)]);
      unbroken = lastEnd(text) > tail.length ? 0 : unbroken + 1;
      tail = text.subarray(Math.max(0, text.length - longest + 1));
    },
    penalties() {
      const result = new Map<number, number>();
      const last = tokens.subarray(Math.max(0, length - window), length);
      const limit = Math.min(last.length, unbroken);
      if (last.length <= allowedLength || limit < allowedLength) return result;
      countRepeats(last, repeated);
      const lengths = new Map<number, number>();
      for (let back = 1; back < last.length; back++) {
        const count = Math.min(repeated[back] ?? 0, limit);
        if (count < allowedLength) continue;
        // The token that followed the same text before.
        const next = last[last.length - back] ?? 0;
        if (count > (lengths.get(next) ?? -1)) lengths.set(next, count);
      }
      for (const [token, count] of lengths) {
        if (isBreaking(token)) continue;
        result.set(token, Math.min(multiplier * base ** (count - allowedLength), highestPenalty));
      }
      return result;
    },
  };
}

/**
 * Sets `repeated[back]` to the number of tokens that the end of the text and
 * the end of the text without its last `back` tokens have in common: the
 * Z-algorithm, backwards.
 */
function countRepeats(tokens: Uint32Array, repeated: Uint32Array): void {
  const { length } = tokens;
  const last = length - 1;
  let left = 0;
  let right = 0;
  for (let back = 1; back < length; back++) {
    let count = back < right ? Math.min(repeated[back - left] ?? 0, right - back) : 0;
    while (back + count < length && tokens[last - count] === tokens[last - back - count]) count++;
    repeated[back] = count;
    if (back + count > right) {
      left = back;
      right = back + count;
    }
  }
}
