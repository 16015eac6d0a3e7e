import { availableParallelism } from "node:os";
import { createTokenizer } from "../../tokenizers/tokenizer.ts";
import type { TextEngine } from "../text-engine.ts";
import { encoderOf } from "./architectures.ts";
import { type Checkpoint, fieldsOf, inFolder, openCheckpoint, unusable } from "./checkpoint.ts";
import { buildSentenceGraph } from "./sentence-graph.ts";
import { readLayout } from "./sentence-transformers.ts";
import { openSession } from "./session.ts";

export interface OnnxEngineOptions {
  /** The folder of a checkpoint as Hugging Face's hub has it. */
  readonly path: string;
  /** The longest text, in tokens; the model's own where absent. */
  readonly contextLength?: number | undefined;
  /** Threads to compute with; one for each processor where absent. */
  readonly threads?: number | undefined;
}

/**
 * Loads an encoder from `config.json`, `tokenizer.json` and `model.safetensors`,
 * without an export: the graph is built here, and its weights stay where they
 * are. Throws `model_unavailable`.
 */
export async function openOnnxEngine(options: OnnxEngineOptions): Promise<TextEngine> {
  const checkpoint = openCheckpoint(options.path);
  const layout = await readLayout(checkpoint);
  const config = await checkpoint.json(inFolder(layout.encoder, "config.json"));
  const encoder = encoderOf(config);
  const { tokenizer, maxTokens } = await readTokenizer(checkpoint, layout.encoder, layout.lowerCase);
  if (tokenizer.vocabularySize > encoder.vocabularySize) {
    throw unusable(
      `tokenizer.json has ${tokenizer.vocabularySize} tokens, config.json's vocab_size is ${encoder.vocabularySize}`,
    );
  }
  const most = Math.min(layout.maxTokens ?? maxTokens, encoder.maxPositions);
  const { contextLength = most, threads = availableParallelism() } = options;
  if (contextLength > most) throw unusable(`n_ctx ${contextLength} is above the model's maximum ${most}`);
  const graph = await buildSentenceGraph(checkpoint, encoder, layout);
  const session = await openSession({
    model: graph.model,
    folder: graph.folder,
    threads,
    positions: encoder.positions,
    pooling: layout.pooling,
  });
  return {
    info: {
      architecture: encoder.modelType,
      parameters: graph.parameters,
      vocabularySize: encoder.vocabularySize,
      sizeBytes: graph.weightBytes,
      threads,
    },
    contextLength,
    width: graph.width,
    prompts: layout.prompts,
    defaultPrompt: layout.defaultPrompt,
    tokenize: (text, truncate) => tokenizer.encode(text, contextLength, truncate),
    embed(rows) {
      const lengths = Int32Array.from(rows, (row) => row.length);
      const ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0));
      let at = 0;
      for (const row of rows) {
        ids.set(row, at);
        at += row.length;
      }
      return session.run({ ids, lengths });
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

/** Where a tokenizer has no limit of its own, its configuration says 10^30. */
const unlimited = 1_048_576;

async function readTokenizer(checkpoint: Checkpoint, folder: string, lowerCase: boolean) {
  const model = await checkpoint.json(inFolder(folder, "tokenizer.json"));
  const configFile = inFolder(folder, "tokenizer_config.json");
  const config = (await checkpoint.jsonIfThere(configFile)) ?? {};
  const maxTokens = Math.min(fieldsOf(configFile, config).number("model_max_length", 1, 1e40, unlimited), unlimited);
  try {
    return { tokenizer: createTokenizer(model, config, lowerCase), maxTokens };
  } catch (error) {
    throw unusable("tokenizer.json holds what the tokenizer doesn't know", error);
  }
}
