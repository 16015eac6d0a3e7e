import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/**
 * Writes `config.json` and `model.safetensors`, float32, with random weights into a
 * folder that it makes. Numbers of matrices are even within bounds such that what
 * comes out is as large as what comes in; biases are 0, the weights of norms what
 * `normWeight` says.
 */
export function writeCheckpoint(
  folder: string,
  config: Readonly<Record<string, unknown>>,
  shapes: readonly (readonly [name: string, shape: readonly number[]])[],
  normWeight = 1,
): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of shapes) {
    const bytes = 4 * shape.reduce((product, length) => product * length, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(join(folder, "model.safetensors"), "w");
  try {
    writeSync(file, length);
    writeSync(file, text);
    for (const [name, shape] of shapes) writeSync(file, numbers(name, shape, normWeight));
  } finally {
    closeSync(file);
  }
}

let state = 1;
/** Xorshift: the same numbers each time. */
function even(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 31 - 1;
}

function numbers(name: string, shape: readonly number[], normWeight: number): Float32Array<ArrayBuffer> {
  const count = shape.reduce((product, length) => product * length, 1);
  if (/norm\.weight$/i.test(name)) return new Float32Array(count).fill(normWeight);
  const [, inputs = 1] = shape;
  const bound = Math.sqrt(3 / inputs);
  return Float32Array.from({ length: count }, () => (name.endsWith("bias") ? 0 : bound * even()));
}
