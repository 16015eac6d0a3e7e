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
  readonly returnSparse?: boolean | undefined;
  readonly returnMultivector?: boolean | undefined;
}

/** What the options of a request come to. */
interface Prepared {
  readonly rows: Rows;
  readonly form: VectorForm;
  /** What is wanted of tokens. */
  readonly wanted: ReadonlySet<TokenOutput>;
}

/** CreateEmbeddings, and EmbedItems, of which StreamEmbeddings is made. */
export function createEmbeddingMethods({ engine, batcher }: EmbeddingOptions): WorkerMethods {
  /** Throws for options that the model can't honour, before any text is looked at. */
  function prepare(options: CommonOptions): Prepared {
    const form = {
      dimensions: dimensionsOf(options, engine.width),
      normalize: options.normalize ?? true,
      format: options.encodingFormat,
    };
    const wanted = tokenOutputsOf(options, engine);
    return { rows: createRows(engine, promptOf(options, engine), options.truncate), form, wanted };
  }

  const createEmbeddings: WorkerMethod = async (bytes, { tenant, signal }) => {
    const arrivedAt = performance.now();
    const request = fromBinary(CreateEmbeddingsRequestSchema, bytes);
    const { rows, form, wanted } = prepare(request);
    const texts: TextRow[] = [];
    for (const input of inputsOf(request)) {
      texts.push(textRow(rows.of(input), wanted));
      await rows.turn(signal);
    }
    const promptTokens = countOf(texts);
    checkMultivectors(texts, engine);
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
    return {
      vector: finishVector(vector, form),
      sparse,
      multivector: multivector === undefined ? undefined : finishMultivector(multivector, width, form.normalize),
    };
  }

  const embedItems: WorkerMethod = async (bytes, { tenant, signal }) => {
    const arrivedAt = performance.now();
    const { items, options = create(StreamEmbeddingsOptionsSchema) } = fromBinary(EmbedItemsRequestSchema, bytes);
    const prepared = prepare(options);
    const outcomes: (TextRow | LoquiError)[] = [];
    let groupBytes = 0;
    for (const item of items) {
      const outcome = rowOrError(prepared, item, engine);
      if (!(outcome instanceof LoquiError)) groupBytes += multivectorBytes(outcome, engine);
      // The front sends the rest again when it has sent on what this makes.
      if (groupBytes > maxGroupBytes && outcomes.length > 0) break;
      outcomes.push(outcome);
      await prepared.rows.turn(signal);
    }
    const good = outcomes.filter((outcome): outcome is TextRow => !(outcome instanceof LoquiError));
    const { vectors, queueMs } =
      good.length === 0 ? { vectors: [], queueMs: 0 } : await batcher.run({ rows: good, tenant }, signal);
    let next = 0;
    const { form } = prepared;
    const last = outcomes.map((outcome, at) => {
      const id = items[at]?.id ?? "";
      if (outcome instanceof LoquiError) return encodeError(id, outcome);
      const vector = vectors[next];
      next += 1;
      if (vector === undefined) throw new Error("a row has no vector");
      return encodeItem(finish(vector, outcome, form), form.format, { id, promptTokens: outcome.length });
    });
    return { last, totals: readTotals(countOf(good), queueMs, arrivedAt) };
  };

  return new Map([
    [methodName(EmbeddingService.method.createEmbeddings), createEmbeddings],
    [methodName(EmbeddingItemService.method.embedItems), embedItems],
  ]);
}

/** What is wanted of tokens. Throws `unsupported` where the model doesn't make it. */
function tokenOutputsOf(
  { returnSparse, returnMultivector }: CommonOptions,
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
/** The same of all answers of a stream that are sent together, where they are several: they wait for its reader. */
const maxGroupBytes = 8 * 1024 * 1024;

/** Of each token but the first a vector is given. */
function multivectorBytes({ length, wanted }: TextRow, { tokenHeads }: TextEngine): number {
  return wanted.has("multivector") ? 4 * (length - 1) * (tokenHeads?.multivectorWidth ?? 0) : 0;
}

function checkMultivectors(rows: readonly TextRow[], engine: TextEngine): void {
  const bytes = rows.reduce((sum, row) => sum + multivectorBytes(row, engine), 0);
  if (bytes <= maxMultivectorBytes) return;
  const count = countOf(rows) - rows.length;
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

function rowOrError({ rows, wanted }: Prepared, item: StreamEmbeddingsItem, engine: TextEngine): TextRow | LoquiError {
  try {
    const row = textRow(rows.of(inputOf(item)), wanted);
    checkMultivectors([row], engine);
    return row;
  } catch (error) {
    if (error instanceof LoquiError) return error;
    throw error;
  }
}

function inputOf({ input }: StreamEmbeddingsItem): Input {
  switch (input.case) {
    case "text":
      return { param: "text", text: input.value };
    case "tokens":
      return { param: "tokens", tokens: input.value.ids };
    case undefined:
      throw new LoquiError("invalid_request", "input is required", { param: "input" });
    default:
      return input satisfies never;
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
