import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type CreateEmbeddingsRequest,
  CreateEmbeddingsRequestSchema,
  type EmbeddingEncodingFormat,
  EmbeddingService,
  type EmbeddingTruncate,
  type StreamEmbeddingsItem,
  StreamEmbeddingsOptionsSchema,
  StreamEmbeddingsResponseSchema,
} from "../../gen/loqui/v1/embedding_pb.ts";
import { EmbeddingItemService, EmbedItemsRequestSchema } from "../../gen/loqui/worker/v1/worker_pb.ts";
import type { TextEngine } from "../engines/text-engine.ts";
import type { TokenOutput } from "../engines/token-outputs.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import type { Batcher } from "./batcher.ts";
import { type TextRow, textRow } from "./embedding-batches.ts";
import { type PromptChoice, promptOf } from "./embedding-prompt.ts";
import { createRows, type Input, type Rows } from "./embedding-rows.ts";
import {
  encodeAnswer,
  encodeItem,
  type FinishedInput,
  finishMultivector,
  finishVector,
  type VectorForm,
} from "./embedding-vectors.ts";
import { encodeFailure } from "./failure.ts";
import type { WorkerMethod, WorkerMethods } from "./method.ts";
import { readTotals } from "./totals.ts";

export interface EmbeddingOptions {
  readonly engine: TextEngine;
  readonly batcher: Batcher<TextRow>;
}

/** What CreateEmbeddings and StreamEmbeddings have in common. */
interface CommonOptions extends PromptChoice {
  readonly dimensions?: number | undefined;
  readonly normalize?: boolean | undefined;
  readonly encodingFormat: EmbeddingEncodingFormat;
  readonly truncate: EmbeddingTruncate;
}

/** CreateEmbeddings, and EmbedItems, of which StreamEmbeddings is made. */
export function createEmbeddingMethods({ engine, batcher }: EmbeddingOptions): WorkerMethods {
  /** Throws for options that the model can't honour, before any text is looked at. */
  function prepare(options: CommonOptions): { readonly rows: Rows; readonly form: VectorForm } {
    const form = {
      dimensions: dimensionsOf(options, engine.width),
      normalize: options.normalize ?? true,
      format: options.encodingFormat,
    };
    return { rows: createRows(engine, promptOf(options, engine), options.truncate), form };
  }

  const createEmbeddings: WorkerMethod = async (bytes, { tenant, signal }) => {
    const arrivedAt = performance.now();
    const request = fromBinary(CreateEmbeddingsRequestSchema, bytes);
    const { rows, form } = prepare(request);
    const wanted = tokenOutputsOf(request, engine);
    const texts: TextRow[] = [];
    for (const input of inputsOf(request)) {
      texts.push(textRow(rows.of(input), wanted));
      await rows.turn(signal);
    }
    const promptTokens = countOf(texts);
    if (wanted.has("multivector")) checkMultivectors(promptTokens - texts.length, engine);
    const { vectors, queueMs } = await batcher.run({ rows: texts, tenant }, signal);
    const finished = vectors.map((vector, at) => finish(vector, texts[at], form));
    return {
      last: [encodeAnswer(finished, form.format, { model: request.model, promptTokens })],
      totals: readTotals(promptTokens, queueMs, arrivedAt),
    };
  };

  function finish(vector: Float32Array, row: TextRow | undefined, form: VectorForm): FinishedInput {
    const { sparse, multivector } = row?.outputs ?? {};
    const width = engine.tokenHeads?.multivectorWidth ?? 0;
    const { wanted } = row ?? {};
    // Another row of the batch may have wanted more.
    return {
      vector: finishVector(vector, form),
      sparse: wanted?.has("sparse") ? sparse : undefined,
      multivector:
        multivector !== undefined && wanted?.has("multivector")
          ? finishMultivector(multivector, width, form.normalize)
          : undefined,
    };
  }

  const embedItems: WorkerMethod = async (bytes, { tenant, signal }) => {
    const arrivedAt = performance.now();
    const { items, options = create(StreamEmbeddingsOptionsSchema) } = fromBinary(EmbedItemsRequestSchema, bytes);
    const { rows, form } = prepare(options);
    const outcomes: (Uint32Array | LoquiError)[] = [];
    for (const item of items) {
      outcomes.push(rowOrError(rows, item));
      await rows.turn(signal);
    }
    const good = outcomes.filter((outcome) => outcome instanceof Uint32Array);
    const { vectors, queueMs } =
      good.length === 0
        ? { vectors: [], queueMs: 0 }
        : await batcher.run({ rows: good.map((row) => textRow(row, none)), tenant }, signal);
    let next = 0;
    const last = outcomes.map((outcome, at) => {
      const id = items[at]?.id ?? "";
      if (outcome instanceof LoquiError) return encodeError(id, outcome);
      const vector = vectors[next];
      next += 1;
      if (vector === undefined) throw new Error("a row has no vector");
      return encodeItem(id, finishVector(vector, form), form.format, outcome.length);
    });
    return { last, totals: readTotals(countOf(good), queueMs, arrivedAt) };
  };

  return new Map([
    [methodName(EmbeddingService.method.createEmbeddings), createEmbeddings],
    [methodName(EmbeddingItemService.method.embedItems), embedItems],
  ]);
}

