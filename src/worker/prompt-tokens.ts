import type { TokenEngine } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import { checkPromptFits } from "./scheduler.ts";

/** Throws `invalid_request`, naming the place, for a token id of a request that the model doesn't have. */
export function checkTokenIds(tokens: readonly number[], vocabularySize: number, param: string): void {
  const strange = tokens.findIndex((token) => token >= vocabularySize);
  if (strange === -1) return;
  const place = `${param}[${strange}]`;
  const message = `${place}: ${tokens[strange]} is not in the vocabulary of ${vocabularySize} tokens`;
  throw new LoquiError("invalid_request", message, { param: place });
}

/** Throws `context_too_long` for a text that can't fit, however few tokens it has: tokenizing takes the event loop. */
export function checkTextFits(text: string, { info, contextLength }: TokenEngine, param: string): void {
  checkPromptFits(Math.ceil(Buffer.byteLength(text) / info.longestTokenBytes), contextLength, param, true);
}
