import { closeSync, openSync, writeSync } from "node:fs";

/** A metadata value with its GGUF type; made by {@link u32}, {@link str} and their like. */
export interface GgufValue {
  readonly type: number;
  readonly bytes: Buffer;
}

/** Weights in one of the types that the test models need. */
export type TensorType = "f32" | "f16" | "q8_0";

/** One tensor. `shape` is in ggml's order: the fastest dimension first, so a row of a matrix is `shape[0]` wide. */
export interface GgufTensor {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  /** Bytes of the tensor, or a function that makes them when their turn comes: large models are never whole in memory. */
  readonly data: Uint8Array | (() => Uint8Array);
}

/** ggml's number of a tensor type, values per block and bytes per block (ggml.h). */
const tensorTypes: Record<TensorType, { id: number; block: number; bytes: number }> = {
  f32: { id: 0, block: 1, bytes: 4 },
  f16: { id: 1, block: 1, bytes: 2 },
  q8_0: { id: 8, block: 32, bytes: 34 },
};

const alignment = 32;

/**
 * Writes a GGUF version 3 file (ggml/docs/gguf.md): metadata in the given
 * order, then tensors, each aligned to 32 bytes. Returns the file's size.
 * Throws when a tensor's data is not as long as its type and shape say.
 */
export function writeGguf(path: string, metadata: Record<string, GgufValue>, tensors: readonly GgufTensor[]): number {
  const header: Uint8Array[] = [
    Buffer.from("GGUF"),
    uint32(3),
    uint64(tensors.length),
    uint64(Object.keys(metadata).length),
  ];
  for (const [key, value] of Object.entries(metadata))
    header.push(lengthPrefixed(key), uint32(value.type), value.bytes);
  let offset = 0;
  for (const { name, type, shape } of tensors) {
    header.push(lengthPrefixed(name), uint32(shape.length), ...shape.map(uint64));
    header.push(uint32(tensorTypes[type].id), uint64(offset));
    offset += aligned(tensorBytes(type, shape));
  }

  const file = openSync(path, "w");
  try {
    let position = 0;
    const write = (bytes: Uint8Array) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
      position += bytes.length;
    };
    const pad = () => write(Buffer.alloc(aligned(position) - position));
    write(Buffer.concat(header));
    pad();
    for (const { name, type, shape, data } of tensors) {
      const bytes = typeof data === "function" ? data() : data;
      const expected = tensorBytes(type, shape);
      if (bytes.length !== expected) throw new Error(`tensor ${name} has ${bytes.length} bytes instead of ${expected}`);
      write(bytes);
      pad();
    }
    return position;
  } finally {
    closeSync(file);
  }
}

/** Bytes that a tensor of this type and shape takes. */
export function tensorBytes(type: TensorType, shape: readonly number[]): number {
  const { block, bytes } = tensorTypes[type];
  return (shape.reduce((a, b) => a * b, 1) / block) * bytes;
}

export const u32 = (value: number): GgufValue => ({ type: 4, bytes: uint32(value) });
export const f32 = (value: number): GgufValue => ({ type: 6, bytes: float32([value]) });
export const bool = (value: boolean): GgufValue => ({ type: 7, bytes: Buffer.of(value ? 1 : 0) });
export const str = (value: string): GgufValue => ({ type: 8, bytes: lengthPrefixed(value) });
export const strs = (values: readonly string[]): GgufValue => array(8, values.length, values.map(lengthPrefixed));
export const bools = (values: readonly boolean[]): GgufValue =>
  array(7, values.length, [Buffer.from(values.map(Number))]);
export const i32s = (values: readonly number[]): GgufValue =>
  array(5, values.length, [Buffer.from(Int32Array.from(values).buffer)]);
export const f32s = (values: readonly number[]): GgufValue => array(6, values.length, [float32(values)]);

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** IEEE half precision, truncated; small values become zero. */
export function toHalf(value: number): number {
  single[0] = value;
  const bits = singleBits[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  if (exponent <= 0) return sign;
  if (exponent >= 31) return sign | 0x7c00;
  return sign | (exponent << 10) | ((bits & 0x7fffff) >>> 13);
}

function array(type: number, length: number, items: readonly Uint8Array[]): GgufValue {
  return { type: 9, bytes: Buffer.concat([uint32(type), uint64(length), ...items]) };
}

function float32(values: readonly number[]): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function lengthPrefixed(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  return Buffer.concat([uint64(bytes.length), bytes]);
}

function aligned(size: number): number {
  return Math.ceil(size / alignment) * alignment;
}