const none: ReadonlySet<TokenOutput> = new Set();

/** What is wanted of tokens. Throws `unsupported` where the model doesn't make it. */
function tokenOutputsOf(
  { returnSparse, returnMultivector }: CreateEmbeddingsRequest,
  { tokenHeads }: TextEngine,
): ReadonlySet<TokenOutput> {
  const wanted = new Set<TokenOutput>();
  if (returnSparse === true) wanted.add("sparse");
  if (returnMultivector === true) wanted.add("multivector");
  for (const output of wanted) {
    if (tokenHeads?.outputs.has(output)) continue;
    const param = `return_${output}`;
    const what = output === "sparse" ? "weights" : "vectors";
    throw new LoquiError("unsupported", `${param}: the model makes no ${what} of tokens`, { param });
  }
  return wanted;
}

/** Bytes of all vectors of tokens in one answer; as numbers in JSON they are three times as many. */
const maxMultivectorBytes = 32 * 1024 * 1024;

function checkMultivectors(count: number, { tokenHeads }: TextEngine): void {
  const bytes = 4 * count * (tokenHeads?.multivectorWidth ?? 0);
  if (bytes <= maxMultivectorBytes) return;
  const param = "return_multivector";
  const message = `${param}: ${count} vectors of tokens have ${bytes} bytes, the maximum is ${maxMultivectorBytes}`;
  throw new LoquiError("invalid_request", message, { param });
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

function rowOrError(rows: Rows, { input }: StreamEmbeddingsItem): Uint32Array | LoquiError {
  try {
    switch (input.case) {
      case "text":
        return rows.of({ param: "text", text: input.value });
      case "tokens":
        return rows.of({ param: "tokens", tokens: input.value.ids });
      case undefined:
        throw new LoquiError("invalid_request", "input is required", { param: "input" });
      default:
        return input satisfies never;
    }
  } catch (error) {
    if (error instanceof LoquiError) return error;
    throw error;
  }
}

function encodeError(id: string, failure: LoquiError): Uint8Array {
  const { message, detail } = encodeFailure(failure);
  const error = { message, ...(detail !== undefined && { detail }) };
  const response = create(StreamEmbeddingsResponseSchema, { id, result: { case: "error", value: error } });
  return toBinary(StreamEmbeddingsResponseSchema, response);
}

function dimensionsOf({ dimensions }: CommonOptions, width: number): number {
  if (dimensions === undefined || dimensions <= width) return dimensions ?? width;
  const message = `dimensions: ${dimensions} is above the ${width} that the model has`;
  throw new LoquiError("invalid_request", message, { param: "dimensions" });
}

function countOf(rows: readonly { readonly length: number }[]): number {
  return rows.reduce((sum, row) => sum + row.length, 0);
}
