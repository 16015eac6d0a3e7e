import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { LoquiError } from "../errors.ts";

/** An array of which only the size is kept: vocabularies are large. */
export interface GgufArray {
  readonly length: number;
  readonly elementType: GgufType;
  /** The elements of short arrays of numbers and booleans, and the types of tokens. */
  readonly numbers: readonly number[] | undefined;
  /** The different texts of a vocabulary, without the empty one. */
  readonly texts: ReadonlySet<string> | undefined;
  /** How many elements are empty strings. */
  readonly empty: number;
}

/** A tensor as the header describes it. */
export interface GgufTensorInfo {
  /** Dimensions, the fastest first. */
  readonly shape: readonly number[];
  /** ggml's number of its type. */
  readonly type: number;
}

/** A metadata value. Integers beyond 2^53 lose their last digits. */
export type GgufValue = number | boolean | string | GgufArray;

/** What the beginning of a GGUF file says. */
export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>;
  /** Values in all tensors. */
  readonly parameters: number;
  /** Bytes of all tensors. */
  readonly tensorBytes: number;
}

/** GGUF's value types, by number (ggml/docs/gguf.md). */
const types = [
  "uint8",
  "int8",
  "uint16",
  "int16",
  "uint32",
  "int32",
  "float32",
  "bool",
  "string",
  "array",
  "uint64",
  "int64",
  "float64",
] as const;
export type GgufType = (typeof types)[number];

const sizes: Record<Exclude<GgufType, "string" | "array">, number> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  uint64: 8,
  int64: 8,
  float64: 8,
};

/** Values and bytes per block of ggml's tensor types (ggml/src/ggml.c, `type_traits`). */
const tensorBlocks: Readonly<Record<number, readonly [values: number, bytes: number]>> = {
  0: [1, 4],
  1: [1, 2],
  2: [32, 18],
  3: [32, 20],
  6: [32, 22],
  7: [32, 24],
  8: [32, 34],
  9: [32, 36],
  10: [256, 84],
  11: [256, 110],
  12: [256, 144],
  13: [256, 176],
  14: [256, 210],
  15: [256, 292],
  16: [256, 66],
  17: [256, 74],
  18: [256, 98],
  19: [256, 50],
  20: [32, 18],
  21: [256, 110],
  22: [256, 82],
  23: [256, 136],
  24: [1, 1],
  25: [1, 2],
  26: [1, 4],
  27: [1, 8],
  28: [1, 8],
  29: [256, 56],
  30: [1, 2],
  34: [256, 54],
  35: [256, 66],
  39: [32, 17],
  40: [64, 36],
  41: [128, 18],
  42: [64, 18],
};

/** What no honest file exceeds. Lists are bounded by the file's length too: each item takes some bytes. */
const limits = {
  headerBytes: 256 * 2 ** 20,
  keyBytes: 65_535,
  tensorNameBytes: 63,
  stringBytes: 16 * 2 ** 20,
  keptNumbers: 4096,
  keptTypes: 2 ** 20,
  dimensions: 4,
  values: 2 ** 53,
};

/**
 * Reads the header of a GGUF file: metadata and the list of tensors, no
 * weights. Checks that it is whole and that every tensor lies within the file.
 * Reads pieces of 1 MiB, synchronously; a vocabulary of 152,000 tokens takes some 60 ms.
 * Throws `model_unavailable` and says what is wrong; not that tensors are missing
 * at the end of the file, where `cutShort` allows it.
 */
export function readGgufHeader(path: string, { cutShort = false } = {}): GgufHeader {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    throw new LoquiError("model_unavailable", "the model file can't be read", { cause });
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw damaged("it is not a file");
    return parse(createReader(file, stat.size), cutShort);
  } finally {
    closeSync(file);
  }
}

/** A string of the metadata. */
export function textOf({ metadata }: GgufHeader, key: string): string | undefined {
  const value = metadata.get(key);
  return typeof value === "string" ? value : undefined;
}

/** A number, or an array with one for each layer. */
export function numbersOf(value: GgufValue | undefined): readonly number[] {
  if (typeof value === "number") return [value];
  return isArray(value) ? (value.numbers ?? []) : [];
}

export function isArray(value: GgufValue | undefined): value is GgufArray {
  return typeof value === "object";
}

export function damaged(what: string): LoquiError {
  return new LoquiError("model_unavailable", `the model file can't be used: ${what}`);
}

