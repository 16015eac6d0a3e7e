import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CompletionUsageSchema, TimingsSchema } from "../../gen/loqui/v1/chat_pb.ts";
import type { GenerationTotals } from "./generation.ts";
import type { CallTotals } from "./method.ts";

/** What a choice took, to its end or so far. */
export interface ChoiceTotals {
  readonly result: GenerationTotals;
  readonly reasoningTokens: number;
}

/**
 * What the choices of a request took together, by their indexes; each prompt has
 * `perPrompt` of them. A prompt counts once, as its first choice found it: the
 * others have what that one evaluated. Times go from the first to happen to the
 * last: the choices of a request are generated side by side.
 */
export function totalsOf(choices: readonly ChoiceTotals[], perPrompt: number): CallTotals {
  const results = choices.map(({ result }) => result);
  const prompts = results.filter((_, index) => index % perPrompt === 0);
  const firstTokenMs = Math.min(...results.map((result) => result.firstTokenMs));
  const endMs = Math.max(...results.map((result) => result.firstTokenMs + result.generationMs));
  return {
    promptTokens: sum(prompts.map((result) => result.promptTokens)),
    cachedTokens: sum(prompts.map((result) => result.cachedTokens)),
    completionTokens: sum(results.map((result) => result.completionTokens)),
    queueMs: Math.min(...results.map((result) => result.queueMs)),
    firstTokenMs,
    generationMs: endMs - firstTokenMs,
  };
}

export function usageOf(
  choices: readonly ChoiceTotals[],
  perPrompt: number,
): MessageInitShape<typeof CompletionUsageSchema> {
  const { promptTokens, cachedTokens, completionTokens } = totalsOf(choices, perPrompt);
  const reasoningTokens = sum(choices.map((choice) => choice.reasoningTokens));
  return {
    promptTokens,
    completionTokens,
    totalTokens: promptTokens + completionTokens,
    promptTokensDetails: { cachedTokens },
    ...(reasoningTokens > 0 && { completionTokensDetails: { reasoningTokens } }),
  };
}

export function timingsOf(choices: readonly ChoiceTotals[], perPrompt: number): MessageInitShape<typeof TimingsSchema> {
  const { promptTokens, cachedTokens, completionTokens, generationMs } = totalsOf(choices, perPrompt);
  const promptMs = sum(choices.filter((_, index) => index % perPrompt === 0).map(({ result }) => result.promptMs));
  const promptN = promptTokens - cachedTokens;
  return {
    cacheN: cachedTokens,
    promptN,
    promptMs,
    promptPerTokenMs: ratio(promptMs, promptN),
    promptPerSecond: ratio(promptN * 1000, promptMs),
    predictedN: completionTokens,
    predictedMs: generationMs,
    predictedPerTokenMs: ratio(generationMs, completionTokens),
    predictedPerSecond: ratio(completionTokens * 1000, generationMs),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** JSON has no infinities: what nothing was divided by is 0. */
function ratio(value: number, by: number): number {
  return by === 0 ? 0 : value / by;
}

/** What a call took that only read texts; it arrived at `arrivedAt` and has its answer now. */
export function readTotals(promptTokens: number, queueMs: number, arrivedAt: number): CallTotals {
  return {
    promptTokens,
    cachedTokens: 0,
    completionTokens: 0,
    queueMs,
    firstTokenMs: performance.now() - arrivedAt,
    generationMs: 0,
  };
}
