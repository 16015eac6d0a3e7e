import { type Fields, unusable } from "../checkpoint.ts";
import { bounds } from "./encoder.ts";

/** Rotary position embeddings (Su et al. 2021), ready to be computed with. */
export interface Rope {
  /** Radians from one position to the next, for each pair of a head's numbers. */
  readonly frequencies: readonly number[];
  /** What cosines and sines are multiplied with. */
  readonly attentionFactor: number;
  /** Positions that it was stretched to; absent where the configuration's own number counts. */
  readonly stretchedTo?: number;
}

/**
 * The frequencies of Llama 3.1 (transformers, modeling_rope_utils.py,
 * `_compute_llama3_parameters`): those that turn less than `low_freq_factor` times
 * within the original positions are divided by `factor`, those that turn more
 * than `high_freq_factor` times stay, and between there is a ramp.
 */
export function llama3Frequencies(
  name: string,
  fields: Fields,
  frequencies: readonly number[],
  maxPositions: number,
): number[] {
  const original = originalPositions(fields, maxPositions);
  const factor = fields.number("factor", 1, 1e6);
  const low = fields.number("low_freq_factor", 1e-6, 1e6);
  const high = fields.number("high_freq_factor", 1e-6, 1e6);
  if (high <= low) throw unusable(`config.json: ${name}: high_freq_factor ${high} is not above low_freq_factor ${low}`);
  return frequencies.map((frequency) => {
    const turns = (original * frequency) / (2 * Math.PI);
    const kept = clamp((turns - low) / (high - low));
    return kept * frequency + ((1 - kept) * frequency) / factor;
  });
}

/** What YaRN changes. */
export interface Unstretched {
  readonly theta: number;
  readonly frequencies: readonly number[];
  readonly maxPositions: number;
}

/**
 * YaRN (Peng et al. 2023; transformers, modeling_rope_utils.py,
 * `_compute_yarn_parameters`): frequencies that turn more than `beta_fast` times
 * within the original positions stay, those that turn less than `beta_slow` times
 * are divided by `factor`, and between there is a ramp over the pairs, which begins
 * and ends at whole ones unless `truncate` is false. Cosines and sines grow with
 * the logarithm of `factor`.
 */
export function readYarn(name: string, fields: Fields, { theta, frequencies, maxPositions }: Unstretched): Rope {
  const original = originalPositions(fields, maxPositions);
  const known = fields.raw("original_max_position_embeddings") !== undefined;
  const factor = fields.number("factor", 1, 1e6, known ? maxPositions / original : undefined);
  // As in transformers 0 counts as absent.
  const fast = fields.number("beta_fast", 0, 1e6, 32) || 32;
  const slow = fields.number("beta_slow", 0, 1e6, 1) || 1;
  if (fast < slow) throw unusable(`config.json: ${name}: beta_fast ${fast} is below beta_slow ${slow}`);
  const size = 2 * frequencies.length;
  const pairWithTurns = (turns: number) => (size * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const whole = fields.flag("truncate", true);
  const first = Math.max(whole ? Math.floor(pairWithTurns(fast)) : pairWithTurns(fast), 0);
  const last = Math.min(whole ? Math.ceil(pairWithTurns(slow)) : pairWithTurns(slow), size - 1);
  // Where both are one pair, those after it are divided.
  const width = first === last ? 1e-3 : last - first;
  return {
    frequencies: frequencies.map((frequency, pair) => {
      const divided = clamp((pair - first) / width);
      return (frequency / factor) * divided + frequency * (1 - divided);
    }),
    attentionFactor: fields.number("attention_factor", 0, 1e6, attentionFactorOf(fields, factor)),
    stretchedTo: Math.min(Math.floor(factor * original), bounds.positions),
  };
}

function attentionFactorOf(fields: Fields, factor: number): number {
  const grown = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const scale = fields.number("mscale", 0, 1e6, 0);
  const scaleOfAll = fields.number("mscale_all_dim", 0, 1e6, 0);
  return scale > 0 && scaleOfAll > 0 ? grown(scale) / grown(scaleOfAll) : grown(1);
}

/** Positions that the model was trained with at first. */
function originalPositions(fields: Fields, maxPositions: number): number {
  return fields.whole("original_max_position_embeddings", 1, bounds.positions, maxPositions);
}

function clamp(share: number): number {
  return Math.min(Math.max(share, 0), 1);
}
