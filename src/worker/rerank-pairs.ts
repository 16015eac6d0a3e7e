import type { PairEngine, PairTokens } from "../engines/pair-engine.ts";
import type { Truncation } from "../engines/text-engine.ts";
import { LoquiError } from "../errors.ts";
import { createTextTurns, type TextTurns } from "./text-turns.ts";

/** A text, and what errors call it. */
export interface NamedText {
  readonly param: string;
  readonly text: string;
  /** Characters that were read to make it; its own where absent. */
  readonly length?: number;
}

/** How the pairs of a request are made. */
export interface PairOptions {
  /** What becomes of a pair that is longer than the limit. */
  readonly truncate: Truncation;
  /** Tokens of a pair; what the model's context holds where absent. */
  readonly limit?: number | undefined;
  /** Tokens that are read of the second text. */
  readonly maxTokensPerDoc?: number | undefined;
  readonly instruction?: string | undefined;
}

/** Makes the pairs of one request. */
export interface PairMaker extends Pick<TextTurns, "turn"> {
  /** The tokens of a text that is the first of pairs. */
  first(text: NamedText): Uint32Array;
  /**
   * The pair of a first text and a second one, as the model takes it. Throws
   * `context_too_long`, naming both, where it is longer than the context.
   */
  pair(first: Uint32Array, firstParam: string, second: NamedText): PairTokens;
  /** Which second texts were cut by `maxTokensPerDoc`, by what errors call them. */
  readonly cut: readonly string[];
}

/** Throws `unsupported` for an instruction to a model that takes none. */
export function createPairMaker(engine: PairEngine, options: PairOptions): PairMaker {
  const { truncate, limit, maxTokensPerDoc, instruction } = options;
  if (instruction !== undefined && !engine.takesInstruction) {
    const message = "instruction: the model has no template for instructions";
    throw new LoquiError("unsupported", message, { param: "instruction" });
  }
  const cut: string[] = [];
  const { take, turn } = createTextTurns();
  const check = ({ text, param, length }: NamedText) => take(text, param, length);

  return {
    cut,
    first: (text) => engine.tokenizeQuery(check(text), instruction),
    pair(first, firstParam, second) {
      const document = engine.tokenizeDocument(check(second), maxTokensPerDoc);
      if (document.cut) cut.push(second.param);
      const pair = engine.pair(first, document.tokens, truncate, limit);
      const { contextLength } = engine;
      if (pair.length > 0 && pair.length <= contextLength) return pair;
      const { param } = second;
      if (pair.length === 0) throw new LoquiError("invalid_request", `${param}: there are no tokens in it`, { param });
      throw new LoquiError(
        "context_too_long",
        `This model's maximum context length is ${contextLength} tokens. However, ${firstParam} and ${param} have ${pair.length} tokens together.`,
        { param, promptTokens: pair.length, contextLength },
      );
    },
    turn,
  };
}