function parse(reader: Reader, cutShort: boolean): GgufHeader {
  reader.need(24, "the header");
  if (reader.text(4) !== "GGUF") throw damaged("it is not a GGUF file");
  const version = reader.uint32();
  if (version !== 2 && version !== 3) throw damaged(`GGUF version ${version} is not supported, 2 and 3 are`);
  const tensorCount = reader.count(24, "tensors");
  const metadataCount = reader.count(13, "metadata values");

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < metadataCount; i++) {
    const key = readString(reader, limits.keyBytes, `metadata key ${i}`);
    if (metadata.has(key)) throw damaged(`metadata key ${key} is there twice`);
    reader.need(4, key);
    metadata.set(key, readValue(reader, valueType(reader.uint32(), key), key));
  }

  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || alignment < 8 || !Number.isInteger(Math.log2(alignment))) {
    throw damaged(`general.alignment ${String(alignment)} is not a power of 2 from 8 on`);
  }
  const tensors = new Map<string, GgufTensorInfo>();
  const placed: { name: string; offset: number; bytes: number }[] = [];
  let parameters = 0;
  let tensorBytes = 0;
  for (let i = 0; i < tensorCount; i++) {
    const name = readString(reader, limits.tensorNameBytes, `tensor name ${i}`);
    if (tensors.has(name)) throw damaged(`tensor ${name} is there twice`);
    reader.need(4, name);
    const dimensions = reader.uint32();
    if (dimensions > limits.dimensions) {
      throw damaged(`tensor ${name} has ${dimensions} dimensions, ${limits.dimensions} are the most`);
    }
    reader.need(dimensions * 8 + 12, name);
    const shape = Array.from({ length: dimensions }, () => reader.uint64());
    const values = shape.reduce((a, b) => a * b, 1);
    if (values < 1 || values >= limits.values)
      throw damaged(`tensor ${name} has the impossible shape ${shape.join("×")}`);
    const type = reader.uint32();
    const bytes = bytesOf(name, type, shape, values);
    const offset = reader.uint64();
    if (offset % alignment !== 0) throw damaged(`tensor ${name} is not aligned to ${alignment} bytes`);
    tensors.set(name, { shape, type });
    placed.push({ name, offset, bytes });
    parameters += values;
    tensorBytes += bytes;
  }

  const dataStart = Math.ceil(reader.position / alignment) * alignment;
  for (const { name, offset, bytes } of placed) {
    const end = dataStart + offset + bytes;
    if (end > reader.size && !cutShort) {
      throw damaged(`tensor ${name} ends at byte ${end}, but the file at ${reader.size}: it is cut short`);
    }
  }
  return { version, metadata, tensors, parameters, tensorBytes };
}

function bytesOf(name: string, type: number, shape: readonly number[], values: number): number {
  const [blockValues, blockBytes] = tensorBlocks[type] ?? [];
  if (blockValues === undefined || blockBytes === undefined)
    throw damaged(`tensor ${name} has the unknown type ${type}`);
  if ((shape[0] ?? 1) % blockValues !== 0) {
    throw damaged(`tensor ${name} has rows of ${shape[0]} values, which is no multiple of its type's ${blockValues}`);
  }
  return (values / blockValues) * blockBytes;
}

function valueType(type: number, key: string): GgufType {
  const name = types[type];
  if (name === undefined) throw damaged(`metadata ${key} has the unknown type ${type}`);
  return name;
}

function readValue(reader: Reader, type: GgufType, key: string): GgufValue {
  if (type === "string") return readString(reader, limits.stringBytes, key);
  if (type === "array") return readArray(reader, key);
  reader.need(sizes[type], key);
  const value = reader.number(type);
  return type === "bool" ? value !== 0 : value;
}

function readArray(reader: Reader, key: string): GgufArray {
  reader.need(12, key);
  const elementType = valueType(reader.uint32(), key);
  if (elementType === "array") throw damaged(`metadata ${key} is an array of arrays`);
  if (elementType === "string") {
    const length = reader.count(8, key);
    const texts = key === "tokenizer.ggml.tokens" ? new Set<string>() : undefined;
    let empty = 0;
    for (let i = 0; i < length; i++) {
      if (texts === undefined) {
        skipString(reader, key);
        continue;
      }
      const text = readString(reader, limits.stringBytes, key);
      if (text === "") empty += 1;
      else texts.add(text);
    }
    return { length, elementType, numbers: undefined, texts, empty };
  }
  const length = reader.count(sizes[elementType], key);
  if (length > (key === "tokenizer.ggml.token_type" ? limits.keptTypes : limits.keptNumbers)) {
    reader.skip(length * sizes[elementType], key);
    return { length, elementType, numbers: undefined, texts: undefined, empty: 0 };
  }
  reader.need(length * sizes[elementType], key);
  const numbers = Array.from({ length }, () => reader.number(elementType));
  return { length, elementType, numbers, texts: undefined, empty: 0 };
}

