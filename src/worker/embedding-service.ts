import { setImmediate } from "node:timers/promises";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type CreateEmbeddingsRequest,
  type Embedding,
  EmbeddingEncodingFormat,
  type EmbeddingSchema,
  EmbeddingService,
  EmbeddingTruncate,
  FloatVectorSchema,
} from "../../gen/loqui/v1/embedding_pb.ts";
import type { TextEngine, Truncation } from "../engines/text-engine.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import type { Batcher } from "./batcher.ts";
import type { WorkerMethods } from "./method.ts";
import { checkTokenIds } from "./prompt-tokens.ts";

export interface EmbeddingOptions {
  readonly engine: TextEngine;
  readonly batcher: Batcher;
}

/** Bytes of one text: tokenizing takes the event loop, this some half a second. */
const maxTextBytes = 1024 * 1024;
/** Characters that are tokenized before other calls get their turn. */
const turnLength = 16 * 1024;

/** What there is to embed, and what errors call it: `input`, or `input[3]`. */
type Input = { readonly param: string } & (
  | { readonly text: string; readonly tokens?: undefined }
  | { readonly tokens: readonly number[]; readonly text?: undefined }
);

/** CreateEmbeddings. */
export function createEmbeddingMethods({ engine, batcher }: EmbeddingOptions): WorkerMethods {
  const { input, output } = EmbeddingService.method.createEmbeddings;
  const { width } = engine;

  async function rowsOf(request: CreateEmbeddingsRequest, signal: AbortSignal): Promise<Uint32Array[]> {
    const prompt = promptOf(request, engine);
    const truncate = truncationOf(request.truncate);
    const rows: Uint32Array[] = [];
    let untilTurn = turnLength;
    for (const input of inputsOf(request)) {
      const row = input.tokens === undefined ? tokenize(prompt, input, truncate) : takeTokens(input, truncate);
      checkRow(row.length, input.param);
      rows.push(row);
      untilTurn -= input.text?.length ?? 0;
      if (untilTurn > 0) continue;
      untilTurn = turnLength;
      await setImmediate();
      signal.throwIfAborted();
    }
    return rows;
  }

  function tokenize(prompt: string, { text, param }: Input & { text: string }, truncate: Truncation): Uint32Array {
    const bytes = Buffer.byteLength(text);
    if (bytes <= maxTextBytes) return engine.tokenize(prompt + text, truncate);
    const message = `${param}: ${bytes} bytes of text are above the maximum ${maxTextBytes}`;
    throw new LoquiError("invalid_request", message, { param });
  }

  function takeTokens({ tokens, param }: Input & { tokens: readonly number[] }, truncate: Truncation): Uint32Array {
    checkTokenIds(tokens, engine.info.vocabularySize, param);
    const ids = Uint32Array.from(tokens);
    if (truncate === "start") return ids.slice(-engine.contextLength);
    return truncate === "end" ? ids.slice(0, engine.contextLength) : ids;
  }

  function checkRow(tokens: number, param: string): void {
    const { contextLength } = engine;
    if (tokens === 0) throw new LoquiError("invalid_request", `${param}: there are no tokens in it`, { param });
    if (tokens <= contextLength) return;
    throw new LoquiError(
      "context_too_long",
      `This model's maximum context length is ${contextLength} tokens. However, ${param} has ${tokens} tokens.`,
      { param, promptTokens: tokens, contextLength },
    );
  }

  return new Map([
    [
      methodName(EmbeddingService.method.createEmbeddings),
      async (bytes, { tenant, signal }) => {
        const arrivedAt = performance.now();
        const request = fromBinary(input, bytes);
        const dimensions = dimensionsOf(request, width);
        const rows = await rowsOf(request, signal);
        const promptTokens = rows.reduce((sum, row) => sum + row.length, 0);
        const { vectors, queueMs } = await batcher.run({ rows, tenant }, signal);
        const data = rows.map((_, index): MessageInitShape<typeof EmbeddingSchema> => {
          const vector = vectors.subarray(index * width, index * width + dimensions);
          finish(vector, request.normalize ?? true);
          const embedding = encodeVector(vector, request.encodingFormat);
          return { object: "embedding", index, embedding };
        });
        const usage = { promptTokens, totalTokens: promptTokens };
        const response = create(output, { object: "list", data, model: request.model, usage });
        const totals = {
          promptTokens,
          cachedTokens: 0,
          completionTokens: 0,
          queueMs,
          firstTokenMs: performance.now() - arrivedAt,
          generationMs: 0,
        };
        return { last: [toBinary(output, response)], totals };
      },
    ],
  ]);
}

