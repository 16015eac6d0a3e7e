import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ChatCompletionChunkSchema,
  ChatRole,
  ChatService,
  type CreateChatCompletionRequest,
  CreateChatCompletionRequestSchema,
  CreateChatCompletionResponseSchema,
  type FinishReason,
} from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import { answerHead } from "./answer-head.ts";
import { type ChatAnswer, type ChatPiece, createChatAnswer, joinPieces, separatingFormat } from "./chat-answer.ts";
import { messageStart } from "./chat-output/harmony.ts";
import type { ChatPrompts } from "./chat-prompt.ts";
import { offeredCalls, offeredTools, withFunctionsAsTools } from "./chat-tools.ts";
import { type ChunkForms, chunkEncoder, streamChoices } from "./choice-stream.ts";
import {
  type Choice,
  type ChoicesOptions,
  finishReasons,
  type Generator,
  type PreparedGeneration,
} from "./generator.ts";
import type { CallResult, WorkerCall, WorkerMethods } from "./method.ts";
import type { SamplingDefaults } from "./sampling.ts";
import { hasForm } from "./structure.ts";
import { cutReasoning, reasoningOf, thinkingLimit } from "./thinking.ts";
import { refuseUnsupported } from "./unsupported.ts";

export interface ChatServiceOptions {
  readonly generator: Generator;
  readonly prompts: ChatPrompts;
  /** Used where a request leaves the field out. */
  readonly defaults: SamplingDefaults;
  /** Names the configuration that answers, for `system_fingerprint`. */
  readonly fingerprint: string;
}

/** A request that is ready to be generated. */
interface Prepared {
  readonly request: CreateChatCompletionRequest;
  readonly generation: PreparedGeneration;
  readonly options: ChoicesOptions<ChatAnswer, ChatPiece>;
}

/**
 * Chat completion: the request's messages through the model's template to a
 * prompt, the text of each choice to response messages. What lies between is the
 * generator's.
 */
export function createChatMethods({ generator, prompts, defaults, fingerprint }: ChatServiceOptions): WorkerMethods {
  const { format } = prompts;

  async function prepare(bytes: Uint8Array, call: WorkerCall, streamed: boolean): Promise<Prepared> {
    generator.checkRoom(call.tenant);
    const sent = fromBinary(CreateChatCompletionRequestSchema, bytes);
    refuseUnsupported(sent);
    const request = withFunctionsAsTools(sent);
    const tools = offeredTools(request);
    const parallel = request.parallelToolCalls ?? prompts.takesParallelCalls;
    const prompt = cutReasoning(prompts.render(request), request.thinkingBudgetTokens, format);
    const generation = generator.prepare(request, {
      format,
      reasoning: reasoningOf(prompt, format),
      separatesReasoning: separatingFormat(request, format, streamed) !== undefined,
      harmony: format.harmony && prompt.trimEnd().endsWith(messageStart),
      calls: offeredCalls(request, parallel),
    });
    const answer = {
      request,
      format,
      prompt,
      tools,
      hasForm: hasForm(request),
      asFunction: request !== sent,
      streamed,
      parallel,
    };
    return {
      request,
      generation,
      options: {
        prompts: [await generator.tokenize(prompt, "messages", call.signal)],
        choices: request.n ?? 1,
        maxTokens: request.maxCompletionTokens ?? request.maxTokens ?? defaults.maxTokens,
        topLogprobs: topLogprobsOf(request),
        thinking: thinkingLimit(request, prompt, format),
        output: (_index, trail) => createChatAnswer({ ...answer, trail }),
      },
    };
  }

  async function createChatCompletion(bytes: Uint8Array, call: WorkerCall): Promise<CallResult> {
    const { request, generation, options } = await prepare(bytes, call, false);
    const { choices, usage, timings, totals } = await generation.run(options, call);
    const response = create(CreateChatCompletionResponseSchema, {
      ...headOf(request, "chat.completion"),
      choices: choices.map((choice) => ({
        index: choice.index,
        message: choice.output.message,
        finishReason: finishReasonOf(choice),
        ...(choice.output.logprobs !== undefined && { logprobs: choice.output.logprobs }),
      })),
      usage,
      timings,
    });
    return { last: [toBinary(CreateChatCompletionResponseSchema, response)], totals };
  }

  async function streamChatCompletion(bytes: Uint8Array, call: WorkerCall): Promise<CallResult> {
    const { request, generation, options } = await prepare(bytes, call, true);
    const forms = chunkForms(headOf(request, "chat.completion.chunk"));
    return streamChoices(generation, options, forms, request, call);
  }

  function headOf({ model }: CreateChatCompletionRequest, object: string) {
    return answerHead({ prefix: "chatcmpl", object, model, fingerprint });
  }

  return new Map([
    [methodName(ChatService.method.createChatCompletion), createChatCompletion],
    [methodName(ChatService.method.streamChatCompletion), streamChatCompletion],
  ]);
}

function topLogprobsOf({ logprobs, topLogprobs = 0 }: CreateChatCompletionRequest): number | undefined {
  if (logprobs === true) return topLogprobs;
  if (topLogprobs === 0) return undefined;
  throw new LoquiError("invalid_request", "top_logprobs: needs `logprobs` to be true", { param: "top_logprobs" });
}

function chunkForms(common: MessageInitShape<typeof ChatCompletionChunkSchema>): ChunkForms<ChatAnswer, ChatPiece> {
  const encode = chunkEncoder(ChatCompletionChunkSchema, common);
  return {
    opening: (index, extras) =>
      encode({ choices: [{ index, delta: { role: ChatRole.ASSISTANT, content: "" } }], ...extras }),
    delta: (index, piece, extras) => encode({ choices: [{ index, ...piece }], ...extras }),
    join: joinPieces,
    nothing: (index, extras) => encode({ choices: [{ index, delta: {} }], ...extras }),
    end: (choice, extras) =>
      encode({ choices: [{ index: choice.index, delta: {}, finishReason: finishReasonOf(choice) }], ...extras }),
    usage: ({ usage, timings }) => encode({ choices: [], usage, timings }),
  };
}

/** An answer that was cut short is that, whatever it began. */
function finishReasonOf({ result, output }: Choice<ChatAnswer, ChatPiece>): FinishReason {
  return output.called !== undefined && result.reason !== "length" ? output.called : finishReasons[result.reason];
}
