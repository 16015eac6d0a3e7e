import { setImmediate } from "node:timers/promises";
import { EmbeddingTruncate } from "../../gen/loqui/v1/embedding_pb.ts";
import type { TextEngine, Truncation } from "../engines/text-engine.ts";
import { LoquiError } from "../errors.ts";
import { checkTokenIds } from "./prompt-tokens.ts";

/** Bytes of one text: tokenizing takes the event loop, this some half a second. */
const maxTextBytes = 1024 * 1024;
/** Characters that are tokenized before other calls get their turn. */
const turnLength = 16 * 1024;

/** What there is to embed, and what errors call it: `input`, or `input[3]`. */
export type Input = { readonly param: string } & (
  | { readonly text: string; readonly tokens?: undefined }
  | { readonly tokens: readonly number[]; readonly text?: undefined }
);

/** Makes an input's tokens. */
export interface Rows {
  /**
   * The tokens of an input, as the model takes them: at least one, at most the
   * context. Throws `invalid_request` and `context_too_long`, which name it.
   */
  of(input: Input): Uint32Array;
  /**
   * Lets other calls have their turn, where much text was tokenized since the
   * last. Throws the signal's reason.
   */
  turn(signal: AbortSignal): Promise<void> | undefined;
}

/** `prompt` stands before each text; token ids are taken as they are. */
export function createRows(engine: TextEngine, prompt: string, truncate: EmbeddingTruncate): Rows {
  const { contextLength, info } = engine;
  const truncation = truncationOf(truncate);
  let untilTurn = turnLength;

  function tokenize(text: string, param: string): Uint32Array {
    const bytes = Buffer.byteLength(text);
    if (bytes <= maxTextBytes) return engine.tokenize(prompt + text, truncation);
    const message = `${param}: ${bytes} bytes of text are above the maximum ${maxTextBytes}`;
    throw new LoquiError("invalid_request", message, { param });
  }

  function take(tokens: readonly number[], param: string): Uint32Array {
    checkTokenIds(tokens, info.vocabularySize, param);
    const ids = Uint32Array.from(tokens);
    if (truncation === "start") return ids.slice(-contextLength);
    return truncation === "end" ? ids.slice(0, contextLength) : ids;
  }

  return {
    of({ text, tokens, param }) {
      untilTurn -= text?.length ?? 0;
      const row = tokens === undefined ? tokenize(text, param) : take(tokens, param);
      if (row.length === 0) throw new LoquiError("invalid_request", `${param}: there are no tokens in it`, { param });
      if (row.length <= contextLength) return row;
      throw new LoquiError(
        "context_too_long",
        `This model's maximum context length is ${contextLength} tokens. However, ${param} has ${row.length} tokens.`,
        { param, promptTokens: row.length, contextLength },
      );
    },
    turn(signal) {
      if (untilTurn > 0) return undefined;
      untilTurn = turnLength;
      return setImmediate().then(() => signal.throwIfAborted());
    },
  };
}

function truncationOf(truncate: EmbeddingTruncate): Truncation {
  if (truncate === EmbeddingTruncate.START) return "start";
  return truncate === EmbeddingTruncate.END ? "end" : "none";
}
