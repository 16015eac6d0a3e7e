import { type Fields, fieldsOf, unusable } from "../checkpoint.ts";

/** Rotary position embeddings (Su et al. 2021) as a configuration has them. */
export interface Rope {
  readonly theta: number;
  /** Positions are divided by it. */
  readonly factor: number;
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
 * each kind or is for all, else the fields of old. Throws `model_unavailable` for
 * what changes more than the frequencies alike (YaRN and others).
 */
export function readRope(config: Fields, kind: string, old: OldRope): Rope {
  const theta = config.number(old.theta, 1, 1e12, old.usual);
  const all = config.raw("rope_parameters");
  const scaling = config.raw("rope_scaling");
  if (all === undefined) return scaledRope("rope_scaling", old.scaled ? scaling : undefined, theta);
  if (scaling !== undefined) throw unusable("config.json: rope_scaling is not supported beside rope_parameters");
  const own = fieldsOf("config.json: rope_parameters", all).raw(kind);
  return own === undefined
    ? scaledRope("rope_parameters", all, theta)
    : scaledRope(`rope_parameters.${kind}`, own, theta);
}

function scaledRope(name: string, value: unknown, theta: number): Rope {
  if (value === undefined) return { theta, factor: 1 };
  const fields = fieldsOf(`config.json: ${name}`, value);
  const type = fields.text("rope_type", fields.text("type", "default"));
  const rope = { theta: fields.number("rope_theta", 1, 1e12, theta), factor: 1 };
  if (type === "default") return rope;
  if (type === "linear") return { ...rope, factor: fields.number("factor", 1e-3, 1e6) };
  throw unusable(`config.json: ${name}: rope_type ${type.slice(0, 100)} is not supported`);
}

/** Radians from one position to the next, for each pair of a head's numbers. */
export function frequenciesOf({ theta, factor }: Rope, headSize: number): number[] {
  return Array.from({ length: headSize / 2 }, (_, pair) => 1 / Math.fround(theta ** ((2 * pair) / headSize)) / factor);
}
