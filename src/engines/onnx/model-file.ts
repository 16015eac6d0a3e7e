import { readFile, stat } from "node:fs/promises";
import { basename, dirname, posix } from "node:path";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { LoquiError } from "../../errors.ts";
import { type Checkpoint, unusable } from "./checkpoint.ts";

/** A graph that somebody exported, ready for a session. */
export interface ModelFile {
  /** The ONNX model, its external data named as the files lie. */
  readonly model: Uint8Array<ArrayBuffer>;
  /** The folder that the files of its external data lie in. */
  readonly folder: string;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /** Numbers in the weights. */
  readonly parameters: number;
  /** Bytes of the file and of its external data. */
  readonly bytes: number;
}

/** An input or output, as the graph declares it. */
export interface TensorInfo {
  readonly name: string;
  /** ONNX's number of the type (onnx.proto, `TensorProto.DataType`); 0 where it is no tensor. */
  readonly elementType: number;
  /** Lengths; undefined for what is known only when the graph runs. Absent where the graph says nothing. */
  readonly shape: readonly (number | undefined)[] | undefined;
}

/** A Protobuf message can't be larger. */
const maxBytes = 2 ** 31 - 1;
const maxTensors = 100_000;
/** Graphs within graphs: bodies of If and Loop. */
const maxDepth = 32;

/**
 * Reads an `.onnx` file of a checkpoint. External data is held to what is held
 * of safetensors: relative names inside the folder, behind which may be links (the
 * hub's cache is made of them), and bytes that are there. Throws
 * `model_unavailable` where that isn't so, the file is missing or no ONNX model.
 */
export async function readModelFile(checkpoint: Checkpoint, name: string): Promise<ModelFile> {
  const path = await checkpoint.pathOf(name);
  if (path === undefined) throw unusable(`${name} is missing`);
  const bytes = await readWhole(path, name);
  const stored = new Map<string, ExternalData>();
  const summary = parsing(name, () => summarize(name, bytes, stored));
  const files = new Map<string, ExternalFile>();
  for (const location of new Set([...stored.values()].map((data) => data.location))) {
    files.set(location, await externalFile(checkpoint, name, location));
  }
  const folders = new Set([...files.values()].map((file) => dirname(file.path)));
  const [folder = dirname(path)] = folders;
  if (folders.size > 1) throw unusable(`${name}: the files of its external data lie in several folders`);
  for (const [tensor, { location, offset, length }] of stored) {
    const size = files.get(location)?.size ?? 0;
    if (offset + (length ?? 0) > size) throw unusable(`${name}: ${tensor}: its bytes are not where it says`);
  }
  const located = (data: ExternalData) => basename(files.get(data.location)?.path ?? "");
  const model = stored.size === 0 ? bytes : parsing(name, () => relocate(name, bytes, located));
  const externalBytes = [...files.values()].reduce((sum, file) => sum + file.size, 0);
  return { ...summary, model, folder, bytes: bytes.length + externalBytes };
}

async function readWhole(path: string, name: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes) throw unusable(`${name} has ${size} bytes, the maximum is ${maxBytes}`);
    // A copy: small files come out of a buffer that Node shares between them.
    return Uint8Array.from(await readFile(path));
  } catch (error) {
    if (error instanceof LoquiError) throw error;
    throw unusable(`${name} can't be read`, error);
  }
}

function parsing<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof LoquiError) throw error;
    throw unusable(`${name} is cut off or no ONNX model`, error);
  }
}

interface ExternalFile {
  readonly path: string;
  readonly size: number;
}

async function externalFile(checkpoint: Checkpoint, name: string, location: string): Promise<ExternalFile> {
  const shown = JSON.stringify(location.slice(0, 100));
  const relative = posix.join(posix.dirname(name), location);
  if (location === "" || posix.isAbsolute(location) || relative.startsWith("..")) {
    throw unusable(`${name}: the file name ${shown} leads out of the folder`);
  }
  const path = await checkpoint.pathOf(relative);
  if (path === undefined) throw unusable(`${name}: its external data ${shown} is missing`);
  const found = await stat(path);
  if (!found.isFile()) throw unusable(`${name}: its external data ${shown} is not a file`);
  return { path, size: found.size };
}

/** The messages that hold tensors, and where they do (onnx.proto, by the numbers of fields). */
const holders = {
  model: { 7: "graph", 20: "training", 25: "function" },
  training: { 1: "graph", 2: "graph" },
  function: { 7: "node", 11: "attribute" },
  graph: { 1: "node", 5: "tensor", 15: "sparse" },
  node: { 5: "attribute" },
  attribute: { 5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse" },
  sparse: { 1: "tensor", 2: "tensor" },
  tensor: {},
} as const satisfies Readonly<Record<string, Readonly<Record<number, string>>>>;
type Holder = keyof typeof holders;

/** Where a message stands: `/graph/tensor` are the initializers of the main graph. */
const initializerPath = "/graph/tensor";

/**
 * A message with what `tensor` makes of each tensor in it, wherever it stands;
 * the same bytes where all stay as they are.
 */
function mapTensors(
  message: Uint8Array,
  holder: Holder,
  path: string,
  tensor: (bytes: Uint8Array, path: string) => Uint8Array,
): Uint8Array {
  if (holder === "tensor") return tensor(message, path);
  if (path.split("/").length > maxDepth) throw new RangeError("graphs are nested too deep");
  const kinds: Readonly<Record<number, Holder>> = holders[holder];
  const reader = new BinaryReader(message);
  const pieces: Uint8Array[] = [];
  let taken = 0;
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [field, wireType] = reader.tag();
    const kind = kinds[field];
    if (kind === undefined || wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, field);
      continue;
    }
    const inner = reader.bytes();
    const made = mapTensors(inner, kind, `${path}/${kind}`, tensor);
    if (made === inner) continue;
    const head = new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(made.length).finish();
    pieces.push(message.subarray(taken, start), head, made);
    taken = reader.pos;
  }
  if (reader.pos > reader.len) throw new RangeError("cut off");
  if (pieces.length === 0) return message;
  return Buffer.concat([...pieces, message.subarray(taken)]);
}

