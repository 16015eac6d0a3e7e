import { randomUUID } from "node:crypto";
import { create, type DescMethod, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
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
import { parseJson, templateMessages, templateTools } from "./chat-messages.ts";
import { type SamplingDefaults, samplingOf } from "./chat-sampling.ts";
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
  /** Runs it. `onText` takes the text that is certain with each token, perhaps none; `rest` is what comes after the last. */
  run(onText: (text: string) => void, call: WorkerCall): Promise<{ result: GenerationResult; rest: string }>;
}

/**
 * ChatService on a token engine: the request's messages through the model's
 * template to tokens, the tokens through the scheduler to text, the text up to
 * the stop strings to response messages.
 */
export function createChatMethods(options: ChatServiceOptions): WorkerMethods {
  const { engine, scheduler, defaults } = options;
  const { info, contextLength } = engine;
  const template = compileChatTemplate({ ...info, chatTemplate: options.chatTemplate ?? info.chatTemplate });
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

  function promptOf(request: CreateChatCompletionRequest): Uint32Array {
    const kwargs =
      request.chatTemplateKwargs === undefined ? {} : parseJson(request.chatTemplateKwargs, "chat_template_kwargs");
    if (typeof kwargs !== "object" || kwargs === null || Array.isArray(kwargs)) {
      const param = "chat_template_kwargs";
      throw new LoquiError("invalid_request", `${param} is not a JSON object`, { param });
    }
    const text = template.render({
      messages: templateMessages(request.messages, template),
      tools: templateTools(request.tools),
      addGenerationPrompt: request.addGenerationPrompt ?? true,
      kwargs: kwargs as Record<string, unknown>,
    });
    const prompt = engine.tokenize(text, true);
    checkPromptFits(prompt.length, contextLength, "messages");
    return prompt;
  }

  function prepare(bytes: Uint8Array): Prepared {
    const request = fromBinary(CreateChatCompletionRequestSchema, bytes);
    refuseUnsupported(request);
    const sampling = samplingOf(request, samplingContext);
    const strange = request.stopTokenIds.findIndex((token) => token >= info.vocabularySize);
    if (strange !== -1) {
      const param = `stop_token_ids[${strange}]`;
      const message = `${param}: ${request.stopTokenIds[strange]} is not in the vocabulary of ${info.vocabularySize} tokens`;
      throw new LoquiError("invalid_request", message, { param });
    }
    const prompt = promptOf(request);
    return {
      request,
      async run(onText, call) {
        const decoder = engine.createTextDecoder();
        const scanner = createStopScanner(request.stop);
        const stopTokens = new Set(request.stopTokenIds);
        const result = await scheduler.run(
          {
            prompt,
            sampling,
            maxTokens: Math.min(
              request.maxCompletionTokens ?? request.maxTokens ?? defaults.maxTokens ?? contextLength,
              options.maxOutputTokens ?? contextLength,
            ),
            tenant: call.tenant,
            cacheScope: cacheScope(request, call),
            ignoreEos: request.ignoreEos ?? false,
            onToken(token) {
              if (stopTokens.has(token)) return false;
              onText(scanner.push(decoder.push(token)));
              return scanner.matched === undefined;
            },
          },
          call.signal,
        );
        return { result, rest: scanner.push(decoder.flush()) + scanner.flush() };
      },
    };
  }

  async function createChatCompletion(bytes: Uint8Array, call: WorkerCall): Promise<CallResult> {
    const { request, run } = prepare(bytes);
    let content = "";
    const { result, rest } = await run((text) => {
      content += text;
    }, call);
    content += rest;
    const finishReason = finishReasons[result.reason];
    const response = create(CreateChatCompletionResponseSchema, {
      ...answerOf(request, "chat.completion"),
      choices: [{ index: 0, message: { role: ChatRole.ASSISTANT, content }, finishReason }],
      usage: usageOf(result),
      timings: timingsOf(result),
    });
    return { last: [toBinary(CreateChatCompletionResponseSchema, response)], totals: result };
  }

  async function streamChatCompletion(bytes: Uint8Array, call: WorkerCall): Promise<CallResult> {
    const { request, run } = prepare(bytes);
    const encode = chunkEncoder(answerOf(request, "chat.completion.chunk"));
    const opening = encode({ choices: [{ index: 0, delta: { role: ChatRole.ASSISTANT, content: "" } }] });
    const piece = (content: string) =>
      content === "" ? [] : [encode({ choices: [{ index: 0, delta: { content } }] })];

    // The answer opens with its first token, so that what goes wrong before is an error of the call.
    let opened = false;
    const { result, rest } = await run((text) => {
      if (opened && text === "") return;
      call.send(...(opened ? [] : [opening]), ...piece(text));
      opened = true;
    }, call);
    const choices = [{ index: 0, delta: {}, finishReason: finishReasons[result.reason] }];
    const timings = timingsOf(result);
    const end =
      request.streamOptions?.includeUsage === true
        ? [encode({ choices }), encode({ choices: [], usage: usageOf(result), timings })]
        : [encode({ choices, timings })];
    return { last: [...(opened ? [] : [opening]), ...piece(rest), ...end], totals: result };
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

const finishReasons = {
  eos: FinishReason.STOP,
  stopped: FinishReason.STOP,
  length: FinishReason.LENGTH,
} as const satisfies Record<GenerationResult["reason"], FinishReason>;

/** A request that doesn't want its prompt's prefix reused gets a scope that nobody else has. */
function cacheScope(request: CreateChatCompletionRequest, call: WorkerCall): string {
  return request.cachePrompt === false ? randomUUID() : JSON.stringify([call.tenant, request.cacheSalt ?? ""]);
}

function usageOf(result: GenerationResult): MessageInitShape<typeof CompletionUsageSchema> {
  return {
    promptTokens: result.promptTokens,
    completionTokens: result.completionTokens,
    totalTokens: result.promptTokens + result.completionTokens,
    promptTokensDetails: { cachedTokens: result.cachedTokens },
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

function methodName(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
