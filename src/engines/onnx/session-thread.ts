/**
 * The thread that an ONNX Runtime session lives in: its calls are synchronous
 * and would hold up the event loop of the worker. Started by session.ts.
 */
import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { type PackedBatch, packBatch, paddedInput, tokenTypes } from "./batch.ts";
import { poolingWeights, type WeightedMode } from "./pooling.ts";
import { x64QuantPrecision } from "./precision.ts";
import type { ExportedGraph, SessionOptions, SessionReply, SessionRequest } from "./session.ts";

const port = parentPort;
if (port === null) throw new Error("session-thread.ts is a thread of session.ts");
const { model, folder, threads, positions, pooling, exported } = workerData as SessionOptions;
const weighted = pooling.filter((mode): mode is WeightedMode => mode !== "max");

function open(bytes: Uint8Array, weights: string): Promise<InferenceSession> {
  return InferenceSession.create(bytes, {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Each batch has a shape of its own: plans of their memory would pile up.
    enableMemPattern: false,
    extra: {
      session: {
        model_external_initializers_file_folder_path: weights,
        x64quantprecision: x64QuantPrecision(),
        // From one node to the next a thread stays awake; more would take a core from others while nothing is to be done.
        intra_op: { spin_duration_us: "100" },
        // They would put back the slow kernel that `skipLayerNorm` of graph-builder.ts leaves, and one of
        // Gelu with a bias, which takes longer than the two by themselves.
        optimization: { disable_specified_optimizers: "SkipLayerNormFusion;BiasGeluFusion" },
      },
    },
  });
}

const before = exported && { ...exported, session: await open(exported.model, exported.folder) };
const session = await open(model, folder);
port.on("message", (request: SessionRequest) => {
  void run(request).then(
    ([vectors, ...more]) => {
      if (vectors === undefined) return reply({ error: "the graph has no output" }, []);
      reply({ vectors, more }, [vectors.buffer, ...more.map(({ buffer }) => buffer)]);
    },
    (error: unknown) => reply({ error: error instanceof Error ? error.message : String(error) }, []),
  );
});
reply({ ready: true }, []);

function reply(message: SessionReply, transfer: readonly ArrayBuffer[]): void {
  port?.postMessage(message, transfer);
}

async function run({ ids, lengths, firsts, more = [] }: SessionRequest): Promise<Float32Array<ArrayBuffer>[]> {
  const batch = packBatch(ids, lengths, positions);
  const tokens = ids.length;
  const rows = lengths.length;
  const ints = (data: Int32Array, ...shape: number[]) => new Tensor("int32", data, shape);
  const feeds: Record<string, Tensor> = {
    ids: ints(batch.ids, tokens),
    positions: ints(batch.positions, tokens),
    padded: ints(batch.padded, rows, batch.longest),
    packed: ints(batch.packed, tokens),
    lengths: ints(batch.lengths, rows),
  };
  const types = firsts && tokenTypes(lengths, firsts, tokens);
  if (types !== undefined && before === undefined) feeds.types = ints(types, tokens);
  for (const mode of weighted) {
    feeds[`pooling_${mode}`] = new Tensor("float32", poolingWeights(mode, lengths, tokens), [rows, tokens]);
  }
  if (before !== undefined) feeds.hidden = await runExported(before, batch, types);
  const names = ["vectors", ...more];
  const found = await session.run(feeds, names);
  return Promise.all(
    names.map(async (name) => {
      const tensor = found[name];
      if (tensor === undefined) throw new Error(`the graph has no output ${name}`);
      // A copy, whose memory is the other thread's from then on.
      return Float32Array.from((await tensor.getData()) as Float32Array);
    }),
  );
}

/** What an export makes of a batch: `[rows * longest, width]`, or of vectors `[rows, width]`. */
async function runExported(
  { session: first, inputs, output, padding }: ExportedGraph & { readonly session: InferenceSession },
  batch: PackedBatch,
  types: Int32Array | undefined,
): Promise<Tensor> {
  const rows = batch.lengths.length;
  const feeds: Record<string, Tensor> = {};
  for (const { name, type } of inputs) {
    const data = paddedInput(batch, name, padding, types);
    const shape = [rows, batch.longest];
    feeds[name] =
      type === "int32" ? new Tensor(type, data, shape) : new Tensor(type, BigInt64Array.from(data, BigInt), shape);
  }
  const made = (await first.run(feeds, [output.name]))[output.name];
  const expected = output.kind === "hidden" ? [rows, batch.longest, output.width] : [rows, output.width];
  if (made === undefined || made.dims.join() !== expected.join()) {
    throw new Error(`${output.name} has the shape [${made?.dims.join(", ")}] instead of [${expected.join(", ")}]`);
  }
  const shape = [made.size / output.width, output.width];
  if (made.type !== "float16") return made.reshape(shape);
  // The runtime's binding takes Node's arrays of float16 for empty ones where they come in; its types have them as bits.
  const { buffer, byteOffset, length } = (await made.getData()) as Uint16Array;
  return new Tensor("float32", new Float32Array(new Float16Array(buffer, byteOffset, length)), shape);
}
