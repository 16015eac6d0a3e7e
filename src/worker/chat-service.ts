import { randomUUID } from "node:crypto";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ChatCompletionChunkSchema,
  ChatRole,
  ChatService,
  type CompletionUsageSchema,
  type CreateChatCompletionRequest,
  CreateChatCompletionRequestSchema,
  CreateChatCompletionResponseSchema,
  FinishReason,
  type TimingsSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import type { TokenEngine } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import { allowedTools, type ChatAnswer, createChatAnswer, offeredTools } from "./chat-answer.ts";
import { parseJson, templateMessages, templateTools } from "./chat-messages.ts";
import { outputFormatOf } from "./chat-output/parser.ts";
import { checkBans, type SamplingDefaults, samplingOf } from "./chat-sampling.ts";
import { createStructureCompiler } from "./chat-structure.ts";
import { compileChatTemplate } from "./chat-template.ts";
import { refuseUnsupported } from "./chat-unsupported.ts";
import type { CallResult, WorkerCall, WorkerMethods } from "./method.ts";
import { checkPromptFits, type GenerationResult, type Scheduler } from "./scheduler.ts";
import { createStopScanner } from "./stop-strings.ts";

export interface ChatServiceOptions {
  readonly engine: TokenEngine;
  readonly scheduler: Scheduler;
  /** Used where a request leaves the field out. */
  readonly defaults: SamplingDefaults;
  /** Tokens of one answer at most, whatever a request says. */
  readonly maxOutputTokens?: number | undefined;
  /** Jinja, instead of the model's own. */
  readonly chatTemplate?: string | undefined;
  /** Names the configuration that answers, for `system_fingerprint`. */
  readonly fingerprint: string;
}

/** A request that is ready for the scheduler. */
interface Prepared {
  readonly request: CreateChatCompletionRequest;
  /** Runs it. `onDeltas` takes what is new with each token, perhaps nothing; `rest` is what comes after the last. */
  run(onDeltas: (deltas: readonly Delta[]) => void): Promise<Generated>;
}

type Delta = ReturnType<ChatAnswer["push"]>[number];

interface Generated {
  readonly result: GenerationResult;
  readonly answer: ChatAnswer;
  readonly rest: readonly Delta[];
  readonly reasoningTokens: number;
}

/**
 * ChatService on a token engine: the request's messages through the model's
 * template to tokens, the tokens through the scheduler to text, the text up to
 * the stop strings to response messages.
 */
