import { basename, dirname } from "node:path";
import { unusable } from "./checkpoint.ts";
import {
  type Attribute,
  type Branch,
  type Dimension,
  type ElementType,
  encodeModel,
  type GraphNode,
  type GraphValue,
  type Initializer,
} from "./model-proto.ts";
import { cacheQuantized } from "./quantized-cache.ts";
import { readTensor, type StoredTensor, type StoredTensors, type WeightType } from "./safetensors.ts";

/** The name of a value in a graph, of this type of elements. */
export type Value<T extends ElementType = "float"> = string & { readonly element: T };

/** Weights by their names in the checkpoint. */
export interface Weights {
  has(name: string): boolean;
  /**
   * A tensor as float32, whatever it is stored as. Throws `model_unavailable`
   * where it is missing or has another shape than the configuration says.
   */
  weight(name: string, shape: readonly number[]): Value;
  /**
   * Rows of a tensor, as float32. Only these are converted: a large table stays as
   * it is stored. Throws as {@link weight} does.
   */
  rows(name: string, shape: readonly number[], indices: Value<"int32">): Value;
  /** The same weights, of which none is quantized. */
  readonly exact: Weights;
}

/** What {@link GraphBuilder.groupedAttention} attends to, and how. */
export interface GroupedAttention {
  readonly heads: number;
  /** Heads of keys and values; each serves `heads / keyValueHeads` neighbours. */
  readonly keyValueHeads: number;
  /** What the products of queries and keys are multiplied with. */
  readonly scale: number;
  /** Whether keys after the query are not seen. */
  readonly causal: boolean;
  /** Keys that a query sees, its own and those before it; all where undefined. For causal attention. */
  readonly window: number | undefined;
  /** As {@link GraphBuilder.attention} has it. */
  readonly bias: Value | undefined;
}

/** Where the tokens of rows stand that are packed, one row after the other; `TokenInputs` of encoder.ts says more. */
export interface PackedRows {
  readonly padded: Value<"int32">;
  readonly packed: Value<"int32">;
  readonly lengths: Value<"int32">;
}

/** Cosines and sines of angles, each `[tokens, frequencies]`. */
export interface Rotations {
  readonly cosines: Value;
  readonly sines: Value;
}

/** Builds a graph; each method adds a node to it. */
export interface GraphBuilder {
  input<T extends ElementType>(name: string, type: T, shape: readonly Dimension[]): Value<T>;
  output(name: string, value: Value, shape: readonly Dimension[]): void;
  /** The weights of a part of the checkpoint, e.g. of a Dense module: `""`, or a prefix of their own in the graph. */
  weights(tensors: StoredTensors, part: string): Weights;