function truncationOf(truncate: EmbeddingTruncate): Truncation {
  if (truncate === EmbeddingTruncate.START) return "start";
  return truncate === EmbeddingTruncate.END ? "end" : "none";
}

function inputsOf({ input }: CreateEmbeddingsRequest): Input[] {
  switch (input.case) {
    case "text":
      return [{ param: "input", text: input.value }];
    case "texts":
      return input.value.texts.map((text, index) => ({ param: `input[${index}]`, text }));
    case "tokens":
      return [{ param: "input", tokens: input.value.ids }];
    case "tokenLists":
      return input.value.lists.map(({ ids }, index) => ({ param: `input[${index}]`, tokens: ids }));
    case undefined:
      throw new LoquiError("invalid_request", "input is required", { param: "input" });
    default:
      return input satisfies never;
  }
}

function dimensionsOf({ dimensions }: CreateEmbeddingsRequest, width: number): number {
  if (dimensions === undefined || dimensions <= width) return dimensions ?? width;
  const message = `dimensions: ${dimensions} is above the ${width} that the model has`;
  throw new LoquiError("invalid_request", message, { param: "dimensions" });
}

/** Names that models have for the prompts of the two parts of retrieval. */
const synonyms: readonly (readonly string[])[] = [
  ["query", "search_query"],
  ["document", "search_document", "passage"],
];

/** The text to put before each input. Throws where the model has none of that name, or takes no instruction. */
function promptOf({ inputType, promptName, instruction }: CreateEmbeddingsRequest, engine: TextEngine): string {
  const { prompts, defaultPrompt } = engine;
  if (instruction !== undefined) {
    const message = "instruction: the model has no template for instructions";
    throw new LoquiError("unsupported", message, { param: "instruction" });
  }
  if (promptName !== undefined) return promptNamed([promptName], "prompt_name", promptName, prompts);
  if (inputType === undefined) return defaultPrompt === undefined ? "" : (prompts.get(defaultPrompt) ?? "");
  if (prompts.size === 0) return "";
  const names = synonyms.find((names) => names.includes(inputType)) ?? [];
  return promptNamed([inputType, ...names], "input_type", inputType, prompts);
}

function promptNamed(
  names: readonly string[],
  param: string,
  value: string,
  prompts: ReadonlyMap<string, string>,
): string {
  for (const name of names) {
    const prompt = prompts.get(name);
    if (prompt !== undefined) return prompt;
  }
  const known = prompts.size === 0 ? "it has none" : `it has ${[...prompts.keys()].join(", ")}`;
  throw new LoquiError("invalid_request", `${param}: the model has no prompt ${value}, ${known}`, { param });
}

/** Scales a vector to length 1, in place; the zero vector stays. Throws where a number is none that JSON knows. */
function finish(vector: Float32Array, normalize: boolean): void {
  let squares = 0;
  for (const number of vector) squares += number * number;
  const length = Math.sqrt(squares);
  if (!Number.isFinite(length)) throw new Error("the model's vector is not finite");
  if (!normalize || length === 0) return;
  for (let at = 0; at < vector.length; at += 1) vector[at] = (vector[at] ?? 0) / length;
}

function encodeVector(vector: Float32Array, format: EmbeddingEncodingFormat): Embedding["embedding"] {
  return format === EmbeddingEncodingFormat.BASE64
    ? { case: "packed", value: new Uint8Array(vector.buffer as ArrayBuffer, vector.byteOffset, vector.byteLength) }
    : { case: "values", value: create(FloatVectorSchema, { values: Array.from(vector) }) };
}
