import { cpSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { linkCheckpoint, linkReranker, onnxFixtures } from "./onnx-models.ts";
import { type RunningLoqui, startIn } from "./running-loqui.ts";

/** A checkpoint of the fixtures, as a model of a server. */
export interface EncoderModel {
  readonly encoder: string;
  readonly layout: string;
  /** Written into its `config_sentence_transformers.json`. */
  readonly sentenceConfig?: object;
  /** Whether it has the heads of bge-m3 too; of `xlm-roberta` only. */
  readonly heads?: boolean;
  /** More of its `parameters` in the models file. */
  readonly parameters?: object;
}

/** A reranker of the fixtures, as a model of a server. */
export interface RerankerModel {
  readonly reranker: string;
  /** More of its `parameters` in the models file. */
  readonly parameters?: object;
}

/** Starts loqui in this process with checkpoints, by their ids, and waits until they are ready. */
export async function startWithEncoders(
  encoders: Readonly<Record<string, EncoderModel | RerankerModel>>,
  settings: Readonly<Record<string, string>> = {},
): Promise<RunningLoqui> {
  const folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
  const models = Object.entries(encoders).map(([id, model]) => ({
    id,
    ...("reranker" in model ? placeReranker(folder, id, model) : placeEncoder(folder, id, model)),
    engine: "onnxruntime",
    source: { path: id },
    preload: true,
    parameters: { threads: 1, ...model.parameters },
  }));
  writeFileSync(join(folder, "models.yaml"), stringify({ models }));
  return startIn(folder, settings);
}

function placeEncoder(folder: string, id: string, { encoder, layout, sentenceConfig, heads }: EncoderModel) {
  linkCheckpoint(join(folder, id), encoder, layout);
  if (heads === true) cpSync(join(onnxFixtures, "heads/pt"), join(folder, id), { recursive: true });
  if (sentenceConfig !== undefined) {
    writeFileSync(join(folder, id, "config_sentence_transformers.json"), JSON.stringify(sentenceConfig));
  }
  return { type: "embedding", capabilities: ["text-embedding"] };
}

function placeReranker(folder: string, id: string, { reranker }: RerankerModel) {
  linkReranker(join(folder, id), reranker);
  return { type: "rerank", capabilities: ["rerank"] };
}