function readString(reader: Reader, limit: number, what: string): string {
  reader.need(8, what);
  const length = reader.uint64();
  if (length > limit) throw damaged(`${what} has ${length} bytes, ${limit} are the most`);
  reader.need(length, what);
  return reader.text(length);
}

function skipString(reader: Reader, what: string): void {
  reader.need(8, what);
  const length = reader.uint64();
  if (length > reader.buffered) reader.skip(length, what);
  else reader.drop(length);
}

/** A little-endian cursor on a file. Whoever reads has asked with `need` for the bytes. */
interface Reader {
  readonly size: number;
  readonly position: number;
  /** Bytes that can be read at once. */
  readonly buffered: number;
  /** Makes bytes readable; throws when the file has no more. */
  need(bytes: number, what: string): void;
  skip(bytes: number, what: string): void;
  text(length: number): string;
  drop(length: number): void;
  uint32(): number;
  uint64(): number;
  number(type: keyof typeof sizes): number;
  /** A number of items, each of at least `itemBytes`: more than the rest of the file could hold is refused. */
  count(itemBytes: number, what: string): number;
}

const pieceBytes = 2 ** 20;

function createReader(file: number, size: number): Reader {
  let buffer = Buffer.alloc(0);
  /** Offset of the buffer in the file, and of the cursor in the buffer. */
  let base = 0;
  let at = 0;
  const advance = (bytes: number) => {
    at += bytes;
    return at - bytes;
  };
  const uint64At = (offset: number) => buffer.readUInt32LE(offset) + buffer.readUInt32LE(offset + 4) * 2 ** 32;
  const reader: Reader = {
    size,
    get position() {
      return base + at;
    },
    get buffered() {
      return buffer.length - at;
    },
    need(bytes, what) {
      if (buffer.length - at >= bytes) return;
      if (base + at + bytes > size) throw damaged(`it ends within ${what}`);
      if (base + at > limits.headerBytes) throw damaged(`its header is longer than ${limits.headerBytes} bytes`);
      const rest = buffer.subarray(at);
      const next = Buffer.alloc(Math.min(Math.max(bytes, pieceBytes), size - base - at));
      rest.copy(next);
      base += at;
      at = 0;
      for (let filled = rest.length; filled < next.length; ) {
        const bytesRead = readSync(file, next, filled, next.length - filled, base + filled);
        if (bytesRead === 0) throw damaged(`it ends within ${what}`);
        filled += bytesRead;
      }
      buffer = next;
    },
    skip(bytes, what) {
      if (base + at + bytes > size) throw damaged(`it ends within ${what}`);
      const target = base + at + bytes;
      if (target <= base + buffer.length) {
        at = target - base;
      } else {
        buffer = Buffer.alloc(0);
        base = target;
        at = 0;
      }
    },
    text: (length) => buffer.toString("utf8", advance(length), at),
    drop: advance,
    uint32: () => buffer.readUInt32LE(advance(4)),
    uint64: () => uint64At(advance(8)),
    number(type) {
      const offset = advance(sizes[type]);
      switch (type) {
        case "uint8":
        case "bool":
          return buffer.readUInt8(offset);
        case "int8":
          return buffer.readInt8(offset);
        case "uint16":
          return buffer.readUInt16LE(offset);
        case "int16":
          return buffer.readInt16LE(offset);
        case "uint32":
          return buffer.readUInt32LE(offset);
        case "int32":
          return buffer.readInt32LE(offset);
        case "float32":
          return buffer.readFloatLE(offset);
        case "uint64":
          return uint64At(offset);
        case "int64":
          return Number(buffer.readBigInt64LE(offset));
        case "float64":
          return buffer.readDoubleLE(offset);
        default:
          return type satisfies never;
      }
    },
    count(itemBytes, what) {
      const count = reader.uint64();
      const most = Math.floor((size - reader.position) / itemBytes);
      if (count > most) throw damaged(`it claims ${count} ${what}, but has room for ${most} at most`);
      return count;
    },
  };
  return reader;
}
