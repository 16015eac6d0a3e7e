import { type FileHandle, open } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { LoquiError } from "../../errors.ts";
import { type Checkpoint, type Fields, fieldsOf, inFolder, unusable } from "./checkpoint.ts";
import { readExactly } from "./read-exactly.ts";

/** The element types that weights come in, with their bytes. */
export const bytesOf = { F32: 4, F16: 2, BF16: 2 } as const;
export type WeightType = keyof typeof bytesOf;

/** Where a tensor lies. */
export interface StoredTensor {
  readonly type: WeightType;
  readonly shape: readonly number[];
  /** The real path of its file. */
  readonly file: string;
  /** Of its first byte in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** Tensors by name. Those of other types (the positions that old checkpoints hold as integers) are left out. */
export type StoredTensors = ReadonlyMap<string, StoredTensor>;

/** As the format's own reader has it (safetensors, `MAX_HEADER_SIZE`). */
const maxHeaderBytes = 100_000_000;
const maxTensors = 100_000;
const maxRank = 8;
const maxShards = 1_000;

/**
 * The tensors of `model.safetensors` in a folder of the checkpoint (`""` is the
 * checkpoint itself), or of the shards that `model.safetensors.index.json`
 * names. Only headers are read. Throws `model_unavailable` where the files are
 * missing, cut off, or say what can't be.
 */
export async function findTensors(checkpoint: Checkpoint, folder = ""): Promise<StoredTensors> {
  const wholeName = inFolder(folder, "model.safetensors");
  const whole = await checkpoint.pathOf(wholeName);
  if (whole !== undefined) return readHeader(whole, wholeName);
  const indexName = inFolder(folder, "model.safetensors.index.json");
  const index = await checkpoint.jsonIfThere(indexName);
  if (index === undefined) throw unusable(`${wholeName} is missing`);
  const map = fieldsOf(`${indexName}: weight_map`, fieldsOf(indexName, index).raw("weight_map"));
  const shards = new Set(map.names().map((name) => map.text(name)));
  if (shards.size > maxShards) throw unusable(`${indexName} names ${shards.size} files, the maximum is ${maxShards}`);
  const tensors = new Map<string, StoredTensor>();
  for (const shard of shards) {
    const shardName = inFolder(folder, shard);
    const path = await checkpoint.pathOf(shardName);
    if (path === undefined) throw unusable(`${shardName} is missing`);
    for (const [name, tensor] of await readHeader(path, shardName)) {
      if (map.raw(name) === shard) tensors.set(name, tensor);
    }
  }
  return tensors;
}

/** The bytes of a tensor. */
export async function readTensor({ file, offset, bytes }: StoredTensor): Promise<Uint8Array> {
  const handle = await open(file);
  try {
    return await readExactly(handle, offset, bytes, basename(file));
  } finally {
    await handle.close();
  }
}

/** The tensors of one file. Format: https://github.com/huggingface/safetensors#format */
export async function readHeader(path: string, name: string): Promise<StoredTensors> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const { size } = await handle.stat();
    const length = Number(Buffer.from(await readExactly(handle, 0, 8, name)).readBigUInt64LE());
    if (length > maxHeaderBytes || 8 + length > size) throw unusable(`${name}: its header can't have ${length} bytes`);
    const text = Buffer.from(await readExactly(handle, 8, length, name)).toString("utf8");
    return tensorsOf(name, path, parse(name, text), 8 + length, size);
  } catch (error) {
    if (error instanceof LoquiError) throw error;
    throw unusable(`${name} can't be read`, error);
  } finally {
    await handle?.close();
  }
}

function parse(name: string, text: string): Fields {
  try {
    return fieldsOf(`the header of ${name}`, JSON.parse(text));
  } catch (error) {
    if (error instanceof LoquiError) throw error;
    throw unusable(`the header of ${name} is not JSON`, error);
  }
}

function tensorsOf(file: string, path: string, header: Fields, start: number, size: number): StoredTensors {
  const names = header.names().filter((name) => name !== "__metadata__");
  if (names.length > maxTensors) throw unusable(`${file} has ${names.length} tensors, the maximum is ${maxTensors}`);
  const tensors = new Map<string, StoredTensor>();
  for (const name of names) {
    const where = `${file}: ${name.slice(0, 100)}`;
    const fields = fieldsOf(where, header.raw(name));
    const type = fields.text("dtype");
    if (!isWeightType(type)) continue;
    const shape = wholes(where, "shape", fields.raw("shape"), maxRank);
    const [from, to, ...more] = wholes(where, "data_offsets", fields.raw("data_offsets"), 2);
    if (from === undefined || to === undefined || more.length > 0) throw unusable(`${where} has no data_offsets`);
    const bytes = shape.reduce((product, length) => product * length, bytesOf[type]);
    if (to - from !== bytes || start + to > size) throw unusable(`${where}: its bytes are not where it says`);
    tensors.set(name, { type, shape, file: path, offset: start + from, bytes });
  }
  return tensors;
}

function isWeightType(type: string): type is WeightType {
  return Object.hasOwn(bytesOf, type);
}

function wholes(where: string, name: string, value: unknown, most: number): number[] {
  const numbers: unknown[] = Array.isArray(value) ? value : [undefined];
  if (numbers.length > most || !numbers.every((item) => Number.isSafeInteger(item) && (item as number) >= 0)) {
    throw unusable(`${where}: ${name} is not a list of at most ${most} whole numbers`);
  }
  return numbers as number[];
}

/** The folder that the files of the tensors lie in, which has to be one: ONNX Runtime reads external data from one only. */
export function folderOf(tensors: StoredTensors): string {
  const folders = new Set([...tensors.values()].map(({ file }) => dirname(file)));
  const [folder] = folders;
  if (folder === undefined) throw unusable("there are no weights");
  if (folders.size > 1) throw unusable("the files of the weights lie in several folders");
  return folder;
}
