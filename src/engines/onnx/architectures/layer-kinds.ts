import { type Fields, unusable } from "../checkpoint.ts";
import type { GraphBuilder, Value } from "../graph-builder.ts";

/** What a layer's tokens attend to: all of the text (or of what is before them), or those near. */
const layerKinds = ["full_attention", "sliding_attention"] as const;
export type LayerKind = (typeof layerKinds)[number];

/** `layer_types`; where a configuration has none, what `usual` says for each layer. */
export function readKinds(config: Fields, layers: number, usual: (layer: number) => LayerKind): readonly LayerKind[] {
  const listed = config.raw("layer_types");
  if (listed === undefined) return Array.from({ length: layers }, (_, layer) => usual(layer));
  if (Array.isArray(listed) && listed.length === layers && listed.every(isLayerKind)) return listed;
  throw unusable(`config.json: layer_types is not a list of ${layers}, each one of ${layerKinds.join(", ")}`);
}

function isLayerKind(value: unknown): value is LayerKind {
  return (layerKinds as readonly unknown[]).includes(value);
}

/**
 * The bias of attention that lets tokens see those up to `furthest` away: nothing
 * within, beyond it minus infinity (but for its infinity, which makes no numbers
 * of rows that see nothing, those of padding).
 */
export function windowBias(graph: GraphBuilder, padded: Value<"int32">, furthest: number): Value {
  const table = graph.floats([0, -1e30], [2, 1]);
  return graph.distanceBias(table, padded, furthest + 1, (distance) => (Math.abs(distance) > furthest ? 1 : 0));
}
