/**
 * The thread that an ONNX Runtime session lives in: its calls are synchronous
 * and would hold up the event loop of the worker. Started by session.ts.
 */
import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { packBatch, tokenTypes } from "./batch.ts";
import { poolingWeights, type WeightedMode } from "./pooling.ts";
import type { SessionOptions, SessionReply, SessionRequest } from "./session.ts";

const port = parentPort;
if (port === null) throw new Error("session-thread.ts is a thread of session.ts");
const { model, folder, threads, positions, pooling } = workerData as SessionOptions;
const weighted = pooling.filter((mode): mode is WeightedMode => mode !== "max");

const session = await InferenceSession.create(model, {
  executionProviders: ["cpu"],
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  // Each batch has a shape of its own: plans of their memory would pile up.
  enableMemPattern: false,
  extra: {
    session: {
      model_external_initializers_file_folder_path: folder,
      // Spinning threads take a whole core while nothing is to be done.
      intra_op: { allow_spinning: "0" },
      // It would put back the slow kernel that `skipLayerNorm` of graph-builder.ts leaves.
      optimization: { disable_specified_optimizers: "SkipLayerNormFusion" },
    },
  },
});
port.on("message", (request: SessionRequest) => {
  void run(request).then(
    (vectors) => reply({ vectors }, [vectors.buffer]),
    (error: unknown) => reply({ error: error instanceof Error ? error.message : String(error) }, []),
  );
});
reply({ ready: true }, []);

function reply(message: SessionReply, transfer: readonly ArrayBuffer[]): void {
  port?.postMessage(message, transfer);
}

async function run({ ids, lengths, firsts }: SessionRequest): Promise<Float32Array<ArrayBuffer>> {
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
    ...(firsts !== undefined && { types: ints(tokenTypes(lengths, firsts, tokens), tokens) }),
  };
  for (const mode of weighted) {
    feeds[`pooling_${mode}`] = new Tensor("float32", poolingWeights(mode, lengths, tokens), [rows, tokens]);
  }
  const { vectors } = await session.run(feeds);
  if (vectors === undefined) throw new Error("the graph has no output");
  // A copy, whose memory is the other thread's from then on.
  return Float32Array.from((await vectors.getData()) as Float32Array);
}