  /** `x[indices]`, along the first axis. */
  gather(x: Value, indices: Value<"int32">): Value;
  /** `x[0]` */
  firstRow(x: Value): Value;
  /** `x · weightᵀ + bias`, for rows in `x`; PyTorch's `Linear`. */
  linear(x: Value, weight: Value, bias: Value | undefined): Value;
  matMul(a: Value, b: Value): Value;
  add(a: Value, b: Value): Value;
  multiply(a: Value, b: Value): Value;
  /** Equal parts of the last axis. */
  split(x: Value, parts: number): readonly Value[];
  /** Without `beta` nothing is added. */
  layerNorm(x: Value, gamma: Value, beta: Value | undefined, epsilon: number): Value;
  /**
   * Of the sum of both inputs. Not as `SkipLayerNormalization`: on a core with
   * AVX-512 that kernel takes 5.5 ns a number where Add and the norm take 1.0.
   */
  skipLayerNorm(x: Value, skip: Value, gamma: Value, beta: Value, epsilon: number): Value;
  /** Divided by the root of the mean square of the last axis, times `gamma`. */
  rmsNorm(x: Value, gamma: Value, epsilon: number): Value;
  /** The sum of both inputs, and its {@link rmsNorm}; in two nodes, as {@link skipLayerNorm}. */
  skipRmsNorm(x: Value, skip: Value, gamma: Value, epsilon: number): { readonly normed: Value; readonly sum: Value };
  reshape(x: Value, shape: readonly number[]): Value;
  concat(values: readonly Value[], axis: number): Value;
  maxOver(x: Value, axis: number): Value;
  /** Rows scaled to length 1. */
  normalize(x: Value): Value;
  activation(x: Value, name: string): Value;
  /**
   * Rotary position embedding (Su et al. 2021), the halves of each head rotated
   * against each other: `x` is `[tokens, heads * headSize]`, `angles` the
   * {@link rotations} of those tokens, of `headSize / 2` frequencies.
   */
  rotate(x: Value, angles: Rotations): Value;
  /**
   * The angles at `positions` (`[tokens]`), of these frequencies in radians; cosines
   * and sines are multiplied with `attentionFactor`.
   */
  rotations(
    positions: Value<"int32">,
    rope: { readonly frequencies: readonly number[]; readonly attentionFactor: number },
  ): Rotations;
  /**
   * Biases of attention by distance, `[1, heads, longest, longest]`: the row of
   * `table` (`[rows, heads]`) that `rowAt` says for how many tokens the key comes
   * after the query (negative before it). At `±furthest` and beyond it is asked for that alone.
   */
  distanceBias(table: Value, padded: Value<"int32">, furthest: number, rowAt: (distance: number) => number): Value;
  /** Constants. */
  indices(list: readonly number[]): Value<"int32">;
  /** Constants as float32. */
  floats(data: readonly number[], shape: readonly number[]): Value;
  /**
   * Of tokens that are packed, as what comes out is: `[tokens, width]`. `bias` is added to the products of queries
   * and keys, `[1, heads or 1, longest, longest]`. A row that always runs alone ({@link GraphOptions.aloneAbove}) is
   * neither padded nor masked: without a mask the kernel takes 8 to 25 % less.
   */
  attention(q: Value, k: Value, v: Value, rows: PackedRows, heads: number, bias?: Value): Value;
  /**
   * {@link attention} of rows padded to one length, `[rows, longest, width]`, of which
   * `lengths` count, with fewer heads of keys and values, of all or of what is before.
   * Heads have a multiple of 8 numbers. Causal, its memory grows with the length,
   * else with its square; 16 heads of 128 numbers on 8 of keys take 0.5 (2,048
   * tokens) to 0.8 of the CPU time of `MultiHeadAttention` with keys repeated.
   */
  groupedAttention(q: Value, k: Value, v: Value, lengths: Value<"int32">, options: GroupedAttention): Value;

  /** {@link GraphOptions.aloneAbove} where some attention goes by it. */
  readonly aloneAbove: number | undefined;
  /** What a session holds of its own of the weights of {@link linear}: it lays them out for its kernels. */
  readonly matrixBytes: number;
  /** The graph as an ONNX model whose weights lie in files of `folder`, or where it is quantized of the cache. */
  encode(folder: string): Promise<EncodedGraph>;
}

/** An ONNX model, and the folder with the files of its weights, which the session has to be told. */
export interface EncodedGraph {
  readonly model: Uint8Array<ArrayBuffer>;
  readonly folder: string;
}

/**
 * How weights are quantized: those of {@link GraphBuilder.linear}, unless they are
 * {@link Weights.exact}, to 8 bits, each output with a scale of its own, and what
 * they are multiplied with while it runs, each row with a scale of its own, so that
 * a text's vector doesn't depend on what else is in its batch.
 */
export interface Quantization {
  /** The folder in which quantized weights are kept. */
  readonly cacheFolder: string;
}

type Attributes = Readonly<Record<string, Attribute>>;

/** Activation functions by the names that configurations have for them (transformers, `ACT2FN`). */
const activations: Readonly<
  Record<string, { readonly type: string; readonly domain?: "com.microsoft"; readonly attributes?: Attributes }>
> = {
  gelu: { type: "Gelu", attributes: { approximate: "none" } },
  gelu_new: { type: "Gelu", attributes: { approximate: "tanh" } },
  gelu_pytorch_tanh: { type: "Gelu", attributes: { approximate: "tanh" } },
  relu: { type: "Relu" },
  // x · sigmoid(x)
  silu: { type: "QuickGelu", domain: "com.microsoft", attributes: { alpha: { float: 1 } } },
  tanh: { type: "Tanh" },
  sigmoid: { type: "Sigmoid" },
};

const elementOf: Readonly<Record<WeightType, ElementType>> = { F32: "float", F16: "float16", BF16: "bfloat16" };

