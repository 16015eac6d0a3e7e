import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type CompletionUsageSchema,
  type CreateChatCompletionRequest,
  type CreateCompletionRequest,
  FinishReason,
  type TimingsSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { GrammarDeadEnd, type ShownControls, type TokenEngine, type TokenLogprobs } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import { isOptional } from "./answer-grammar.ts";
import type { Generation, GenerationResult, GenerationTotals } from "./generation.ts";
import { checkHeldLogprobs, createTokenTrail, type TokenTrail } from "./logprobs.ts";
import { tokenizeInTurns } from "./loop-turns.ts";
import type { CallTotals, WorkerCall } from "./method.ts";
import { checkPromptFits, checkTextFits, checkTokenIds } from "./prompt-tokens.ts";
import {
  checkEnds,
  checkMinTokens,
  choiceSeed,
  goesOn,
  type SamplingContext,
  type SamplingDefaults,
  samplingOf,
} from "./sampling.ts";
import type { Scheduler } from "./scheduler.ts";
import { stopScanners } from "./stop-strings.ts";
import { type ChatShape, createStructureCompiler, grammarParam, hasForm } from "./structure.ts";
import { type ThinkingLimit, watchThinking } from "./thinking.ts";
import { type ChoiceTotals, timingsOf, totalsOf, usageOf } from "./totals.ts";

export interface GeneratorOptions {
  readonly engine: TokenEngine;
  readonly scheduler: Scheduler;
  /** Used where a request leaves the field out. */
  readonly defaults: SamplingDefaults;
  /** Tokens of one choice at most, whatever a request says. */
  readonly maxOutputTokens?: number | undefined;
}

/** What tokens are generated for. The fields that both have are read here, all others by their own service. */
export type GenerationRequest = CreateChatCompletionRequest | CreateCompletionRequest;

/**
 * Makes pieces of an answer of one choice's text. It gets the text as it comes,
 * whole characters, up to the stop string that ends it.
 */
export interface ChoiceOutput<Delta> {
  /** What is new with a text; nothing where it isn't certain yet. */
  push(text: string): Delta[];
  /** What is left when the text is complete, or `cut` short: not ended by the model. */
  end(cut: boolean): Delta[];
  /**
   * Takes the log-probabilities of the prompt's tokens but the first, in order,
   * before any text. Where it is there, and `topLogprobs`, they are computed.
   */
  pushPrompt?(logprobs: TokenLogprobs): void;
  /** Whether the last text was reasoning. */
  readonly thinking: boolean;
  /** Nothing more is wanted: the choice ends. */
  readonly satisfied: boolean;
  /** The control tokens that have to be seen: their names are part of the text then. */
  readonly controls: ShownControls;
}

/** A choice that has ended. */
export interface Choice<Output, Delta> extends ChoiceTotals {
  /** Its number in the answer, from 0: that of its prompt times the choices of each, and its own. */
  readonly index: number;
  readonly output: Output;
  /** What came after its last token. */
  readonly rest: readonly Delta[];
  readonly result: GenerationResult;
  /** The mean log-probability of its tokens, with `topLogprobs` or `ranked`; −∞ without tokens. */
  readonly meanLogprob: number;
}

/** What to generate, and who is told of it. */
export interface ChoicesOptions<Output, Delta> {
  /** At least one, none of them empty; {@link Generator.tokenize} makes them. */
  readonly prompts: readonly Uint32Array[];
  /** Choices for each prompt. */
  readonly choices: number;
  /** Tokens of one choice; what the context leaves where undefined or −1. */
  readonly maxTokens: number | undefined;
  /** Lists the log-probability of each token, beside this many of the likeliest; none where undefined. */
  readonly topLogprobs?: number | undefined;
  /** Whether {@link Choice.meanLogprob} is wanted where nothing is listed. */
  readonly ranked?: boolean;
  /** How long each choice may think; as long as it likes where undefined. */
  readonly thinking?: ThinkingLimit | undefined;
  /** Makes the output of the choice with this index. The trail is there with `topLogprobs`. */
  readonly output: (index: number, trail: TokenTrail | undefined) => Output;
  /** Takes what is new with each token of a choice, perhaps nothing. */
  readonly onDeltas?: (index: number, deltas: readonly Delta[], soFar: () => ChoiceTotals) => void;
  /** Takes how far the prompt of a choice is evaluated: see `Generation.onPrompt`. */
  readonly onPrompt?: (index: number, processed: number, soFar: GenerationTotals) => void;
  /** Takes each choice as it ends, in any order. */
  readonly onEnd?: (choice: Choice<Output, Delta>) => void;
}

