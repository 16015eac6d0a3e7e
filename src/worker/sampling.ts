import type { DrySampling, Sampling, XtcSampling } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import type { GenerationRequest } from "./generator.ts";

/** What a model's configuration says where a request says nothing, in the request's units. */
export interface SamplingDefaults {
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  readonly topK?: number | undefined;
  readonly minP?: number | undefined;
  readonly repeatPenalty?: number | undefined;
  readonly frequencyPenalty?: number | undefined;
  readonly presencePenalty?: number | undefined;
  readonly maxTokens?: number | undefined;
}

/** What the sampler's settings depend on beside the request. */
export interface SamplingContext {
  readonly defaults: SamplingDefaults;
  readonly contextLength: number;
  readonly vocabularySize: number;
  /** The tokens that end a generation. */
  readonly endTokens: () => readonly number[];
}

/**
 * The request's sampling: its own values, else the model's, else temperature 1
 * and top_p 1 as OpenAI's, top_k 40, min_p 0.05 and a window of 64 tokens as
 * llama-server's. `ignore_eos` bans the tokens that end a generation. Throws
 * `invalid_request` for a bias on a token that the vocabulary lacks.
 */
export function samplingOf(request: GenerationRequest, context: SamplingContext): Sampling {
  const { defaults } = context;
  return {
    temperature: request.temperature ?? defaults.temperature ?? 1,
    topK: Math.max(request.topK ?? defaults.topK ?? 40, 0),
    topP: request.topP ?? defaults.topP ?? 1,
    minP: request.minP ?? defaults.minP ?? 0.05,
    seed: choiceSeed(request.seed, 0),
    repeatPenalty: request.repeatPenalty ?? defaults.repeatPenalty ?? 1,
    frequencyPenalty: request.frequencyPenalty ?? defaults.frequencyPenalty ?? 0,
    presencePenalty: request.presencePenalty ?? defaults.presencePenalty ?? 0,
    penaltyWindow: windowOf(request.repeatLastN ?? 64, context),
    logitBias: biasOf(request, context),
    xtc: xtcOf(request),
    dry: dryOf(request, context),
  };
}

/** A number of past tokens; −1 is the whole context. */
function windowOf(tokens: number, { contextLength }: SamplingContext): number {
  return tokens === -1 ? contextLength : Math.min(tokens, contextLength);
}

function xtcOf({
  xtcProbability: probability = 0,
  xtcThreshold: threshold = 0.1,
}: GenerationRequest): XtcSampling | undefined {
  return probability > 0 ? { probability, threshold } : undefined;
}

function dryOf(request: GenerationRequest, context: SamplingContext): DrySampling | undefined {
  const multiplier = request.dryMultiplier ?? 0;
  const window = windowOf(request.dryPenaltyLastN ?? -1, context);
  if (multiplier === 0 || window === 0) return undefined;
  return {
    multiplier,
    base: request.dryBase ?? 1.75,
    allowedLength: request.dryAllowedLength ?? 2,
    window,
    breakers: request.drySequenceBreakers.length > 0 ? request.drySequenceBreakers : dryBreakers,
  };
}

/** llama-server's. */
const dryBreakers = ["\n", ":", '"', "*"];

/** The seed of a request's choice: the request's own and the choice's number, or a random one. */
export function choiceSeed(seed: bigint | undefined, choice: number): number {
  if (seed === undefined || seed === -1n) return Math.floor(Math.random() * 2 ** 48);
  return Number(BigInt.asUintN(53, seed + BigInt(choice)));
}

/** Whether a request says that an answer can't end where the model would end it. */
export function goesOn(request: GenerationRequest): boolean {
  return request.ignoreEos === true || (request.minTokens ?? 0) > 0;
}

/** Throws `unsupported` for what would make an answer go on where its form ends. */
export function checkEnds(request: GenerationRequest): void {
  if (!goesOn(request)) return;
  const param = request.ignoreEos === true ? "ignore_eos" : "min_tokens";
  throw new LoquiError("unsupported", `${param}: an answer of a given form ends where the form does`, { param });
}

/** Throws `invalid_request` for more tokens at least than there are at most. */
export function checkMinTokens(request: GenerationRequest): void {
  const chat = request.$typeName === "loqui.v1.CreateChatCompletionRequest";
  const most = (chat ? request.maxCompletionTokens : undefined) ?? request.maxTokens;
  const { minTokens = 0 } = request;
  // −1 is what the context leaves.
  if (minTokens === 0 || most === undefined || most < 0 || minTokens <= most) return;
  const param = "min_tokens";
  throw new LoquiError("invalid_request", `${param}: ${minTokens} is above the ${most} tokens at most`, { param });
}

function biasOf(request: GenerationRequest, context: SamplingContext): Map<number, number> {
  const bias = new Map<number, number>();
  for (const [key, value] of Object.entries(request.logitBias)) {
    const token = Number(key);
    if (token >= context.vocabularySize) {
      const message = `logit_bias: token ${key} is not in the vocabulary of ${context.vocabularySize} tokens`;
      throw new LoquiError("invalid_request", message, { param: "logit_bias" });
    }
    bias.set(token, value === -100 ? Number.NEGATIVE_INFINITY : value);
  }
  if (request.ignoreEos === true) {
    for (const token of context.endTokens()) bias.set(token, Number.NEGATIVE_INFINITY);
  }
  if (bias.size >= context.vocabularySize && [...bias.values()].every((value) => value === Number.NEGATIVE_INFINITY)) {
    throw new LoquiError("invalid_request", "logit_bias bans every token of the vocabulary", { param: "logit_bias" });
  }
  return bias;
}
