import type { TextEngine, Truncation } from "../text-engine.ts";
import { vocabularyType } from "./addon.ts";
import { openPooledModel, type PooledModel, type PooledOptions } from "./pooled-model.ts";

export interface LlamaTextOptions extends PooledOptions {
  /** How tokens become a vector: `mean`, `cls`, `lasttoken`; as the file says where absent. */
  readonly pooling?: string | undefined;
}

/**
 * Opens a GGUF model that turns texts into vectors: encoders, and decoders whose
 * last token stands for all. The tokens are llama.cpp's. Throws `model_unavailable`.
 */
export async function openLlamaTextEngine({ pooling, ...options }: LlamaTextOptions): Promise<TextEngine> {
  const pooled = await openPooledModel(options, { vectors: pooling });
  const { before, after } = addedTokens(pooled);
  const { info, contextLength, width } = pooled;
  return {
    info,
    contextLength,
    width,
    // GGUF has no place for them.
    prompts: new Map(),
    defaultPrompt: undefined,
    tokenize(text, truncate) {
      const tokens = cut(pooled.tokenize(text, true), contextLength - before.length - after.length, truncate);
      return Uint32Array.from([...before, ...tokens, ...after]);
    },
    embed: (rows) => pooled.run(rows),
    [Symbol.asyncDispose]: () => pooled[Symbol.asyncDispose](),
  };
}

/** The tokens that the model wants around every text. WordPiece's are not said to be added, but llama.cpp always does. */
export function addedTokens({ model }: PooledModel): { readonly before: number[]; readonly after: number[] } {
  const wordPiece = model.vocabularyType === vocabularyType.wordPiece;
  const tokens = (token: number | undefined, added: boolean) => (added && token !== undefined ? [token] : []);
  return {
    before: tokens(model.bosToken, model.addBos || wordPiece),
    after: wordPiece ? tokens(model.separatorToken, true) : tokens(model.eosToken, model.addEos),
  };
}

/** At most `most` tokens, or all where nothing is to be cut. */
function cut(tokens: Uint32Array, most: number, truncate: Truncation): Uint32Array {
  if (truncate === "none" || tokens.length <= most) return tokens;
  const kept = Math.max(most, 0);
  return truncate === "end" ? tokens.subarray(0, kept) : tokens.subarray(tokens.length - kept);
}
