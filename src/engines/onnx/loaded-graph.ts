import { availableParallelism } from "node:os";
import type { TextModelInfo } from "../text-engine.ts";
import type { Encoder } from "./architectures/encoder.ts";
import type { ExportedEncoder } from "./exported-encoder.ts";
import type { PoolingMode } from "./pooling.ts";
import type { BuiltGraph } from "./sentence-graph.ts";
import { lanesFor, openLanes, type SessionLanes } from "./session-lanes.ts";

/** A graph that runs, and what its model says of itself. */
export interface LoadedGraph {
  readonly session: SessionLanes;
  readonly info: TextModelInfo;
  /** Rows of more tokens must be batches of their own. */
  readonly aloneAbove: number | undefined;
}

/** Starts the session of a graph, behind an export where there is one. Throws `model_unavailable`. */
export async function loadGraph(
  graph: BuiltGraph & { readonly pooling: readonly PoolingMode[] },
  {
    modelType,
    vocabularySize,
    positions,
  }: Pick<Encoder, "vocabularySize" | "positions"> & { readonly modelType: string },
  exported: ExportedEncoder | undefined,
  threads = availableParallelism(),
): Promise<LoadedGraph> {
  const { model, folder, pooling, aloneAbove, matrixBytes } = graph;
  const options = { model, folder, threads, positions, pooling, exported: exported?.graph };
  const session = await openLanes(options, exported === undefined ? lanesFor(threads, matrixBytes) : 1);
  return {
    session,
    aloneAbove,
    info: {
      architecture: modelType,
      parameters: graph.parameters + (exported?.parameters ?? 0),
      vocabularySize,
      sizeBytes: graph.weightBytes + (exported?.weightBytes ?? 0),
      threads,
    },
  };
}