/** All choices of a request. */
export interface Generated<Output, Delta> {
  /** By index. */
  readonly choices: readonly Choice<Output, Delta>[];
  readonly usage: MessageInitShape<typeof CompletionUsageSchema>;
  readonly timings: MessageInitShape<typeof TimingsSchema>;
  readonly totals: CallTotals;
}

/** A request whose fields are looked at: nothing of it can be refused any more. */
export interface PreparedGeneration {
  /** Generates all choices. One that fails fails all. */
  run<Output extends ChoiceOutput<Delta>, Delta>(
    options: ChoicesOptions<Output, Delta>,
    call: WorkerCall,
  ): Promise<Generated<Output, Delta>>;
}

/** What chat and completions share: from a prompt's tokens to the texts of its choices. */
export interface Generator {
  /** Throws `overloaded` where nothing of a tenant may wait: before its request is read. */
  checkRoom(tenant: string): void;
  /**
   * Token ids of a prompt; the texts of control tokens become those tokens.
   * Others have their turn while a long one is tokenized.
   * Throws `context_too_long` where it leaves no room for a token; `param` is the
   * field that it is made of.
   */
  tokenize(text: string, param: string, signal: AbortSignal): Promise<Uint32Array>;
  /**
   * Looks at the fields that all requests have. `shape` says what else than the
   * form that it asks for a chat's answer may be. Throws `invalid_request` and
   * `unsupported`, naming the field.
   */
  prepare(request: GenerationRequest, shape?: ChatShape): PreparedGeneration;
}

