import { unusable } from "./checkpoint.ts";
import type { WeightType } from "./safetensors.ts";

/** A tensor of a state dict: a part of one of the archive's storages. */
export interface PickledTensor {
  readonly type: WeightType;
  /** The name of its storage's file in the archive's `data` folder. */
  readonly storage: string;
  /** Of its first number in the storage, in numbers. */
  readonly start: number;
  readonly shape: readonly number[];
}

/** What can be on the stack. */
type Value =
  | null
  | boolean
  | number
  | string
  | readonly Value[]
  | Map<Value, Value>
  | { readonly global: string }
  | { readonly storageType: WeightType; readonly key: string }
  | PickledTensor;

const storageTypes: Readonly<Record<string, WeightType>> = {
  "torch FloatStorage": "F32",
  "torch HalfStorage": "F16",
  "torch BFloat16Storage": "BF16",
};

const dictionary = "collections OrderedDict";
const tensorMaker = "torch._utils _rebuild_tensor_v2";
const maxSteps = 100_000;

/**
 * The tensors of a pickled state dict (`data.pkl` of what `torch.save` writes),
 * by name. A pickle is a program; of its instructions those are read that a
 * dict of tensors takes, and of all that it could name and call there are an
 * OrderedDict and a tensor, which are made here: nothing of it is executed.
 * Throws `model_unavailable` for everything else.
 *
 * Source: CPython's pickletools.py, torch/serialization.py.
 */
export function readTorchPickle(bytes: Uint8Array, name: string): ReadonlyMap<string, PickledTensor> {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: Value[] = [];
  const marks: number[] = [];
  const memo = new Map<number, Value>();
  let at = 0;

  const refuse = (what: string) => unusable(`${name}: ${what}`);
  const pop = (): Value => {
    const value = stack.pop();
    if (value === undefined) throw refuse("its stack is empty");
    return value;
  };
  const sinceMark = (): Value[] => {
    const mark = marks.pop();
    if (mark === undefined || mark > stack.length) throw refuse("it has no mark");
    return stack.splice(mark);
  };
  const take = (length: number): number => {
    const from = at;
    at += length;
    if (at > data.length) throw refuse("it is cut off");
    return from;
  };
  const text = (length: number): string => data.toString("utf8", take(length), at);
  const line = (): string => {
    const end = data.indexOf(10, at);
    if (end === -1) throw refuse("it is cut off");
    const found = data.toString("utf8", at, end);
    at = end + 1;
    return found;
  };
  const setItems = (pairs: readonly Value[]): void => {
    const target = stack.at(-1);
    if (!(target instanceof Map) || pairs.length % 2 !== 0) throw refuse("it sets items of no dict");
    for (let index = 0; index < pairs.length; index += 2) target.set(pairs[index] ?? null, pairs[index + 1] ?? null);
  };
  const remember = (index: number): void => {
    memo.set(index, stack.at(-1) ?? null);
  };
  const recall = (index: number): void => {
    const value = memo.get(index);
    if (value === undefined) throw refuse("it asks for what it never kept");
    stack.push(value);
  };
  const tuple = (count: number): void => {
    if (stack.length < count) throw refuse("its stack is empty");
    stack.push(stack.splice(stack.length - count));
  };

  for (let step = 0; step < maxSteps; step += 1) {
    const code = data[take(1)] ?? 0;
    switch (String.fromCharCode(code)) {
      case "\x80":
        take(1);
        break;
      case "c":
        stack.push({ global: `${line()} ${line()}` });
        break;
      case "(":
        marks.push(stack.length);
        break;
      case ")":
        stack.push([]);
        break;
      case "}":
        stack.push(new Map());
        break;
      case "t":
        stack.push(sinceMark());
        break;
      case "\x85":
        tuple(1);
        break;
      case "\x86":
        tuple(2);
        break;
      case "\x87":
        tuple(3);
        break;
      case "N":
        stack.push(null);
        break;
      case "\x88":
        stack.push(true);
        break;
      case "\x89":
        stack.push(false);
        break;
      case "K":
        stack.push(data.readUInt8(take(1)));
        break;
      case "M":
        stack.push(data.readUInt16LE(take(2)));
        break;
      case "J":
        stack.push(data.readInt32LE(take(4)));
        break;
      case "X":
        stack.push(text(data.readUInt32LE(take(4))));
        break;
      case "q":
        remember(data.readUInt8(take(1)));
        break;
      case "r":
        remember(data.readUInt32LE(take(4)));
        break;
      case "h":
        recall(data.readUInt8(take(1)));
        break;
      case "j":
        recall(data.readUInt32LE(take(4)));
        break;
      case "Q":
        stack.push(storageOf(pop(), refuse));
        break;
      case "R": {
        const given = pop();
        stack.push(make(pop(), given, refuse));
        break;
      }
      case "s": {
        const value = pop();
        setItems([pop(), value]);
        break;
      }
      case "u":
        setItems(sinceMark());
        break;
      case "b":
        // Attributes of the dict: the versions of the modules.
        pop();
        break;
      case ".":
        return tensorsOf(pop(), refuse);
      default:
        throw refuse(`the instruction 0x${code.toString(16)} is not one of a dict of tensors`);
    }
  }
  throw refuse(`it has more than ${maxSteps} instructions`);
}

