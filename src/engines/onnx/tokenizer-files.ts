import { createTokenizer, type TextTokenizer } from "../../tokenizers/tokenizer.ts";
import { type Checkpoint, fieldsOf, inFolder, unusable } from "./checkpoint.ts";

/** Where a tokenizer has no limit of its own, its configuration says 10^30. */
const unlimited = 1_048_576;

/**
 * The tokenizer of a checkpoint's folder, and how many tokens it lets a text
 * have. Throws `model_unavailable` where it can't be read, or has tokens that the
 * model doesn't know.
 */
export async function readTokenizer(
  checkpoint: Checkpoint,
  folder: string,
  lowerCase: boolean,
  { vocabularySize }: { readonly vocabularySize: number },
): Promise<{ readonly tokenizer: TextTokenizer; readonly maxTokens: number }> {
  const model = await checkpoint.json(inFolder(folder, "tokenizer.json"));
  const configFile = inFolder(folder, "tokenizer_config.json");
  const config = (await checkpoint.jsonIfThere(configFile)) ?? {};
  const maxTokens = Math.min(fieldsOf(configFile, config).number("model_max_length", 1, 1e40, unlimited), unlimited);
  const tokenizer = create(model, config, lowerCase);
  if (tokenizer.vocabularySize <= vocabularySize) return { tokenizer, maxTokens };
  throw unusable(
    `tokenizer.json has ${tokenizer.vocabularySize} tokens, config.json's vocab_size is ${vocabularySize}`,
  );
}

function create(model: unknown, config: unknown, lowerCase: boolean): TextTokenizer {
  try {
    return createTokenizer(model, config, lowerCase);
  } catch (error) {
    throw unusable("tokenizer.json holds what the tokenizer doesn't know", error);
  }
}
