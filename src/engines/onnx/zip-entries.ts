import type { FileHandle } from "node:fs/promises";
import { unusable } from "./checkpoint.ts";
import { readExactly } from "./read-exactly.ts";

/** A file in an archive, as it is: nothing here is compressed. */
export interface ZipEntry {
  /** Of its first byte in the archive. */
  readonly offset: number;
  readonly bytes: number;
}

const endBytes = 22;
const maxCommentBytes = 65_535;
const maxDirectoryBytes = 4 * 1024 * 1024;
const signatures = { end: 0x06054b50, entry: 0x02014b50, file: 0x04034b50 } as const;

/**
 * The files of a zip archive whose entries are stored as they are, by name. Of
 * the archive only its directory is read. Throws `model_unavailable` for one
 * that is compressed, encrypted, cut off, of the 64-bit kind, or says what can't be.
 *
 * Format: APPNOTE.TXT of PKWARE, 4.3.
 */
export async function readZipEntries(handle: FileHandle, name: string): Promise<ReadonlyMap<string, ZipEntry>> {
  const { size } = await handle.stat();
  const tailBytes = Math.min(size, endBytes + maxCommentBytes);
  const tail = Buffer.from(await readExactly(handle, size - tailBytes, tailBytes, name));
  let end = tail.length - endBytes;
  while (end >= 0 && tail.readUInt32LE(end) !== signatures.end) end -= 1;
  if (end < 0) throw unusable(`${name} is not a zip archive`);
  const count = tail.readUInt16LE(end + 10);
  const directoryBytes = tail.readUInt32LE(end + 12);
  const directoryAt = tail.readUInt32LE(end + 16);
  if (directoryBytes > maxDirectoryBytes || directoryAt + directoryBytes > size) {
    throw unusable(`${name}: its directory is not where it says`);
  }
  const directory = Buffer.from(await readExactly(handle, directoryAt, directoryBytes, name));
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== signatures.entry) {
      throw unusable(`${name}: its directory is cut off`);
    }
    const flags = directory.readUInt16LE(at + 8);
    const bytes = directory.readUInt32LE(at + 24);
    const header = directory.readUInt32LE(at + 42);
    const nameEnd = at + 46 + directory.readUInt16LE(at + 28);
    const entry = directory.toString("utf8", at + 46, nameEnd);
    if ((flags & 1) !== 0 || directory.readUInt16LE(at + 10) !== 0 || directory.readUInt32LE(at + 20) !== bytes) {
      throw unusable(`${name}: ${entry.slice(0, 100)} is compressed or encrypted`);
    }
    entries.set(entry, { offset: await dataOffset(handle, name, header, bytes, size), bytes });
    at = nameEnd + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

async function dataOffset(
  handle: FileHandle,
  name: string,
  header: number,
  bytes: number,
  size: number,
): Promise<number> {
  if (header + 30 > size) throw unusable(`${name}: an entry is not where it says`);
  const local = Buffer.from(await readExactly(handle, header, 30, name));
  const offset = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
  if (local.readUInt32LE(0) === signatures.file && offset + bytes <= size) return offset;
  throw unusable(`${name}: an entry is not where it says`);
}