type Refuse = (what: string) => Error;

function storageOf(id: Value, refuse: Refuse): Value {
  const [kind, type, key] = Array.isArray(id) ? (id as readonly Value[]) : [];
  const global = isGlobal(type) ? type.global : "";
  const storageType = Object.hasOwn(storageTypes, global) ? storageTypes[global] : undefined;
  if (kind === "storage" && storageType !== undefined && typeof key === "string" && /^\d+$/.test(key)) {
    return { storageType, key };
  }
  throw refuse(`the storage ${global.slice(0, 100)} is none of ${Object.keys(storageTypes).join(", ")}`);
}

function make(callable: Value, given: Value, refuse: Refuse): Value {
  const global = isGlobal(callable) ? callable.global : "";
  const list = Array.isArray(given) ? (given as readonly Value[]) : [];
  if (global === dictionary && list.length === 0) return new Map();
  if (global !== tensorMaker) throw refuse(`it calls ${global.slice(0, 100)}, which makes no tensors`);
  const [storage, start, shape, strides] = list;
  if (!isStorage(storage) || !isCount(start) || !isCounts(shape) || !isCounts(strides)) {
    throw refuse("a tensor of it has no storage, start, shape and strides");
  }
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    if (shape[axis] !== 1 && strides[axis] !== stride) throw refuse("a tensor of it doesn't lie row after row");
    stride *= shape[axis] ?? 1;
  }
  return { type: storage.storageType, storage: storage.key, start, shape };
}

function tensorsOf(value: Value, refuse: Refuse): ReadonlyMap<string, PickledTensor> {
  if (!(value instanceof Map)) throw refuse("it is not a dict");
  const tensors = new Map<string, PickledTensor>();
  for (const [key, tensor] of value) {
    if (typeof key !== "string" || !isTensor(tensor)) throw refuse("it is not a dict of tensors");
    tensors.set(key, tensor);
  }
  return tensors;
}

function isGlobal(value: Value | undefined): value is { readonly global: string } {
  return typeof value === "object" && value !== null && "global" in value;
}

function isStorage(value: Value | undefined): value is { readonly storageType: WeightType; readonly key: string } {
  return typeof value === "object" && value !== null && "storageType" in value;
}

function isTensor(value: Value): value is PickledTensor {
  return typeof value === "object" && value !== null && "shape" in value;
}

function isCount(value: Value | undefined): value is number {
  return typeof value === "number" && value >= 0;
}

function isCounts(value: Value | undefined): value is readonly number[] {
  return Array.isArray(value) && value.length <= 8 && (value as readonly Value[]).every(isCount);
}
