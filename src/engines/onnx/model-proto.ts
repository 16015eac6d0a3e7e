import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** ONNX's numbers of element types (onnx.proto, `TensorProto.DataType`). */
const elementTypes = { float: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9, float16: 10, bfloat16: 16 } as const;
export type ElementType = keyof typeof elementTypes;

/** A dimension: a length, or the name of one that is known when the graph runs. */
export type Dimension = number | string;

/** An input or output of the graph. */
export interface GraphValue {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly Dimension[];
}

/** A constant of the graph: its bytes, or where they lie in a file. */
export interface Initializer {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: Uint8Array | ExternalData;
}

/** Bytes in a file that lies in the folder which the session is told. */
export interface ExternalData {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** An attribute: a text, whole numbers, a floating-point one, which have to be told apart, or a branch. */
export type Attribute =
  | string
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly graph: Branch };

/** A graph inside of a node, which takes values of the one around it. */
export type Branch = Pick<Graph, "nodes" | "outputs">;

export interface GraphNode {
  readonly type: string;
  /** `""` is ONNX's own set of operators. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly inputs: readonly GraphValue[];
  readonly outputs: readonly GraphValue[];
  readonly initializers: readonly Initializer[];
  /** Version of each set of operators, by domain. */
  readonly opsets: Readonly<Record<string, number>>;
}

/** A graph as the bytes of an ONNX `ModelProto` (onnx/onnx.proto, IR version 10). */
export function encodeModel(graph: Graph): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(10);
  writer.tag(2, WireType.LengthDelimited).string("loqui");
  message(writer, 7, () => writeGraph(writer, graph));
  for (const [domain, version] of Object.entries(graph.opsets)) {
    message(writer, 8, () => {
      writer.tag(1, WireType.LengthDelimited).string(domain);
      writer.tag(2, WireType.Varint).int64(version);
    });
  }
  return writer.finish();
}

function message(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}

function writeGraph(writer: BinaryWriter, { nodes, inputs, outputs, initializers }: Omit<Graph, "opsets">): void {
  for (const node of nodes) message(writer, 1, () => writeNode(writer, node));
  writer.tag(2, WireType.LengthDelimited).string("graph");
  for (const initializer of initializers) message(writer, 5, () => writeInitializer(writer, initializer));
  for (const input of inputs) message(writer, 11, () => writeValue(writer, input));
  for (const output of outputs) message(writer, 12, () => writeValue(writer, output));
}

function writeNode(writer: BinaryWriter, { type, domain, inputs, outputs, attributes }: GraphNode): void {
  for (const input of inputs) writer.tag(1, WireType.LengthDelimited).string(input);
  for (const output of outputs) writer.tag(2, WireType.LengthDelimited).string(output);
  writer.tag(4, WireType.LengthDelimited).string(type);
  for (const [name, value] of Object.entries(attributes)) message(writer, 5, () => writeAttribute(writer, name, value));
  writer.tag(7, WireType.LengthDelimited).string(domain);
}

/** `AttributeProto.AttributeType`. */
const attributeTypes = { float: 1, int: 2, string: 3, graph: 5, ints: 7 } as const;

function writeAttribute(writer: BinaryWriter, name: string, value: Attribute): void {
  const type = (number: number) => writer.tag(20, WireType.Varint).int32(number);
  writer.tag(1, WireType.LengthDelimited).string(name);
  if (typeof value === "string") {
    writer.tag(4, WireType.LengthDelimited).string(value);
    type(attributeTypes.string);
  } else if ("int" in value) {
    writer.tag(3, WireType.Varint).int64(value.int);
    type(attributeTypes.int);
  } else if ("ints" in value) {
    for (const int of value.ints) writer.tag(8, WireType.Varint).int64(int);
    type(attributeTypes.ints);
  } else if ("graph" in value) {
    message(writer, 6, () => writeGraph(writer, { inputs: [], initializers: [], ...value.graph }));
    type(attributeTypes.graph);
  } else {
    writer.tag(2, WireType.Bit32).float(value.float);
    type(attributeTypes.float);
  }
}

/** `TensorProto.DataLocation`. */
const externalLocation = 1;

function writeInitializer(writer: BinaryWriter, { name, type, shape, data }: Initializer): void {
  for (const length of shape) writer.tag(1, WireType.Varint).int64(length);
  writer.tag(2, WireType.Varint).int32(elementTypes[type]);
  writer.tag(8, WireType.LengthDelimited).string(name);
  if (data instanceof Uint8Array) {
    writer.tag(9, WireType.LengthDelimited).bytes(data);
    return;
  }
  for (const [key, value] of Object.entries(data)) {
    message(writer, 13, () => {
      writer.tag(1, WireType.LengthDelimited).string(key);
      writer.tag(2, WireType.LengthDelimited).string(String(value));
    });
  }
  writer.tag(14, WireType.Varint).int32(externalLocation);
}

function writeValue(writer: BinaryWriter, { name, type, shape }: GraphValue): void {
  writer.tag(1, WireType.LengthDelimited).string(name);
  message(writer, 2, () =>
    message(writer, 1, () => {
      writer.tag(1, WireType.Varint).int32(elementTypes[type]);
      message(writer, 2, () => {
        for (const dimension of shape) {
          message(writer, 1, () => {
            if (typeof dimension === "number") writer.tag(1, WireType.Varint).int64(dimension);
            else writer.tag(2, WireType.LengthDelimited).string(dimension);
          });
        }
      });
    }),
  );
}
