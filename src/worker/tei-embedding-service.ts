import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  EmbeddingService,
  type EmbedRequest,
  type EmbedSparseRequest,
  EmbedSparseResponseSchema,
  type SimilarityRequest,
  SimilarityResponseSchema,
} from "../../gen/loqui/v1/embedding_pb.ts";
import type { TokenOutput } from "../engines/token-outputs.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import { inputsOf } from "./embedding-rows.ts";
import { encodeVectors } from "./embedding-vectors.ts";
import type { Parts } from "./frames.ts";
import type { WorkerCall, WorkerMethod, WorkerMethods } from "./method.ts";
import { teiTruncation } from "./tei-truncation.ts";
import { createTextEmbedder, type EmbeddedInputs, type EmbeddingOptions } from "./text-embedder.ts";
import { readTotals } from "./totals.ts";

/** An encoded response, and what its texts took. */
interface Answer extends Pick<EmbeddedInputs, "promptTokens" | "queueMs"> {
  readonly response: Parts;
}

/** Embed, EmbedSparse and Similarity: what CreateEmbeddings does, in TEI's shapes. */
export function createTeiEmbeddingMethods({ engine, batcher }: EmbeddingOptions): WorkerMethods {
  const embedder = createTextEmbedder({ engine, batcher });

  async function embed(request: EmbedRequest, call: WorkerCall): Promise<Answer> {
    const { inputs, promptName, normalize, dimensions } = request;
    const options = { truncation: teiTruncation(request), promptName, normalize, dimensions };
    const { finished, ...took } = await embedder.embed(inputsOf("inputs", formOf(inputs)), options, call);
    return { response: encodeVectors(finished.map(({ vector }) => vector)), ...took };
  }

  async function embedSparse(request: EmbedSparseRequest, call: WorkerCall): Promise<Answer> {
    if (engine.tokenHeads?.outputs.has("sparse") !== true) {
      throw new LoquiError("unsupported", "the model makes no weights of tokens", { param: "model" });
    }
    const { inputs, promptName } = request;
    const options = { truncation: teiTruncation(request), promptName, wanted };
    const { finished, ...took } = await embedder.embed(inputsOf("inputs", formOf(inputs)), options, call);
    const embeddings = finished.map(({ sparse }) => {
      if (sparse === undefined) throw new Error("a text has no weights of tokens");
      const { indices, values } = sparse;
      return { tokens: Array.from(indices, (index, at) => ({ index, value: values[at] ?? 0 })) };
    });
    return { response: encode(EmbedSparseResponseSchema, { embeddings }), ...took };
  }

  async function similarity(request: SimilarityRequest, call: WorkerCall): Promise<Answer> {
    const { sourceSentence = "", sentences = [] } = request.inputs ?? {};
    const { promptName } = request.parameters ?? {};
    const texts = [
      { param: "inputs.source_sentence", text: sourceSentence },
      ...sentences.map((text, index) => ({ param: `inputs.sentences[${index}]`, text })),
    ];
    const truncation = request.parameters === undefined ? "none" : teiTruncation(request.parameters);
    const { finished, ...took } = await embedder.embed(texts, { truncation, promptName }, call);
    const [source, ...others] = finished;
    if (source === undefined) throw new Error("the source sentence has no vector");
    const similarities = others.map(({ vector }) => cosine(source.vector, vector));
    return { response: encode(SimilarityResponseSchema, { similarities }), ...took };
  }

  const { method } = EmbeddingService;
  return new Map([
    [methodName(method.embed), answering(method.embed.input, embed)],
    [methodName(method.embedSparse), answering(method.embedSparse.input, embedSparse)],
    [methodName(method.similarity), answering(method.similarity.input, similarity)],
  ]);
}

const wanted: ReadonlySet<TokenOutput> = new Set(["sparse"]);

/** A method of the worker: request decoded, and told what its texts took. */
function answering<I extends DescMessage>(
  input: I,
  answer: (request: MessageShape<I>, call: WorkerCall) => Promise<Answer>,
): WorkerMethod {
  return async (bytes, call) => {
    const arrivedAt = performance.now();
    const { response, promptTokens, queueMs } = await answer(fromBinary(input, bytes), call);
    return { last: [response], totals: readTotals(promptTokens, queueMs, arrivedAt) };
  };
}

function formOf(inputs: EmbedRequest["inputs"]) {
  return inputs?.inputs ?? { case: undefined };
}

function encode<O extends DescMessage>(desc: O, response: MessageInitShape<O>): Uint8Array {
  return toBinary(desc, create(desc, response));
}

/** Of vectors that have length 1, or 0: their product. What rounding adds beyond 1 is cut off. */
function cosine(one: Float32Array, other: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < one.length; at += 1) sum += (one[at] ?? 0) * (other[at] ?? 0);
  return Math.max(-1, Math.min(1, sum));
}