/** ONNX's own operators, and ONNX Runtime's fused ones (onnxruntime/docs/ContribOperators.md). */
const opsets = { "": 21, "com.microsoft": 1 } as const;

/** What the weights of one file may have in bytes to be copied into the graph, where they lie in a folder of their own. */
const maxCopiedBytes = 512 * 1024 * 1024;

/** What a node takes, its branches included. */
function inputsOf({ inputs, attributes }: GraphNode): readonly string[] {
  const branches = Object.values(attributes).flatMap((value) =>
    typeof value === "object" && "graph" in value ? value.graph.nodes : [],
  );
  return [...inputs, ...branches.flatMap(inputsOf)];
}

export interface GraphOptions {
  /** To 8 bits; the weights are taken as they are where absent. */
  readonly quantization?: Quantization | undefined;
  /**
   * Rows of more tokens than this are batches of their own, and are computed in
   * another way, which may differ in the last digits. It goes by a row's length,
   * so that what a text gets doesn't depend on what else is there: equal documents
   * have equal scores. None are where absent.
   */
  readonly aloneAbove?: number | undefined;
}

export function createGraphBuilder({ quantization, aloneAbove }: GraphOptions = {}): GraphBuilder {
  let nodes: GraphNode[] = [];
  const inputs: GraphValue[] = [];
  const outputs: GraphValue[] = [];
  const stored = new Map<string, StoredTensor>();
  const constants: Initializer[] = [];
  const known = new Map<string, Value>();
  /** Weights, by the names of the tensors. */
  const tensorNames = new Map<Value, string>();
  const matrices = new Set<string>();
  const quantized = new Map<string, StoredTensor>();
  const quantizedRows = new Map<Value, { readonly bytes: Value<"uint8">; readonly scales: Value }>();
  const aloneConditions = new Map<Value<"int32">, Value<"bool">>();
  let middleName: Value<"uint8"> | undefined;
  let middles: Value<"uint8"> | undefined;
  let values = 0;

  function node<T extends ElementType = "float">(
    type: string,
    from: readonly string[],
    attributes: Attributes = {},
    domain: keyof typeof opsets = "",
  ): Value<T> {
    values += 1;
    const name = `v${values}`;
    nodes.push({ type, domain, inputs: from, outputs: [name], attributes });
    return name as Value<T>;
  }

  function weights(tensors: StoredTensors, part: string, quantizable: boolean): Weights {
    /** The type that it is stored as; the initializer has the name with `part` before it. */
    function stores(name: string, shape: readonly number[]): WeightType {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw unusable(`the weights have no tensor ${name}`);
      if (tensor.shape.join() !== shape.join()) {
        throw unusable(`${name} has the shape [${tensor.shape.join(", ")}] instead of [${shape.join(", ")}]`);
      }
      stored.set(part + name, tensor);
      return tensor.type;
    }
    const float = (value: string, type: WeightType) =>
      type === "F32" ? (value as Value) : node("Cast", [value], { to: { int: 1 } });

    return {
      has: (name) => tensors.has(name),
      weight(name, shape) {
        const type = stores(name, shape);
        let value = known.get(part + name);
        if (value === undefined) {
          // Computed once, when the session is made.
          value = float(part + name, type);
          known.set(part + name, value);
          if (quantizable) tensorNames.set(value, name);
        }
        return value;
      },
      rows(name, shape, indices) {
        const type = stores(name, shape);
        return float(node("Gather", [part + name, indices], { axis: { int: 0 } }), type);
      },
      get exact() {
        return weights(tensors, part, false);
      },
    };
  }

  function constant<T extends ElementType>(type: T, data: Uint8Array, shape: readonly number[]): Value<T> {
    values += 1;
    const name = `v${values}`;
    constants.push({ name, type, shape, data });
    return name as Value<T>;
  }

  function floats(data: readonly number[], shape: readonly number[]): Value {
    return constant("float", new Uint8Array(Float32Array.from(data).buffer), shape);
  }

  function ints32(list: readonly number[]): Value<"int32"> {
    return constant("int32", new Uint8Array(Int32Array.from(list).buffer), [list.length]);
  }

  function rmsNorm(x: Value, gamma: Value, epsilon: number): Value {
    // Registered among ONNX's own, though it is ONNX Runtime's.
    return node("SimplifiedLayerNormalization", [x, gamma], { axis: { int: -1 }, epsilon: { float: epsilon } });
  }

  function ints(list: readonly number[], shape: readonly number[] = [list.length]): Value<"int64"> {
    return constant("int64", new Uint8Array(BigInt64Array.from(list.map(BigInt)).buffer), shape);
  }

  function gather(x: Value, indices: Value<"int32">): Value {
    return node("Gather", [x, indices], { axis: { int: 0 } });
  }

  /** What one branch or the other makes, `[rows, columns]`; only that one runs. */
  function either(condition: Value<"bool">, then: () => Value, otherwise: () => Value): Value {
    const around = nodes;
    const branch = (build: () => Value): Branch => {
      nodes = [];
      const name = build();
      return { nodes, outputs: [{ name, type: "float", shape: ["branch_rows", "branch_columns"] }] };
    };
    const attributes = { then_branch: { graph: branch(then) }, else_branch: { graph: branch(otherwise) } };
    nodes = around;
    return node("If", [condition], attributes);
  }

  /** Whether there is one row, and it has more tokens than that. */
  function alone({ lengths, packed }: PackedRows, tokens: number): Value<"bool"> {
    let condition = aloneConditions.get(lengths);
    if (condition === undefined) {
      const single = node<"bool">("Equal", [node("Size", [lengths]), ints([1], [])]);
      condition = node<"bool">("And", [single, node("Greater", [node("Size", [packed]), ints([tokens], [])])]);
      aloneConditions.set(lengths, condition);
    }
    return condition;
  }

  /** The zero of bytes that stand for numbers of both signs. */
  function middle(): Value<"uint8"> {
    middleName ??= constant("uint8", Uint8Array.of(128), []);
    return middleName;
  }

  /** Of every place in rows of one length to each, the first ones': `[longest, longest]`. */
  function distances(padded: Value<"int32">): Value<"int64"> {
    const longest = node<"int64">("Shape", [padded], { start: { int: 1 } });
    const scalar = node<"int64">("Squeeze", [longest]);
    const places = node<"int64">("Range", [ints([0], []), scalar, ints([1], [])]);
    return node("Sub", [node("Unsqueeze", [places, ints([0])]), node("Unsqueeze", [places, ints([1])])]);
  }

  /** Rows of `width` numbers as bytes around 128, and what each is to be multiplied with, `[tokens, 1]`. */
  function quantizeRows(x: Value, width: number) {
    let made = quantizedRows.get(x);
    if (made === undefined) {
      const extreme = (type: "ReduceMax" | "ReduceMin") => node(type, [x, ints([1])], { keepdims: { int: 1 } });
      const most = node("Max", [extreme("ReduceMax"), node("Neg", [extreme("ReduceMin")])]);
      // Of a row of zeros 0: what it makes of them is any bytes, which are multiplied with 0.
      const scales = node("Mul", [most, floats([1 / 127], [])]);
      // All that is quantized has a row for each token. (ONNX Runtime is slow with int8 on both sides: hence uint8, and a middle.)
      middles ??= node("Expand", [middle(), node("Shape", [scales])]);
      // Of one block a row: the scales needn't be turned into a list and back, which takes a node each.
      const attributes = { axis: { int: 1 }, block_size: { int: width } };
      made = { bytes: node<"uint8">("QuantizeLinear", [x, scales, middles], attributes), scales };
      quantizedRows.set(x, made);
    }
    return made;
  }

  function quantizedLinear(x: Value, name: string, tensor: StoredTensor, bias: Value | undefined): Value {
    quantized.set(name, tensor);
    const { bytes, scales } = quantizeRows(x, tensor.shape[1] ?? 1);
    const columns = node(
      "MatMulIntegerToFloat",
      [bytes, `${name}.int8`, floats([1], []), `${name}.scales`, middle()],
      {},
      "com.microsoft",
    );
    const product = node("Mul", [columns, scales]);
    return bias === undefined ? product : node("Add", [product, bias]);
  }

  /** Without the weights that are quantized wherever they are used, and what made them float32. */
  function withoutUnused() {
    const used = new Set(nodes.flatMap(inputsOf));
    const needed = nodes.filter(
      ({ outputs: made }) => !made.some((name) => tensorNames.has(name as Value) && !used.has(name)),
    );
    const names = new Set(needed.flatMap(inputsOf));
    return { needed, kept: new Map([...stored].filter(([name]) => names.has(name))) };
  }

  async function encodeQuantized(cacheFolder: string): Promise<EncodedGraph> {
    const { needed, kept } = withoutUnused();
    const { file, tensors } = await cacheQuantized(cacheFolder, { quantized, kept });
    const initializers: Initializer[] = [...constants];
    for (const [name, { type, shape, offset, bytes }] of tensors) {
      const own = kept.get(name);
      initializers.push({
        name,
        type: type === "stored" ? elementOf[own?.type ?? "F32"] : type,
        shape,
        data: { location: basename(file), offset, length: bytes },
      });
    }
    return { model: encodeModel({ nodes: needed, inputs, outputs, initializers, opsets }), folder: dirname(file) };
  }

  return {
    input<T extends ElementType>(name: string, type: T, shape: readonly Dimension[]) {
      inputs.push({ name, type, shape });
      return name as Value<T>;
    },
    output(name, value, shape) {
      nodes.push({ type: "Identity", domain: "", inputs: [value], outputs: [name], attributes: {} });
      outputs.push({ name, type: "float", shape });
    },
    // Of what comes after the encoder there is a row for each text only: it costs little as it is.
    weights: (tensors, part) => weights(tensors, part, part === ""),

    gather,
    firstRow: (x) => node("Gather", [x, ints([0])], { axis: { int: 0 } }),
    linear(x, weight, bias) {
      const name = tensorNames.get(weight);
      const tensor = name === undefined ? undefined : stored.get(name);
      if (name !== undefined && tensor !== undefined) {
        matrices.add(name);
        if (quantization !== undefined) return quantizedLinear(x, name, tensor, bias);
      }
      return node("Gemm", bias === undefined ? [x, weight] : [x, weight, bias], { transB: { int: 1 } });
    },
    matMul: (a, b) => node("MatMul", [a, b]),
    add: (a, b) => node("Add", [a, b]),
    multiply: (a, b) => node("Mul", [a, b]),
    split(x, parts) {
      const names = Array.from({ length: parts }, (_, part) => `v${values + part + 1}`);
      values += parts;
      const attributes = { axis: { int: -1 }, num_outputs: { int: parts } };
      nodes.push({ type: "Split", domain: "", inputs: [x], outputs: names, attributes });
      return names as Value[];
    },
    layerNorm: (x, gamma, beta, epsilon) =>
      node("LayerNormalization", beta === undefined ? [x, gamma] : [x, gamma, beta], { epsilon: { float: epsilon } }),
    skipLayerNorm: (x, skip, gamma, beta, epsilon) =>
      node("LayerNormalization", [node("Add", [x, skip]), gamma, beta], { epsilon: { float: epsilon } }),
    rmsNorm,
    skipRmsNorm(x, skip, gamma, epsilon) {
      const sum = node("Add", [x, skip]);
      return { sum, normed: rmsNorm(sum, gamma, epsilon) };
    },
    reshape: (x, shape) => node("Reshape", [x, ints(shape)]),
    concat: (parts, axis) => node("Concat", parts, { axis: { int: axis } }),
    maxOver: (x, axis) => node("ReduceMax", [x, ints([axis])], { keepdims: { int: 0 } }),
    normalize: (x) => node("LpNormalization", [x], { axis: { int: -1 }, p: { int: 2 } }),
    activation(x, name) {
      const activation = Object.hasOwn(activations, name) ? activations[name] : undefined;
      if (activation === undefined) throw unusable(`the activation function ${name.slice(0, 100)} is not supported`);
      return node(activation.type, [x], activation.attributes, activation.domain);
    },
    rotations(positions, { frequencies, attentionFactor }) {
      const places = node("Unsqueeze", [node("Cast", [positions], { to: { int: 1 } }), ints([1])]);
      const angles = node("Mul", [places, floats(frequencies, [1, frequencies.length])]);
      const scaled = (x: Value) => (attentionFactor === 1 ? x : node("Mul", [x, floats([attentionFactor], [])]));
      return { cosines: scaled(node("Cos", [angles])), sines: scaled(node("Sin", [angles])) };
    },
    rotate(x, { cosines, sines }) {
      // One sequence, whose first token has the first row of the tables: they are in the tokens' order already.
      const sequence = node("Unsqueeze", [x, ints([0])]);
      const rotated = node("RotaryEmbedding", [sequence, ints([0]), cosines, sines], {}, "com.microsoft");
      return node("Squeeze", [rotated, ints([0])]);
    },
    distanceBias(table, padded, furthest, rowAt) {
      const rows = Array.from({ length: 2 * furthest + 1 }, (_, at) => rowAt(at - furthest));
      const clipped = node("Clip", [distances(padded), ints([-furthest], []), ints([furthest], [])]);
      const at = node("Add", [clipped, ints([furthest], [])]);
      const byDistance = node("Gather", [table, ints(rows)], { axis: { int: 0 } });
      const biases = node("Gather", [byDistance, at], { axis: { int: 0 } });
      return node("Unsqueeze", [node("Transpose", [biases], { perm: { ints: [2, 0, 1] } }), ints([0])]);
    },
    indices: ints32,
    floats,
    attention(q, k, v, rows, heads, bias) {
      const attend = (parts: readonly Value[], lengths: string) =>
        node(
          "MultiHeadAttention",
          [...parts, "", lengths, ...(bias === undefined ? [] : [bias])],
          { num_heads: { int: heads } },
          "com.microsoft",
        );
      const padded = () => {
        const attended = attend(
          [q, k, v].map((part) => gather(part, rows.padded)),
          rows.lengths,
        );
        // All places, one row after the other.
        const width = node("Shape", [q], { start: { int: 1 } });
        const places = node("Reshape", [attended, node("Concat", [ints([-1]), width], { axis: { int: 0 } })]);
        return gather(places, rows.packed);
      };
      if (aloneAbove === undefined) return padded();
      return either(
        alone(rows, aloneAbove),
        () => {
          const attended = attend(
            [q, k, v].map((part) => node("Unsqueeze", [part, ints([0])])),
            "",
          );
          return node("Squeeze", [attended, ints([0])]);
        },
        padded,
      );
    },

    groupedAttention(q, k, v, lengths, { heads, keyValueHeads, scale, causal, window, bias }) {
      const last = node("Sub", [lengths, ints32([1])]);
      const longest = node("ReduceMax", [lengths], { keepdims: { int: 0 } });
      const output = `v${values + 1}`;
      values += 3;
      nodes.push({
        type: "GroupQueryAttention",
        domain: "com.microsoft",
        // No keys and values from before, no rotation of its own, no positions.
        inputs: [q, k, v, "", "", last, longest, "", "", "", ...(bias === undefined ? [] : [bias])],
        outputs: [output, `v${values - 1}`, `v${values}`],
        attributes: {
          num_heads: { int: heads },
          kv_num_heads: { int: keyValueHeads },
          scale: { float: scale },
          causal: { int: causal ? 1 : 0 },
          ...(window === undefined ? {} : { local_window_size: { int: window } }),
        },
      });
      return output as Value;
    },

    get aloneAbove() {
      return aloneConditions.size === 0 ? undefined : aloneAbove;
    },

    get matrixBytes() {
      const numbers = [...matrices].flatMap((name) => stored.get(name) ?? []).map(({ shape: [m = 0, n = 0] }) => m * n);
      return numbers.reduce((sum, count) => sum + count, 0) * (quantization === undefined ? 4 : 1);
    },

    async encode(folder) {
      if (quantization !== undefined && quantized.size > 0) return encodeQuantized(quantization.cacheFolder);
      let copied = 0;
      const initializers: Initializer[] = [...constants];
      for (const [name, tensor] of stored) {
        const { file, offset, bytes, shape } = tensor;
        const type = elementOf[tensor.type];
        if (dirname(file) === folder) {
          initializers.push({ name, type, shape, data: { location: basename(file), offset, length: bytes } });
          continue;
        }
        copied += bytes;
        if (copied > maxCopiedBytes) throw unusable(`${basename(file)} is larger than ${maxCopiedBytes} bytes`);
        initializers.push({ name, type, shape, data: await readTensor(tensor) });
      }
      return { model: encodeModel({ nodes, inputs, outputs, initializers, opsets }), folder };
    },
  };
}
