import { open } from "node:fs/promises";
import { LoquiError } from "../../errors.ts";
import { unusable } from "./checkpoint.ts";
import { readExactly } from "./read-exactly.ts";
import { bytesOf, type StoredTensor, type StoredTensors } from "./safetensors.ts";
import { readTorchPickle } from "./torch-pickle.ts";
import { readZipEntries } from "./zip-entries.ts";

/** Bytes of the pickle: that of two tensors has 300. */
const maxPickleBytes = 1024 * 1024;

/**
 * The tensors of a state dict that `torch.save` has written (`.pt`, a zip
 * archive since PyTorch 1.6), where they lie in the file. Nothing of it is
 * executed. Throws `model_unavailable` for what is no such file.
 */
export async function readTorchArchive(path: string, name: string): Promise<StoredTensors> {
  const handle = await open(path).catch((error) => {
    throw unusable(`${name} can't be read`, error);
  });
  try {
    const entries = await readZipEntries(handle, name);
    const pickleName = [...entries.keys()].find((entry) => /^[^/]*\/data\.pkl$/.test(entry));
    const pickle = pickleName === undefined ? undefined : entries.get(pickleName);
    if (pickleName === undefined || pickle === undefined) throw unusable(`${name} has no data.pkl`);
    if (pickle.bytes > maxPickleBytes) throw unusable(`${name}: data.pkl has ${pickle.bytes} bytes`);
    const root = pickleName.slice(0, -"data.pkl".length);
    const order = entries.get(`${root}byteorder`);
    if (order !== undefined && order.bytes < 16) {
      const bytes = await readExactly(handle, order.offset, order.bytes, name);
      if (Buffer.from(bytes).toString() !== "little") throw unusable(`${name} is not little-endian`);
    }
    const pickled = readTorchPickle(await readExactly(handle, pickle.offset, pickle.bytes, name), name);
    const tensors = new Map<string, StoredTensor>();
    for (const [tensor, { type, storage, start, shape }] of pickled) {
      const entry = entries.get(`${root}data/${storage}`);
      const bytes = shape.reduce((product, length) => product * length, bytesOf[type]);
      const from = start * bytesOf[type];
      if (entry === undefined || from + bytes > entry.bytes) {
        throw unusable(`${name}: ${tensor.slice(0, 100)}: its bytes are not where it says`);
      }
      tensors.set(tensor, { type, shape, file: path, offset: entry.offset + from, bytes });
    }
    return tensors;
  } catch (error) {
    if (error instanceof LoquiError) throw error;
    throw unusable(`${name} can't be read`, error);
  } finally {
    await handle.close();
  }
}