/** What is read of a model without its weights. Collects the external data of its initializers. */
function summarize(name: string, bytes: Uint8Array, stored: Map<string, ExternalData>) {
  const initializers = new Set<string>();
  let parameters = 0;
  mapTensors(bytes, "model", "", (tensor, path) => {
    const { name: own, elements, external } = readTensorHead(tensor);
    if (path === initializerPath) {
      initializers.add(own);
      parameters += elements;
      if (initializers.size > maxTensors) throw unusable(`${name} has more than ${maxTensors} tensors`);
      if (external !== undefined) stored.set(own, external);
    } else if (external !== undefined) {
      throw unusable(`${name}: ${own.slice(0, 100)} has external data, but is no initializer of the main graph`);
    }
    return tensor;
  });
  const graph = lastField(bytes, 7);
  if (graph === undefined) throw unusable(`${name} is cut off or no ONNX model`);
  const values = (field: number) => fieldsAt(graph, field).map(readValueInfo);
  // Until IR version 4 each initializer was an input too.
  return { inputs: values(11).filter((input) => !initializers.has(input.name)), outputs: values(12), parameters };
}

function relocate(name: string, bytes: Uint8Array, located: (data: ExternalData) => string): Uint8Array<ArrayBuffer> {
  const made = mapTensors(bytes, "model", "", (tensor) => {
    const { external } = readTensorHead(tensor);
    if (external === undefined) return tensor;
    const writer = new BinaryWriter();
    const reader = new BinaryReader(tensor);
    while (reader.pos < reader.len) {
      const start = reader.pos;
      const [field, wireType] = reader.tag();
      reader.skip(wireType, field);
      if (field !== 13) writer.raw(tensor.subarray(start, reader.pos));
    }
    for (const [key, value] of Object.entries({ ...external, location: located(external) })) {
      if (value === undefined) continue;
      writer.tag(13, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string(key);
      writer.tag(2, WireType.LengthDelimited).string(String(value)).join();
    }
    return writer.finish();
  });
  if (made.length > maxBytes) throw unusable(`${name} has ${made.length} bytes, the maximum is ${maxBytes}`);
  return Uint8Array.from(made);
}

/** Bytes in a file, by its name relative to that of the model. */
interface ExternalData {
  readonly location: string;
  readonly offset: number;
  readonly length: number | undefined;
}

/** `TensorProto` without its data. */
function readTensorHead(tensor: Uint8Array) {
  const reader = new BinaryReader(tensor);
  let name = "";
  let elements = 1;
  let isExternal = false;
  const entries = new Map<string, string>();
  const dimension = () => {
    elements *= Number(reader.int64());
    if (!Number.isSafeInteger(elements) || elements < 0) throw new RangeError("a tensor can't have this shape");
  };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited) {
      for (const end = reader.uint32() + reader.pos; reader.pos < end; ) dimension();
    } else if (field === 1) dimension();
    else if (field === 8) name = reader.string();
    else if (field === 13) {
      isExternal = true;
      const [key, value] = readEntry(reader.bytes());
      entries.set(key, value);
    } else if (field === 14) isExternal = reader.int32() === 1 || isExternal;
    else reader.skip(wireType, field);
  }
  if (!isExternal) return { name, elements, external: undefined };
  const whole = (key: string) => {
    const text = entries.get(key);
    if (text === undefined) return undefined;
    const value = /^\d{1,15}$/.test(text) ? Number(text) : undefined;
    if (value !== undefined) return value;
    throw unusable(`${name.slice(0, 100)}: ${key} of its external data is not a whole number`);
  };
  const external = { location: entries.get("location") ?? "", offset: whole("offset") ?? 0, length: whole("length") };
  return { name, elements, external };
}

/** `StringStringEntryProto`. */
function readEntry(entry: Uint8Array): [string, string] {
  const text = (field: number) => Buffer.from(lastField(entry, field) ?? []).toString();
  return [text(1), text(2)];
}

/** `ValueInfoProto`: a name and a `TypeProto`, of which only the tensor is read. */
function readValueInfo(info: Uint8Array): TensorInfo {
  const name = Buffer.from(lastField(info, 1) ?? []).toString();
  const type = lastField(info, 2);
  const tensor = type && lastField(type, 1);
  if (tensor === undefined) return { name, elementType: 0, shape: undefined };
  const shape = lastField(tensor, 2);
  const lengths = shape && fieldsAt(shape, 1).map((dimension) => varintAt(dimension, 1));
  return { name, elementType: varintAt(tensor, 1) ?? 0, shape: lengths };
}

/** The values of a field of messages or texts. */
function fieldsAt(message: Uint8Array, wanted: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === wanted && wireType === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(wireType, field);
  }
  return found;
}

function lastField(message: Uint8Array, wanted: number): Uint8Array | undefined {
  return fieldsAt(message, wanted).at(-1);
}

function varintAt(message: Uint8Array, wanted: number): number | undefined {
  let found: number | undefined;
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === wanted && wireType === WireType.Varint) found = Number(reader.int64());
    else reader.skip(wireType, field);
  }
  return found;
}
