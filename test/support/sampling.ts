import type { Sampling } from "../../src/engines/token-engine.ts";

/** Draws the likeliest token and changes no logits. */
export const greedy: Sampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: 0,
  repeatPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  penaltyWindow: 0,
  logitBias: new Map(),
};
