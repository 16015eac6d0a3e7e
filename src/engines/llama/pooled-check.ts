import { LoquiError } from "../../errors.ts";
import { damaged, type GgufHeader, isArray, numbersOf, textOf } from "../../gguf/gguf-header.ts";
import { classifiers, encoders, poolingType } from "../../gguf/gguf-task.ts";

/** How the outputs of a text's tokens become one vector; llama.cpp has no others. */
export const poolings = ["mean", "cls", "lasttoken"] as const;
export type Pooling = (typeof poolings)[number];

/** Generative architectures of which there are embedding models. Others may lack the hidden state that pooling needs, which ends the process. */
const decoders: readonly string[] = ["llama", "llama-embed", "mistral3", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"];

/** What kind of model a file holds that is to pool. */
export interface PooledKind {
  readonly architecture: string;
  /** Whether tokens attend to all of their text, and no KV cache is kept. */
  readonly encoder: boolean;
  /** Whether a token attends only to those before it. */
  readonly causal: boolean;
  /** Number of tokens of the vocabulary. */
  readonly vocabularySize: number;
}

/** Refuses what pools no tokens, and what llama.cpp would die of. Throws `model_unavailable`. */
export function checkPooled(header: GgufHeader): PooledKind {
  const architecture = textOf(header, "general.architecture") ?? "";
  const encoder = encoders.includes(architecture);
  if (!encoder && !decoders.includes(architecture)) {
    throw unfit(`no vectors are made with the architecture ${architecture.slice(0, 64)} on llama.cpp`);
  }
  checkShape(header, architecture);
  checkDense(header, architecture);
  const { metadata } = header;
  const tokens = metadata.get("tokenizer.ggml.tokens");
  const causal =
    !encoder && architecture !== "llama-embed" && metadata.get(`${architecture}.attention.causal`) !== false;
  return { architecture, encoder, causal, vocabularySize: isArray(tokens) ? tokens.length : 0 };
}

/**
 * How a model pools that makes vectors: as is `wanted`, else as the file says,
 * else as sentence-transformers does, the last token where it alone sees all, and
 * the mean else. Throws `model_unavailable`.
 */
export function poolingOf(header: GgufHeader, { architecture, causal }: PooledKind, wanted?: string): Pooling {
  const key = `${architecture}.pooling_type`;
  const [named = poolingType.none] = numbersOf(header.metadata.get(key));
  const known = Object.entries(poolingType).find(([, type]) => type === named)?.[0];
  if (known === undefined) throw damaged(`${key} ${named} is none of ${Object.values(poolingType).join(", ")}`);
  if (named === poolingType.rank) throw unfit("the model scores pairs of texts: its type is rerank, not embedding");
  if (wanted !== undefined && !isPooling(wanted)) {
    throw unfit(`pooling ${wanted.slice(0, 64)} is none of ${poolings.join(", ")}, which llama.cpp has`);
  }
  if (wanted !== undefined) return wanted;
  return isPooling(known) ? known : causal ? "lasttoken" : "mean";
}

/** How many scores the classifier gives. Throws `model_unavailable` where there is none, or one without all its parts. */
export function scoresOf(header: GgufHeader, architecture: string): number {
  const wanted = classifiers[architecture];
  const missing = wanted?.find((name) => !header.tensors.has(name));
  if (wanted === undefined || missing !== undefined) {
    const what = wanted === undefined ? "none is known for its architecture" : `the tensor ${missing} is not there`;
    throw unfit(`the model has no classifier that scores pairs of texts: ${what}`);
  }
  const labels = header.metadata.get(`${architecture}.classifier.output_labels`);
  const count = isArray(labels) ? labels.length : 1;
  const last = header.tensors.get("cls.output.weight") ?? header.tensors.get("cls.weight");
  const outputs = last?.shape[1] ?? 1;
  const expected = architecture === "qwen3" ? 2 : 1;
  if (outputs !== count) throw damaged(`its classifier has ${outputs} outputs for ${count} labels`);
  if (count !== expected) throw unfit(`the model's classifier has ${count} labels, not ${expected} as a reranker's`);
  return count;
}

/** Heads of two widths, and vectors of another width than is computed. */
function checkShape({ metadata, tensors }: GgufHeader, architecture: string): void {
  const of = (key: string) => numbersOf(metadata.get(`${architecture}.${key}`))[0];
  const width = of("embedding_length") ?? 0;
  const head = Math.floor(width / (of("attention.head_count") ?? 1));
  const { keys, values } = { keys: of("attention.key_length") ?? head, values: of("attention.value_length") ?? head };
  if (keys !== values) {
    throw damaged(
      `${architecture}.attention.key_length ${keys} is not ${architecture}.attention.value_length ${values}`,
    );
  }
  const rotated = of("rope.dimension_count");
  if (/^(?:llama|mistral|qwen)/.test(architecture) && rotated !== undefined && rotated !== keys) {
    throw damaged(`${architecture}.rope.dimension_count ${rotated} is not the ${keys} of a head`);
  }
  const out = of("embedding_length_out");
  if (out !== undefined && out !== width) {
    throw damaged(`${architecture}.embedding_length_out ${out} is not ${architecture}.embedding_length ${width}`);
  }
  const inner = of("feed_forward_length") ?? 0;
  for (const [name, { shape, type }] of tensors) {
    const rows = shape[1] ?? 0;
    if (architecture === "jina-bert-v2" && name.endsWith(".ffn_up.weight") && rows !== inner && rows !== 2 * inner) {
      throw damaged(`tensor ${name} has ${rows} rows, not once or twice the ${inner} of feed_forward_length`);
    }
    if (name === "token_types.weight" && type !== 0) {
      throw damaged(`tensor ${name} has type ${type}, but it is added to 32-bit floats`);
    }
  }
}

/** The projections after the pooling (`llama_model_gemma_embedding`). */
function checkDense({ metadata, tensors }: GgufHeader, architecture: string): void {
  const of = (key: string) => numbersOf(metadata.get(`${architecture}.${key}`))[0] ?? 0;
  const width = of("embedding_length");
  for (const key of ["dense_2_feat_in", "dense_3_feat_out"]) {
    if (of(key) !== 0 && of(key) !== width) {
      throw damaged(`${architecture}.${key} ${of(key)} is not ${architecture}.embedding_length ${width}`);
    }
  }
  const [first, second] = [tensors.get("dense_2.weight"), tensors.get("dense_3.weight")];
  if ((first === undefined) !== (second === undefined)) throw damaged("it has one of dense_2 and dense_3 alone");
  if (first?.shape[1] !== second?.shape[0]) throw damaged("its tensors dense_2 and dense_3 don't follow one another");
}

function isPooling(name: string): name is Pooling {
  return (poolings as readonly string[]).includes(name);
}

export function unfit(message: string): LoquiError {
  return new LoquiError("model_unavailable", message);
}
