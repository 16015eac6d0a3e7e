import { LoquiError } from "../../errors.ts";
import { bounds, type EncoderShape, type Positions } from "./architectures/encoder.ts";
import { encoderOf } from "./architectures.ts";
import { type Checkpoint, fieldsOf, inFolder, unusable } from "./checkpoint.ts";
import { readModelFile, type TensorInfo } from "./model-file.ts";
import type { ExportedGraph, ExportedInput } from "./session.ts";

/** An encoder that comes as an `.onnx` file. */
export interface ExportedEncoder extends EncoderShape {
  readonly modelType: string;
  readonly graph: ExportedGraph;
  readonly parameters: number;
  readonly weightBytes: number;
}

/** ONNX's numbers of the types that inputs and outputs (float32, float16) may have here. */
const inputTypes: Readonly<Record<number, ExportedInput["type"]>> = { 6: "int32", 7: "int64" };
const outputTypes: ReadonlySet<number> = new Set([1, 10]);

/** What exports call hidden states, of which the repository says how they become a vector, and the vector itself. */
const hiddenNames = ["last_hidden_state", "token_embeddings"];
const vectorName = "sentence_embedding";
/** What exports call the output of a sequence classifier. */
const logitsName = "logits";

/** Outputs by their names and the number of their axes, the first that is there is taken. */
const outputsFor = {
  vectors: [...hiddenNames.map((name) => [name, 3] as const), [vectorName, 2] as const],
  logits: [[logitsName, 2] as const],
};

/**
 * The export that a repository has in place of weights, by its name in it;
 * undefined where there are weights. As sentence-transformers looks for it.
 */
export async function findExport(checkpoint: Checkpoint, folder: string): Promise<string | undefined> {
  const isThere = async (name: string) => (await checkpoint.pathOf(inFolder(folder, name))) !== undefined;
  if ((await isThere("model.safetensors")) || (await isThere("model.safetensors.index.json"))) return undefined;
  for (const name of ["onnx/model.onnx", "model.onnx"]) {
    if (await isThere(name)) return inFolder(folder, name);
  }
  return undefined;
}

/**
 * Reads an export, of any architecture: its inputs are known by their names, and
 * of `config.json` only sizes are read. Throws `model_unavailable` for a file that
 * isn't one, or doesn't make what is wanted of it.
 */
export async function readExport(
  checkpoint: Checkpoint,
  name: string,
  config: unknown,
  wanted: keyof typeof outputsFor = "vectors",
): Promise<ExportedEncoder> {
  const fields = fieldsOf("config.json", config);
  const modelType = fields.text("model_type");
  const file = await readModelFile(checkpoint, name);
  const inputs = file.inputs.map((input) => inputOf(name, input));
  for (const needed of ["input_ids", "attention_mask"] as const) {
    if (!inputs.some((input) => input.name === needed)) throw unusable(`${name} has no input ${needed}`);
  }
  const output = outputOf(name, file.outputs, outputsFor[wanted]);
  const isHidden = hiddenNames.includes(output.name);
  const width = output.shape?.at(-1) ?? (isHidden ? fields.whole("hidden_size", 1, bounds.size) : undefined);
  if (width === undefined || width < 1 || width > bounds.size) {
    throw unusable(`${name}: the output ${output.name} doesn't have from 1 to ${bounds.size} dimensions`);
  }
  const padding = fields.raw("pad_token_id");
  const vocabularySize = fields.whole("vocab_size", 1, bounds.vocabulary, bounds.vocabulary);
  return {
    modelType,
    hiddenSize: width,
    vocabularySize,
    ...positionsOf(config),
    graph: {
      model: file.model,
      folder: file.folder,
      inputs,
      output: { name: output.name, kind: isHidden ? "hidden" : "vectors", width },
      // What stands there is masked. RoBERTa's exports count positions by it.
      padding: typeof padding === "number" && padding >= 0 && padding < vocabularySize ? Math.trunc(padding) : 0,
    },
    parameters: file.parameters,
    weightBytes: file.bytes,
  };
}

function inputOf(file: string, { name, elementType }: TensorInfo): ExportedInput {
  const type = inputTypes[elementType];
  switch (name) {
    case "input_ids":
    case "attention_mask":
    case "token_type_ids":
    case "position_ids":
      if (type !== undefined) return { name, type };
      throw unusable(`${file}: the input ${name} is not of whole numbers of 32 or 64 bits`);
    default:
      throw unusable(
        `${file}: the input ${name.slice(0, 100)} is none of input_ids, attention_mask, token_type_ids, position_ids`,
      );
  }
}

function outputOf(
  file: string,
  outputs: readonly TensorInfo[],
  wanted: readonly (readonly [name: string, axes: number])[],
) {
  for (const [name, rank] of wanted) {
    const found = outputs.find((output) => output.name === name);
    if (found === undefined) continue;
    if (!outputTypes.has(found.elementType)) {
      throw unusable(`${file}: the output ${name} is not of float32 or float16`);
    }
    if (found.shape !== undefined && found.shape.length !== rank) {
      throw unusable(`${file}: the output ${name} has ${found.shape.length} axes instead of ${rank}`);
    }
    return found;
  }
  const names = outputs.map((output) => output.name.slice(0, 100)).slice(0, 10);
  throw unusable(`${file} has the outputs ${names.join(", ")}, but none of ${wanted.map(([name]) => name).join(", ")}`);
}

/** Of a known architecture its own; others count from 0. */
function positionsOf(config: unknown): { readonly maxPositions: number; readonly positions: Positions } {
  try {
    const { maxPositions, positions } = encoderOf(config);
    return { maxPositions, positions };
  } catch (error) {
    if (!(error instanceof LoquiError)) throw error;
    const maxPositions = fieldsOf("config.json", config).whole(
      "max_position_embeddings",
      1,
      bounds.positions,
      bounds.positions,
    );
    return { maxPositions, positions: { first: 0 } };
  }
}
