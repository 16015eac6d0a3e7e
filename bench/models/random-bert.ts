import { writeCheckpoint } from "./random-checkpoint.ts";

/** What there is to choose of {@link writeRandomBert}. */
export interface BertShape {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly vocabularySize: number;
}

/**
 * Writes `config.json` and `model.safetensors` of a BERT with random weights into
 * a folder that it makes; always the same for one shape. Numbers are even within
 * bounds such that those of each layer are as large as what comes in.
 */
export function writeRandomBert(folder: string, { layers, hiddenSize, heads, vocabularySize }: BertShape): void {
  const positions = 512;
  const intermediateSize = 4 * hiddenSize;
  const config = {
    model_type: "bert",
    hidden_size: hiddenSize,
    intermediate_size: intermediateSize,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    vocab_size: vocabularySize,
    max_position_embeddings: positions,
    type_vocab_size: 2,
  };
  const shapes: [string, number[]][] = [
    ["embeddings.word_embeddings.weight", [vocabularySize, hiddenSize]],
    ["embeddings.position_embeddings.weight", [positions, hiddenSize]],
    ["embeddings.token_type_embeddings.weight", [2, hiddenSize]],
    ...norm("embeddings.LayerNorm", hiddenSize),
  ];
  for (let layer = 0; layer < layers; layer += 1) {
    const name = `encoder.layer.${layer}.`;
    for (const part of ["self.query", "self.key", "self.value", "output.dense"]) {
      shapes.push(...linear(`${name}attention.${part}`, hiddenSize, hiddenSize));
    }
    shapes.push(...norm(`${name}attention.output.LayerNorm`, hiddenSize));
    shapes.push(...linear(`${name}intermediate.dense`, hiddenSize, intermediateSize));
    shapes.push(...linear(`${name}output.dense`, intermediateSize, hiddenSize));
    shapes.push(...norm(`${name}output.LayerNorm`, hiddenSize));
  }
  writeCheckpoint(folder, config, shapes);
}

function linear(name: string, inputs: number, outputs: number): [string, number[]][] {
  return [
    [`${name}.weight`, [outputs, inputs]],
    [`${name}.bias`, [outputs]],
  ];
}

function norm(name: string, size: number): [string, number[]][] {
  return [
    [`${name}.weight`, [size]],
    [`${name}.bias`, [size]],
  ];
}
