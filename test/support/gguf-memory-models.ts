import { f32, type GgufTensor, str, u32, writeGguf } from "./gguf.ts";
import { randomSource, randomTensor } from "./gguf-random-model.ts";
import { byteVocabulary } from "./gguf-vocabulary.ts";

const dim = 64;
const layers = 4;

/**
 * Writes a small random model (Cohere 2's architecture) of which three layers
 * in four see no more than the last `window` positions: llama.cpp forgets
 * their older cells.
 */
export function writeWindowModel(path: string, window: number): void {
  const tensor = tensors();
  write(
    path,
    "cohere2",
    {
      "cohere2.feed_forward_length": u32(2 * dim),
      "cohere2.attention.head_count": u32(2),
      "cohere2.attention.head_count_kv": u32(1),
      "cohere2.attention.layer_norm_epsilon": f32(1e-5),
      "cohere2.attention.sliding_window": u32(window),
      "cohere2.rope.dimension_count": u32(dim / 2),
      "cohere2.logit_scale": f32(1),
    },
    (block) => [
      tensor.ones(`${block}attn_norm.weight`, dim),
      tensor.matrix(`${block}attn_q.weight`, dim, dim),
      tensor.matrix(`${block}attn_k.weight`, dim, dim / 2),
      tensor.matrix(`${block}attn_v.weight`, dim, dim / 2),
      tensor.matrix(`${block}attn_output.weight`, dim, dim),
      tensor.matrix(`${block}ffn_gate.weight`, dim, 2 * dim),
      tensor.matrix(`${block}ffn_up.weight`, dim, 2 * dim),
      tensor.matrix(`${block}ffn_down.weight`, 2 * dim, dim),
    ],
  );
}

/** Writes a small random model (Mamba's architecture) that keeps one state a sequence instead of cells. */
export function writeRecurrentModel(path: string): void {
  const tensor = tensors();
  const [inner, state, rank, kernel] = [2 * dim, 16, 4, 4];
  write(
    path,
    "mamba",
    {
      "mamba.feed_forward_length": u32(0),
      "mamba.attention.head_count": u32(0),
      "mamba.attention.layer_norm_rms_epsilon": f32(1e-5),
      "mamba.ssm.conv_kernel": u32(kernel),
      "mamba.ssm.inner_size": u32(inner),
      "mamba.ssm.state_size": u32(state),
      "mamba.ssm.time_step_rank": u32(rank),
    },
    (block) => [
      tensor.ones(`${block}attn_norm.weight`, dim),
      tensor.matrix(`${block}ssm_in.weight`, dim, 2 * inner),
      tensor.matrix(`${block}ssm_conv1d.weight`, kernel, inner),
      tensor.ones(`${block}ssm_conv1d.bias`, inner),
      tensor.matrix(`${block}ssm_x.weight`, inner, rank + 2 * state),
      tensor.matrix(`${block}ssm_dt.weight`, rank, inner),
      tensor.ones(`${block}ssm_dt.bias`, inner),
      // The state decays where this is below 0.
      tensor.filled(`${block}ssm_a`, -1, state, inner),
      tensor.ones(`${block}ssm_d`, inner),
      tensor.matrix(`${block}ssm_out.weight`, inner, dim),
    ],
  );
}

function write(
  path: string,
  architecture: string,
  metadata: Parameters<typeof writeGguf>[1],
  block: (name: string) => GgufTensor[],
): void {
  const vocabulary = byteVocabulary();
  const tensor = tensors();
  writeGguf(
    path,
    {
      "general.architecture": str(architecture),
      [`${architecture}.context_length`]: u32(4096),
      [`${architecture}.embedding_length`]: u32(dim),
      [`${architecture}.block_count`]: u32(layers),
      ...metadata,
      ...vocabulary.metadata,
    },
    [
      tensor.matrix("token_embd.weight", dim, vocabulary.size),
      tensor.ones("output_norm.weight", dim),
      ...Array.from({ length: layers }, (_, layer) => block(`blk.${layer}.`)).flat(),
    ],
  );
}

function tensors() {
  const random = randomSource(3);
  const filled = (name: string, value: number, ...shape: number[]): GgufTensor => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value);
    return { name, type: "f32", shape, data: Buffer.from(values.buffer) };
  };
  return {
    filled,
    ones: (name: string, length: number) => filled(name, 1, length),
    matrix: (name: string, columns: number, rows: number): GgufTensor => ({
      name,
      type: "f32",
      shape: [columns, rows],
      data: () => randomTensor("f32", columns * rows, 2 / Math.sqrt(columns), random),
    }),
  };
}