export function createGenerator({ engine, scheduler, defaults, maxOutputTokens }: GeneratorOptions): Generator {
  const { info, contextLength } = engine;
  const structures = createStructureCompiler();
  let endTokens: number[] | undefined;
  const samplingContext: SamplingContext = {
    defaults,
    contextLength,
    vocabularySize: info.vocabularySize,
    endTokens: () => {
      endTokens ??= Array.from({ length: info.vocabularySize }, (_, token) => token).filter((token) =>
        engine.isEndOfGeneration(token),
      );
      return endTokens;
    },
  };

  return {
    checkRoom: (tenant) => scheduler.checkRoom(tenant),
    async tokenize(text, param, signal) {
      checkTextFits(text, engine, param);
      const tokens = await tokenizeInTurns(engine, text, true, signal);
      checkPromptFits(tokens.length, contextLength, param);
      return tokens;
    },
    prepare(request, shape) {
      const wanted = samplingOf(request, samplingContext);
      checkTokenIds(request.stopTokenIds, info.vocabularySize, "stop_token_ids");
      checkMinTokens(request);
      // Text goes on where it may not end; a form and a call have an end.
      const isFree = shape?.calls !== undefined && isOptional(shape.calls) && !hasForm(request);
      const grammar = goesOn(request) && isFree ? undefined : structures.grammarOf(request, shape);
      if (grammar !== undefined) checkEnds(request);
      const minTokens = request.minTokens ?? 0;
      const sampling = { ...wanted, grammar, ...(minTokens > 0 && { logitBias: withoutEnds(wanted.logitBias) }) };

      function withoutEnds(logitBias: ReadonlyMap<number, number>): ReadonlyMap<number, number> {
        const ends = [...samplingContext.endTokens(), ...request.stopTokenIds];
        return new Map([...logitBias, ...ends.map((token) => [token, Number.NEGATIVE_INFINITY] as const)]);
      }

      return {
        async run<Output extends ChoiceOutput<Delta>, Delta>(options: ChoicesOptions<Output, Delta>, call: WorkerCall) {
          const cacheScope = cacheScopeOf(request, call);
          const stopTokens = new Set(request.stopTokenIds);
          const keepStop = request.includeStopStrInOutput === true;
          const nextScanner = stopScanners(request.stop, keepStop);
          const promptTokens = options.prompts.reduce((sum, prompt) => sum + prompt.length, 0);
          let completionTokens = 0;

          const { maxTokens = -1 } = options;
          const most = maxTokens === -1 ? contextLength : maxTokens;
          const choices: Choice<Output, Delta>[] = [];
          let heldLogprobs = 0;

          function hold({ top }: TokenLogprobs): void {
            // A stream's are sent.
            if (options.onDeltas !== undefined) return;
            heldLogprobs += 1 + top.length;
            const param = request.$typeName === "loqui.v1.CreateCompletionRequest" ? "logprobs" : "top_logprobs";
            checkHeldLogprobs(heldLogprobs, param, "stream it, or ask for fewer");
          }

          function generation(prompt: Uint32Array, index: number): Generation {
            const trail = options.topLogprobs === undefined ? undefined : createTokenTrail(engine);
            const output = options.output(index, trail);
            const decoder = engine.createTextDecoder(request.skipSpecialTokens === false || output.controls);
            const scanner = nextScanner();
            const thinking = options.thinking === undefined ? undefined : watchThinking(options.thinking, engine);
            let reasoningTokens = 0;
            const sum = { logprob: 0, tokens: 0 };
            let tokens = 0;
            let mayEnd = minTokens === 0;
            return {
              prompt,
              sampling: { ...sampling, seed: choiceSeed(request.seed, index % options.choices) },
              maxTokens: Math.min(most, maxOutputTokens ?? contextLength),
              tenant: call.tenant,
              priority: request.priority,
              cacheScope,
              ignoreEos: request.ignoreEos ?? false,
              topLogprobs: options.topLogprobs ?? (options.ranked === true ? 0 : undefined),
              ...(output.pushPrompt !== undefined && { onPromptLogprobs: (logprobs) => output.pushPrompt?.(logprobs) }),
              ...(options.onPrompt !== undefined && {
                onPrompt: (processed, soFar) => options.onPrompt?.(index, processed, soFar),
              }),
              onToken(token, logprobs, soFar) {
                completionTokens += 1;
                call.progress({ promptTokens, completionTokens });
                const stopped = stopTokens.has(token);
                if (stopped && !keepStop) return "stop";
                const text = decoder.push(token);
                trail?.push(token, logprobs, text);
                if (logprobs !== undefined) {
                  sum.logprob += logprobs.logprob;
                  sum.tokens += 1;
                  if (trail !== undefined) hold(logprobs);
                }
                tokens += 1;
                const deltas = output.push(mayEnd ? scanner.push(text) : text);
                if (output.thinking) reasoningTokens += 1;
                options.onDeltas?.(index, deltas, () => ({ result: soFar(), reasoningTokens }));
                if (stopped || scanner.matched !== undefined || output.satisfied) return "stop";
                const force = thinking?.push(token);
                if (force !== undefined) return { force };
                if (mayEnd || tokens < minTokens) return "continue";
                mayEnd = true;
                return { logitBias: wanted.logitBias };
              },
              onEnd(result) {
                call.progress({ promptTokens, completionTokens });
                const flushed = decoder.flush();
                trail?.end(flushed);
                const rest = [
                  ...output.push(scanner.push(flushed) + scanner.flush()),
                  ...output.end(result.reason !== "eos"),
                ];
                const meanLogprob = sum.tokens === 0 ? Number.NEGATIVE_INFINITY : sum.logprob / sum.tokens;
                const choice = { index, output, rest, result, reasoningTokens, meanLogprob };
                choices[index] = choice;
                options.onEnd?.(choice);
              },
            };
          }

          const prompts = options.prompts.flatMap((prompt) => new Array<Uint32Array>(options.choices).fill(prompt));
          try {
            await scheduler.runAll(prompts.map(generation), call.signal);
          } catch (error) {
            if (!(error instanceof GrammarDeadEnd)) throw error;
            const param = grammarParam(request);
            throw new LoquiError("invalid_request", `${param}: ${error.message}`, { param });
          }
          return {
            choices,
            usage: usageOf(choices, options.choices),
            timings: timingsOf(choices, options.choices),
            totals: totalsOf(choices, options.choices),
          };
        },
      };
    },
  };
}

/** Why a choice ended, by the scheduler's reason. */
export const finishReasons = {
  eos: FinishReason.STOP,
  stopped: FinishReason.STOP,
  length: FinishReason.LENGTH,
} as const satisfies Record<GenerationResult["reason"], FinishReason>;

/** A request that doesn't want its prompt's prefix reused gets a scope that nobody else has. */
function cacheScopeOf(request: GenerationRequest, call: WorkerCall): string {
  return request.cachePrompt === false ? randomUUID() : JSON.stringify([call.tenant, request.cacheSalt ?? ""]);
}
