import type { CreateEmbeddingsRequest } from "../../gen/loqui/v1/embedding_pb.ts";
import type { TextEngine, Truncation } from "../engines/text-engine.ts";
import { LoquiError } from "../errors.ts";
import { checkTokenIds } from "./prompt-tokens.ts";
import { createTextTurns, type TextTurns } from "./text-turns.ts";

/** What there is to embed, and what errors call it: `input`, or `input[3]`. */
export type Input = { readonly param: string } & (
  | { readonly text: string; readonly tokens?: undefined }
  | { readonly tokens: readonly number[]; readonly text?: undefined }
);

/** Makes an input's tokens. */
export interface Rows extends Pick<TextTurns, "turn"> {
  /**
   * The tokens of an input, as the model takes them: at least one, at most the
   * context. Throws `invalid_request` and `context_too_long`, which name it.
   */
  of(input: Input): Uint32Array;
}

/** `prompt` stands before each text; token ids are taken as they are. */
export function createRows(engine: TextEngine, prompt: string, truncation: Truncation): Rows {
  const { contextLength, info } = engine;
  const { take: takeText, turn } = createTextTurns();

  function tokenize(text: string, param: string): Uint32Array {
    return engine.tokenize(prompt + takeText(text, param), truncation);
  }

  function take(tokens: readonly number[], param: string): Uint32Array {
    checkTokenIds(tokens, info.vocabularySize, param);
    const ids = Uint32Array.from(tokens);
    if (truncation === "start") return ids.slice(-contextLength);
    return truncation === "end" ? ids.slice(0, contextLength) : ids;
  }

  return {
    of({ text, tokens, param }) {
      const row = tokens === undefined ? tokenize(text, param) : take(tokens, param);
      if (row.length === 0) throw new LoquiError("invalid_request", `${param}: there are no tokens in it`, { param });
      if (row.length <= contextLength) return row;
      throw new LoquiError(
        "context_too_long",
        `This model's maximum context length is ${contextLength} tokens. However, ${param} has ${row.length} tokens.`,
        { param, promptTokens: row.length, contextLength },
      );
    },
    turn,
  };
}

/** The inputs of a request, whose member of that name holds them in one of their forms. */
export function inputsOf(param: string, input: CreateEmbeddingsRequest["input"]): Input[] {
  switch (input.case) {
    case "text":
      return [{ param, text: input.value }];
    case "texts":
      return input.value.texts.map((text, index) => ({ param: `${param}[${index}]`, text }));
    case "tokens":
      return [{ param, tokens: input.value.ids }];
    case "tokenLists":
      return input.value.lists.map(({ ids }, index) => ({ param: `${param}[${index}]`, tokens: ids }));
    case undefined:
      throw new LoquiError("invalid_request", `${param} is required`, { param });
    default:
      return input satisfies never;
  }
}