export function createChatMethods(options: ChatServiceOptions): WorkerMethods {
  const { engine, scheduler, defaults } = options;
  const { info, contextLength } = engine;
  const chatTemplate = options.chatTemplate ?? info.chatTemplate;
  const template = compileChatTemplate({ ...info, chatTemplate });
  const format = outputFormatOf(chatTemplate ?? "");
  const structures = createStructureCompiler();
  let endTokens: number[] | undefined;
  const samplingContext = {
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

  function promptOf(request: CreateChatCompletionRequest): { text: string; tokens: Uint32Array } {
    const kwargs =
      request.chatTemplateKwargs === undefined ? {} : parseJson(request.chatTemplateKwargs, "chat_template_kwargs");
    if (typeof kwargs !== "object" || kwargs === null || Array.isArray(kwargs)) {
      const param = "chat_template_kwargs";
      throw new LoquiError("invalid_request", `${param} is not a JSON object`, { param });
    }
    const text = template.render({
      messages: templateMessages(request.messages, template),
      tools: templateTools(allowedTools(request)),
      addGenerationPrompt: request.addGenerationPrompt ?? true,
      kwargs: { ...template.reasoningVariables(request.reasoningEffort), ...kwargs },
    });
    // Tokenizing takes the event loop: what can't fit is not worth it.
    const leastTokens = Math.ceil(Buffer.byteLength(text) / info.longestTokenBytes);
    checkPromptFits(leastTokens, contextLength, "messages");
    const tokens = engine.tokenize(text, true);
    checkPromptFits(tokens.length, contextLength, "messages");
    return { text, tokens };
  }

  function prepare(bytes: Uint8Array, call: WorkerCall): Prepared {
    scheduler.checkRoom(call.tenant);
    const request = fromBinary(CreateChatCompletionRequestSchema, bytes);
    refuseUnsupported(request);
    const tools = offeredTools(request);
    if (tools !== undefined && !template.showsTools) {
      throw new LoquiError("unsupported", "`tools` are not supported by this model: its template doesn't show them", {
        param: "tools",
      });
    }
    const grammar = structures.grammarOf(request);
    if (grammar !== undefined && tools !== undefined) {
      throw new LoquiError("unsupported", "`tools` beside a form of the answer are not supported yet by this model", {
        param: "tools",
      });
    }
    const sampling = { ...samplingOf(request, samplingContext), grammar };
    if (grammar !== undefined) checkBans(request, sampling);
    checkStopTokens(request.stopTokenIds);
    const prompt = promptOf(request);
    return {
      request,
      async run(onDeltas) {
        const plain = grammar !== undefined;
        const answer = createChatAnswer({ request, format, prompt: prompt.text, tools, plain });
        const decoder = engine.createTextDecoder(answer.parsed);
        const scanner = createStopScanner(request.stop);
        const stopTokens = new Set(request.stopTokenIds);
        let reasoningTokens = 0;
        let begun = false;
        const result = await scheduler.run(
          {
            prompt: prompt.tokens,
            sampling,
            maxTokens: Math.min(
              request.maxCompletionTokens ?? request.maxTokens ?? defaults.maxTokens ?? contextLength,
              options.maxOutputTokens ?? contextLength,
            ),
            tenant: call.tenant,
            cacheScope: cacheScope(request, call),
            ignoreEos: request.ignoreEos ?? false,
            onToken(token) {
              if (!begun) call.begun({ promptTokens: prompt.tokens.length });
              begun = true;
              if (stopTokens.has(token)) return false;
              onDeltas(answer.push(scanner.push(decoder.push(token))));
              if (answer.thinking) reasoningTokens += 1;
              return scanner.matched === undefined && !answer.satisfied;
            },
          },
          call.signal,
        );
        const rest = [...answer.push(scanner.push(decoder.flush()) + scanner.flush()), ...answer.end()];
        return { result, answer, rest, reasoningTokens };
      },
    };
  }

  function checkStopTokens(tokens: readonly number[]): void {
    const strange = tokens.findIndex((token) => token >= info.vocabularySize);
    if (strange === -1) return;
    const param = `stop_token_ids[${strange}]`;
    const message = `${param}: ${tokens[strange]} is not in the vocabulary of ${info.vocabularySize} tokens`;
    throw new LoquiError("invalid_request", message, { param });
  }

  async function createChatCompletion(bytes: Uint8Array, call: WorkerCall): Promise<CallResult> {
    const { request, run } = prepare(bytes, call);
    const generated = await run(() => {});
    const { result, answer } = generated;
    const response = create(CreateChatCompletionResponseSchema, {
      ...answerOf(request, "chat.completion"),
      choices: [{ index: 0, message: answer.message, finishReason: finishReasonOf(generated) }],
      usage: usageOf(generated),
      timings: timingsOf(result),
    });
    return { last: [toBinary(CreateChatCompletionResponseSchema, response)], totals: result };
  }

  async function streamChatCompletion(bytes: Uint8Array, call: WorkerCall): Promise<CallResult> {
    const { request, run } = prepare(bytes, call);
    const encode = chunkEncoder(answerOf(request, "chat.completion.chunk"));
    const opening = encode({ choices: [{ index: 0, delta: { role: ChatRole.ASSISTANT, content: "" } }] });
    const chunks = (deltas: readonly Delta[]) => deltas.map((delta) => encode({ choices: [{ index: 0, delta }] }));

    // The answer opens with its first token, so that what goes wrong before is an error of the call.
    let opened = false;
    const generated = await run((deltas) => {
      if (opened && deltas.length === 0) return;
      call.send(...(opened ? [] : [opening]), ...chunks(deltas));
      opened = true;
    });
    const { result, rest } = generated;
    const choices = [{ index: 0, delta: {}, finishReason: finishReasonOf(generated) }];
    const timings = timingsOf(result);
    const end =
      request.streamOptions?.includeUsage === true
        ? [encode({ choices }), encode({ choices: [], usage: usageOf(generated), timings })]
        : [encode({ choices, timings })];
    return { last: [...(opened ? [] : [opening]), ...chunks(rest), ...end], totals: result };
  }

  /** What all messages of one answer have in common. */
  function answerOf(request: CreateChatCompletionRequest, object: string) {
    return {
      id: `chatcmpl-${randomUUID().replaceAll("-", "")}`,
      object,
      created: Math.floor(Date.now() / 1000),
      model: request.model,
      systemFingerprint: options.fingerprint,
    };
  }

  return new Map([
    [methodName(ChatService.method.createChatCompletion), createChatCompletion],
    [methodName(ChatService.method.streamChatCompletion), streamChatCompletion],
  ]);
}

/**
 * Encodes the chunks of an answer. What they have in common is encoded once: in
 * Protobuf the bytes of two parts, one behind the other, are the whole.
 */
function chunkEncoder(
  common: MessageInitShape<typeof ChatCompletionChunkSchema>,
): (rest: MessageInitShape<typeof ChatCompletionChunkSchema>) => Uint8Array {
  const encode = (part: MessageInitShape<typeof ChatCompletionChunkSchema>) =>
    toBinary(ChatCompletionChunkSchema, create(ChatCompletionChunkSchema, part));
  const head = encode(common);
  return (rest) => Buffer.concat([head, encode(rest)]);
}

/** An answer that was cut short is that, whatever it began. */
function finishReasonOf({ result, answer }: Generated): FinishReason {
  return answer.called && result.reason !== "length" ? FinishReason.TOOL_CALLS : finishReasons[result.reason];
}

const finishReasons = {
  eos: FinishReason.STOP,
  stopped: FinishReason.STOP,
  length: FinishReason.LENGTH,
} as const satisfies Record<GenerationResult["reason"], FinishReason>;

/** A request that doesn't want its prompt's prefix reused gets a scope that nobody else has. */
function cacheScope(request: CreateChatCompletionRequest, call: WorkerCall): string {
  return request.cachePrompt === false ? randomUUID() : JSON.stringify([call.tenant, request.cacheSalt ?? ""]);
}

function usageOf({ result, reasoningTokens }: Generated): MessageInitShape<typeof CompletionUsageSchema> {
  return {
    promptTokens: result.promptTokens,
    completionTokens: result.completionTokens,
    totalTokens: result.promptTokens + result.completionTokens,
    promptTokensDetails: { cachedTokens: result.cachedTokens },
    ...(reasoningTokens > 0 && { completionTokensDetails: { reasoningTokens } }),
  };
}

function timingsOf(result: GenerationResult): MessageInitShape<typeof TimingsSchema> {
  const promptN = result.promptTokens - result.cachedTokens;
  const predictedN = result.completionTokens;
  return {
    cacheN: result.cachedTokens,
    promptN,
    promptMs: result.promptMs,
    promptPerTokenMs: ratio(result.promptMs, promptN),
    promptPerSecond: ratio(promptN * 1000, result.promptMs),
    predictedN,
    predictedMs: result.generationMs,
    predictedPerTokenMs: ratio(result.generationMs, predictedN),
    predictedPerSecond: ratio(predictedN * 1000, result.generationMs),
  };
}

/** JSON has no infinities: what nothing was divided by is 0. */
function ratio(value: number, by: number): number {
  return by === 0 ? 0 : value / by;
}
