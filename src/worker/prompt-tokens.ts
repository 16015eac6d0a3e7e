import type { TokenEngine } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";

/** Throws `invalid_request`, naming the place, for a token id of a request that the model doesn't have. */
export function checkTokenIds(tokens: readonly number[], vocabularySize: number, param: string): void {
  const strange = tokens.findIndex((token) => token >= vocabularySize);
  if (strange === -1) return;
  const place = `${param}[${strange}]`;
  const message = `${place}: ${tokens[strange]} is not in the vocabulary of ${vocabularySize} tokens`;
  throw new LoquiError("invalid_request", message, { param: place });
}

/**
 * Throws `context_too_long`, in OpenAI's words, for a prompt that leaves no
 * room for a token. `param` is the field that the prompt is made of; with
 * `atLeast` the prompt may have more tokens.
 */
export function checkPromptFits(promptTokens: number, contextLength: number, param?: string, atLeast = false): void {
  if (promptTokens < contextLength) return;
  throw new LoquiError(
    "context_too_long",
    `This model's maximum context length is ${contextLength} tokens. However, your ${param ?? "messages"} resulted in ${atLeast ? "at least " : ""}${promptTokens} tokens.`,
    { promptTokens, contextLength, ...(param !== undefined && { param }) },
  );
}

/** Throws `invalid_request`, naming the field, for a text that the model can't tokenize. */
export function checkTokenizable(text: string, engine: Pick<TokenEngine, "refusal">, param: string): void {
  const refusal = engine.refusal(text);
  if (refusal !== undefined) throw new LoquiError("invalid_request", `${param}: ${refusal}`, { param });
}

/**
 * Throws `context_too_long` for a text that can't fit, however few tokens it
 * has: tokenizing takes the event loop; else as {@link checkTokenizable}.
 */
export function checkTextFits(text: string, engine: TokenEngine, param: string): void {
  const { info, contextLength } = engine;
  checkPromptFits(Math.ceil(Buffer.byteLength(text) / info.longestTokenBytes), contextLength, param, true);
  checkTokenizable(text, engine, param);
}
