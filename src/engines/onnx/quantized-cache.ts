import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { unusable } from "./checkpoint.ts";
import { quantizeWeights, toFloat32 } from "./quantization.ts";
import { readTensor, type StoredTensor } from "./safetensors.ts";

/** A tensor of the file that a quantized model is loaded from. */
export interface CachedTensor {
  readonly type: "int8" | "float" | "stored";
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

/** The file, and what lies where in it: of quantized tensors NAME`.int8` and NAME`.scales`, others by their names. */
export interface QuantizedFile {
  readonly file: string;
  readonly tensors: ReadonlyMap<string, CachedTensor>;
}

/** The weights of a graph, by their names in it: those that are quantized, and those that stay as they are stored. */
export interface GraphWeights {
  readonly quantized: ReadonlyMap<string, StoredTensor>;
  readonly kept: ReadonlyMap<string, StoredTensor>;
}

/** Counted up when what is written changes. */
const version = 1;
/** Files that nobody has used for as long go when another is written beside them. */
const unusedMs = 3_600_000;

/**
 * The weights of a graph in one file of the cache, those to be quantized as
 * {@link quantizeWeights} makes them. It is made where it isn't there, or the files
 * of the weights are others than they were: their path, size, times or inode
 * differ. It appears whole or not at all, also where two processes make it. Format:
 * safetensors. Throws `model_unavailable` where the cache can't be written.
 */
export async function cacheQuantized(cacheFolder: string, weights: GraphWeights): Promise<QuantizedFile> {
  const layout = layOut(weights);
  const folder = join(cacheFolder, "int8", digest(filesOf(weights).map(dirname)));
  const file = join(folder, `${await keyOf(weights)}.safetensors`);
  try {
    if (await hasSize(file, layout.size)) {
      const now = new Date();
      await utimes(file, now, now);
    } else {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeWhole(file, layout, weights);
      await removeUnused(folder);
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    throw unusable(`the quantized weights can't be kept in LOQUI_HOME (${String(error.code)})`, error);
  }
  return { file, tensors: layout.tensors };
}

interface Layout {
  readonly header: Buffer;
  readonly tensors: ReadonlyMap<string, CachedTensor>;
  /** Of the whole file. */
  readonly size: number;
}

function layOut({ quantized, kept }: GraphWeights): Layout {
  const parts: { name: string; dtype: string; type: CachedTensor["type"]; shape: readonly number[]; bytes: number }[] =
    [];
  for (const [name, { shape }] of quantized) {
    const [outputs = 0, inputs = 0] = shape;
    parts.push({ name: `${name}.int8`, dtype: "I8", type: "int8", shape: [inputs, outputs], bytes: inputs * outputs });
    parts.push({ name: `${name}.scales`, dtype: "F32", type: "float", shape: [outputs], bytes: 4 * outputs });
  }
  for (const [name, { type, shape, bytes }] of kept) parts.push({ name, dtype: type, type: "stored", shape, bytes });
  let end = 0;
  const header: Record<string, unknown> = { __metadata__: { format: `loqui-int8-${version}` } };
  for (const { name, dtype, shape, bytes } of parts) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const text = JSON.stringify(header);
  // The format's own writer aligns the data so.
  const length = Math.ceil(Buffer.byteLength(text) / 8) * 8;
  const bytes = Buffer.alloc(8 + length, " ");
  bytes.writeBigUInt64LE(BigInt(length));
  bytes.write(text, 8);
  let offset = bytes.length;
  const tensors = new Map<string, CachedTensor>();
  for (const { name, type, shape, bytes: size } of parts) {
    tensors.set(name, { type, shape, offset, bytes: size });
    offset += size;
  }
  return { header: bytes, tensors, size: offset };
}

/** Paths, each once. */
function filesOf({ quantized, kept }: GraphWeights): string[] {
  return [...new Set([...quantized.values(), ...kept.values()].map(({ file }) => file))].sort();
}

async function keyOf(weights: GraphWeights): Promise<string> {
  const states = await Promise.all(
    filesOf(weights).map(async (file) => {
      const { size, mtimeNs, ctimeNs, ino } = await stat(file, { bigint: true });
      return [file, size, mtimeNs, ctimeNs, ino].map(String);
    }),
  );
  return digest([version, states, [...weights.quantized], [...weights.kept]]);
}

function digest(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 32);
}

async function hasSize(file: string, size: number): Promise<boolean> {
  try {
    return (await stat(file)).size === size;
  } catch {
    return false;
  }
}

async function writeWhole(file: string, { header }: Layout, { quantized, kept }: GraphWeights): Promise<void> {
  const unfinished = `${file}.${randomUUID()}.tmp`;
  try {
    const handle = await open(unfinished, "wx", 0o600);
    try {
      await handle.writeFile(header);
      for (const tensor of quantized.values()) {
        const [outputs = 0, inputs = 0] = tensor.shape;
        const { values, scales } = quantizeWeights(toFloat32(tensor, await readTensor(tensor)), outputs, inputs);
        await handle.writeFile(values);
        await handle.writeFile(new Uint8Array(scales.buffer));
      }
      for (const tensor of kept.values()) await handle.writeFile(await readTensor(tensor));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(unfinished, file);
  } finally {
    await rm(unfinished, { force: true });
  }
}

async function removeUnused(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    // Another process that makes it may have renamed it meanwhile.
    const usedAt = await stat(path).then(({ mtimeMs }) => mtimeMs, ignoreAbsent);
    if (usedAt !== undefined && Date.now() - usedAt > unusedMs) await rm(path, { force: true });
  }
}

function ignoreAbsent(error: unknown): undefined {
  if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
}
