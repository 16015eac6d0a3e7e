import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type CreateEmbeddingsRequest,
  CreateEmbeddingsRequestSchema,
  EmbeddingService,
  EmbeddingTruncate,
  type StreamEmbeddingsItem,
  type StreamEmbeddingsOptions,
  StreamEmbeddingsOptionsSchema,
  StreamEmbeddingsResponseSchema,
} from "../../gen/loqui/v1/embedding_pb.ts";
import { EmbeddingItemService, EmbedItemsRequestSchema } from "../../gen/loqui/worker/v1/worker_pb.ts";
import type { TextEngine, Truncation } from "../engines/text-engine.ts";
import type { TokenOutput } from "../engines/token-outputs.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import { type TextRow, textRow } from "./embedding-batches.ts";
import { type Input, inputsOf } from "./embedding-rows.ts";
import { encodeAnswer, encodeItem } from "./embedding-vectors.ts";
import { encodeFailure } from "./failure.ts";
import type { WorkerMethod, WorkerMethods } from "./method.ts";
import { checkMultivectors, multivectorBytes } from "./multivector-limits.ts";
import {
  countOf,
  createTextEmbedder,
  type EmbeddingOptions,
  type Prepared,
  type ReadingOptions,
  vectorAt,
} from "./text-embedder.ts";
import { readTotals } from "./totals.ts";

/** What says how a request wants its texts to be read. */
type Options = CreateEmbeddingsRequest | StreamEmbeddingsOptions;

/** CreateEmbeddings, and EmbedItems, of which StreamEmbeddings is made. */
export function createEmbeddingMethods({ engine, batcher }: EmbeddingOptions): WorkerMethods {
  const embedder = createTextEmbedder({ engine, batcher });

  const createEmbeddings: WorkerMethod = async (bytes, call) => {
    const arrivedAt = performance.now();
    const request = fromBinary(CreateEmbeddingsRequestSchema, bytes);
    const inputs = inputsOf("input", request.input);
    const { finished, promptTokens, queueMs } = await embedder.embed(inputs, readingOf(request, engine), call);
    const { model, encodingFormat } = request;
    return {
      last: [encodeAnswer(finished, encodingFormat, { model, promptTokens })],
      totals: readTotals(promptTokens, queueMs, arrivedAt),
    };
  };

  const embedItems: WorkerMethod = async (bytes, { tenant, signal }) => {
    const arrivedAt = performance.now();
    const { items, options = create(StreamEmbeddingsOptionsSchema) } = fromBinary(EmbedItemsRequestSchema, bytes);
    const prepared = embedder.prepare(readingOf(options, engine));
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
    const last = outcomes.map((outcome, at) => {
      const id = items[at]?.id ?? "";
      if (outcome instanceof LoquiError) return encodeError(id, outcome);
      const finished = embedder.finish(vectorAt(vectors, next), outcome, prepared.form);
      next += 1;
      return encodeItem(finished, options.encodingFormat, { id, promptTokens: outcome.length });
    });
    return { last, totals: readTotals(countOf(good), queueMs, arrivedAt) };
  };

  return new Map([
    [methodName(EmbeddingService.method.createEmbeddings), createEmbeddings],
    [methodName(EmbeddingItemService.method.embedItems), embedItems],
  ]);
}

function readingOf(options: Options, engine: TextEngine): ReadingOptions {
  const { truncate, inputType, promptName, instruction, dimensions, normalize } = options;
  const wanted = tokenOutputsOf(options, engine);
  return { truncation: truncationOf(truncate), inputType, promptName, instruction, dimensions, normalize, wanted };
}

function truncationOf(truncate: EmbeddingTruncate): Truncation {
  if (truncate === EmbeddingTruncate.START) return "start";
  return truncate === EmbeddingTruncate.END ? "end" : "none";
}

/** What is wanted of tokens. Throws `unsupported` where the model doesn't make it. */
function tokenOutputsOf(
  { returnSparse, returnMultivector }: Options,
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

/** Bytes of the vectors of tokens of a stream's answers that are sent together, where they are several: they wait for its reader. */
const maxGroupBytes = 8 * 1024 * 1024;

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
