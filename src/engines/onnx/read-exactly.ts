import type { FileHandle } from "node:fs/promises";
import { unusable } from "./checkpoint.ts";

/** Bytes of a file. Throws `model_unavailable`, with the file's name, where it ends before. */
export async function readExactly(
  handle: FileHandle,
  offset: number,
  length: number,
  name: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const { bytesRead } = await handle.read(bytes, at, length - at, offset + at);
    if (bytesRead === 0) throw unusable(`${name} is cut off`);
    at += bytesRead;
  }
  return bytes;
}
