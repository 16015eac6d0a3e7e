import { cut } from "../../tokenizers/pairs.ts";
import type { TextEngine } from "../text-engine.ts";
import { addedTokens } from "./added-tokens.ts";
import { openPooledModel, type PooledOptions } from "./pooled-model.ts";

export interface LlamaTextOptions extends PooledOptions {
  /** How tokens become a vector: `mean`, `cls` or `lasttoken`, as a list of one; as the file says where absent. */
  readonly pooling?: readonly string[] | undefined;
}

/**
 * Opens a GGUF model that turns texts into vectors: encoders, and decoders whose
 * last token stands for all. The tokens are llama.cpp's. Throws `model_unavailable`.
 */
export async function openLlamaTextEngine({ pooling, ...options }: LlamaTextOptions): Promise<TextEngine> {
  const pooled = await openPooledModel(options, { vectors: pooling?.join(" and ") });
  const { before, after } = addedTokens(pooled.model);
  const { info, contextLength, width } = pooled;
  return {
    info,
    contextLength,
    width,
    // GGUF has no place for them.
    prompts: new Map(),
    defaultPrompt: undefined,
    tokenize(text, truncate) {
      const tokens = pooled.tokenize(text, true);
      const room = Math.max(contextLength - before.length - after.length, 0);
      const kept = truncate === "none" ? tokens : cut(tokens, room, truncate);
      return Uint32Array.from([...before, ...kept, ...after]);
    },
    embed: (rows) => pooled.run(rows),
    [Symbol.asyncDispose]: () => pooled[Symbol.asyncDispose](),
  };
}
