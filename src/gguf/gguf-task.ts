import { damaged, type GgufHeader, numbersOf, textOf } from "./gguf-header.ts";

/** What a model is for. */
export type GgufTask = "chat" | "embedding" | "rerank";

/** `llama_pooling_type` in llama.h. */
export const poolingType = { none: 0, mean: 1, cls: 2, lasttoken: 3, rank: 4 } as const;

/**
 * Architectures whose tokens see one another in both directions and that have
 * no KV cache (`llama_model::create_memory`): any texts make one batch.
 */
export const encoders: readonly string[] = [
  "bert",
  "jina-bert-v2",
  "jina-bert-v3",
  "nomic-bert",
  "nomic-bert-moe",
  "neo-bert",
  "modern-bert",
  "eurobert",
  "gemma-embedding",
];

/** The architectures whose classifiers llama.cpp computes, with the tensors that it takes for granted. */
export const classifiers: Readonly<Record<string, readonly string[]>> = {
  // A BERT's pooler comes before its classifier, but the usual converter leaves it out.
  bert: ["cls.weight", "cls.output.weight"],
  "jina-bert-v2": ["cls.weight"],
  "modern-bert": ["cls.weight", "cls.output.weight"],
  "neo-bert": ["cls.weight", "cls.output.weight"],
  qwen3: ["cls.output.weight"],
};

/**
 * What a file's model is for, as its header tells: what pools by rank or has a
 * classifier scores pairs of texts, what pools otherwise or is an encoder makes
 * vectors, all else generates. The converter writes a pooling for what
 * sentence-transformers publishes and for classifiers alone, also of decoders as
 * Qwen3-Embedding's. Throws `model_unavailable` where the file is no model of
 * its own.
 */
export function taskOfGguf(header: GgufHeader): GgufTask {
  const type = textOf(header, "general.type") ?? "model";
  if (type !== "model") throw damaged(`it is no model of its own: its general.type is ${type.slice(0, 64)}`);
  const architecture = textOf(header, "general.architecture");
  if (architecture === undefined) throw damaged("general.architecture is missing");
  const [pooling = poolingType.none] = numbersOf(header.metadata.get(`${architecture}.pooling_type`));
  if (pooling === poolingType.rank || hasClassifier(header, architecture)) return "rerank";
  return pooling !== poolingType.none || !isGenerative(header, architecture) ? "embedding" : "chat";
}

/** Whether an architecture has a next token: encoders load, and decode even, but have none. */
export function isGenerative({ metadata }: GgufHeader, architecture: string): boolean {
  const causal = metadata.get(`${architecture}.attention.causal`) !== false;
  return causal && !encoders.includes(architecture) && !/bert|^t5|^llama-embed$/.test(architecture);
}

function hasClassifier({ tensors }: GgufHeader, architecture: string): boolean {
  return classifiers[architecture]?.every((name) => tensors.has(name)) === true;
}
