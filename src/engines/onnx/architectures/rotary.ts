import { type Fields, fieldsOf, unusable } from "../checkpoint.ts";
import { llama3Frequencies, type Rope, readYarn } from "./rope-scaling.ts";

/** What is known of a model beside its rope. */
export interface Rotated {
  /** Numbers of a head, even. */
  readonly headSize: number;
  /** `max_position_embeddings` */
  readonly maxPositions: number;
}

/** What a configuration says where it has no `rope_parameters`, as all did until 2026. */
export interface OldRope {
  /** The name of its theta, and what that is where it isn't there. */
  readonly theta: string;
  readonly usual: number;
  /** Whether `rope_scaling` is about these layers. */
  readonly scaled: boolean;
}

/**
 * Reads the rope of the layers of a kind: `rope_parameters`, which has members for
 * each kind or is for all, else the fields of old. Throws `model_unavailable` for a
 * `rope_type` other than default, linear, llama3 and yarn.
 */
export function readRope(config: Fields, kind: string, old: OldRope, rotated: Rotated): Rope {
  const theta = config.number(old.theta, 1.001, 1e12, old.usual);
  const all = config.raw("rope_parameters");
  const scaling = config.raw("rope_scaling");
  if (all === undefined) return scaledRope("rope_scaling", old.scaled ? (scaling ?? {}) : {}, theta, rotated);
  if (scaling !== undefined) throw unusable("config.json: rope_scaling is not supported beside rope_parameters");
  const own = fieldsOf("config.json: rope_parameters", all).raw(kind);
  return own === undefined
    ? scaledRope("rope_parameters", all, theta, rotated)
    : scaledRope(`rope_parameters.${kind}`, own, theta, rotated);
}

/** Positions for which there are angles: what the configuration says, or what a rope is stretched to. */
export function reachOf(maxPositions: number, ropes: Readonly<Record<string, Rope>>): number {
  return Math.max(maxPositions, ...Object.values(ropes).map(({ stretchedTo }) => stretchedTo ?? 0));
}

function scaledRope(name: string, value: unknown, usualTheta: number, { headSize, maxPositions }: Rotated): Rope {
  const fields = fieldsOf(`config.json: ${name}`, value);
  const type = fields.text("rope_type", fields.text("type", "default"));
  // YaRN tells frequencies apart, which are all the same at 1.
  const theta = fields.number("rope_theta", 1.001, 1e12, usualTheta);
  const frequencies = frequenciesOf(theta, headSize);
  if (type === "default") return { frequencies, attentionFactor: 1 };
  // It is in transformers' functions for all types, but no architecture here rotates a part of a head.
  fields.number("partial_rotary_factor", 1, 1, 1);
  switch (type) {
    case "linear": {
      const factor = fields.number("factor", 1e-3, 1e6);
      return { frequencies: frequencies.map((frequency) => frequency / factor), attentionFactor: 1 };
    }
    case "llama3":
      return { frequencies: llama3Frequencies(name, fields, frequencies, maxPositions), attentionFactor: 1 };
    case "yarn":
      return readYarn(name, fields, { theta, frequencies, maxPositions });
    // What `dynamic` makes of a text depends, in transformers, on the texts beside and before it.
    default:
      throw unusable(`config.json: ${name}: rope_type ${type.slice(0, 100)} is not supported`);
  }
}

function frequenciesOf(theta: number, headSize: number): number[] {
  return Array.from({ length: headSize / 2 }, (_, pair) => 1 / Math.fround(theta ** ((2 * pair) / headSize)));
}
