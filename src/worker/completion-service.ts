import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ChatService,
  type CompletionChoiceSchema,
  type CreateCompletionRequest,
  CreateCompletionRequestSchema,
  CreateCompletionResponseSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import type { TokenEngine, TokenLogprobs } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import { answerHead } from "./answer-head.ts";
import { type ChunkForms, chunkEncoder, streamChoices } from "./choice-stream.ts";
import { type CompletionPrompt, completionPrompts } from "./completion-prompts.ts";
import {
  type Choice,
  type ChoiceOutput,
  type ChoicesOptions,
  finishReasons,
  type Generator,
  type PreparedGeneration,
} from "./generator.ts";
import {
  charactersOf,
  checkHeldLogprobs,
  completionLogprobs,
  type PromptEntry,
  promptEntries,
  type TokenTrail,
} from "./logprobs.ts";
import type { CallResult, WorkerCall, WorkerMethods } from "./method.ts";
import { refuseUnsupported } from "./unsupported.ts";

export interface CompletionServiceOptions {
  readonly engine: TokenEngine;
  readonly generator: Generator;
  /** Names the configuration that answers, for `system_fingerprint`. */
  readonly fingerprint: string;
}

/** What a chunk's choice has of a completion. */
type CompletionPiece = Pick<MessageInitShape<typeof CompletionChoiceSchema>, "text" | "logprobs">;

/** A completion's text, piece by piece. */
interface CompletionText extends ChoiceOutput<CompletionPiece> {
  readonly whole: CompletionPiece;
}

/** A request that is ready to be generated. */
interface Prepared {
  readonly request: CreateCompletionRequest;
  readonly prompts: readonly CompletionPrompt[];
  readonly generation: PreparedGeneration;
  readonly options: ChoicesOptions<CompletionText, CompletionPiece>;
}

/** OpenAI's; llama-server goes on to the end of the context. */
const defaultMaxTokens = 16;

/** Text completion: prompts as they are, without a template, and texts. What lies between is the generator's. */
export function createCompletionMethods({ engine, generator, fingerprint }: CompletionServiceOptions): WorkerMethods {
  async function prepare(bytes: Uint8Array, call: WorkerCall, streamed: boolean): Promise<Prepared> {
    generator.checkRoom(call.tenant);
    const request = fromBinary(CreateCompletionRequestSchema, bytes);
    refuseUnsupported(request);
    const generation = generator.prepare(request);
    const prompts = await completionPrompts(request, engine, call.signal);
    const each = request.bestOf ?? request.n ?? 1;
    const { echo, logprobs, suffix } = request;
    if (echo === true && logprobs !== undefined && suffix !== undefined) {
      const message =
        "`suffix` is not supported beside both `echo` and `logprobs`: its tokens have no place in the text";
      throw new LoquiError("unsupported", message, { param: "suffix" });
    }
    if (echo === true && logprobs !== undefined) {
      const tokens = each * prompts.reduce((sum, prompt) => sum + prompt.tokens.length, 0);
      checkHeldLogprobs(tokens * (1 + logprobs), "logprobs", "ask for fewer, or echo less at a time");
    }
    return {
      request,
      prompts,
      generation,
      options: {
        prompts: prompts.map(({ tokens }) => tokens),
        choices: each,
        maxTokens: request.maxTokens ?? defaultMaxTokens,
        topLogprobs: logprobs,
        ranked: each > (request.n ?? 1),
        output: (index, trail) =>
          createCompletionText(echo === true ? prompts[Math.floor(index / each)] : undefined, trail, engine, streamed),
      },
    };
  }

  async function createCompletion(bytes: Uint8Array, call: WorkerCall): Promise<CallResult> {
    const { request, generation, options } = await prepare(bytes, call, false);
    const { choices, usage, timings, totals } = await generation.run(options, call);
    const response = create(CreateCompletionResponseSchema, {
      ...headOf(request),
      choices: best(choices, options.choices, request.n ?? 1).map((choice, index) => ({
        index,
        ...choice.output.whole,
        finishReason: finishReasons[choice.result.reason],
      })),
      usage,
      timings,
    });
    return { last: [toBinary(CreateCompletionResponseSchema, response)], totals };
  }

  async function streamCompletion(bytes: Uint8Array, call: WorkerCall): Promise<CallResult> {
    const { request, generation, options } = await prepare(bytes, call, true);
    return streamChoices(generation, options, chunkForms(headOf(request)), request, call);
  }

  function headOf({ model }: CreateCompletionRequest) {
    return answerHead({ prefix: "cmpl", object: "text_completion", model, fingerprint });
  }

  return new Map([
    [methodName(ChatService.method.createCompletion), createCompletion],
    [methodName(ChatService.method.streamCompletion), streamCompletion],
  ]);
}

/** The likeliest `n` of the `each` choices of each prompt, the likeliest first. All where `each` is `n`, in their order. */
function best<C extends Choice<CompletionText, CompletionPiece>>(
  choices: readonly C[],
  each: number,
  n: number,
): readonly C[] {
  if (each === n) return choices;
  return Array.from({ length: choices.length / each }, (_, prompt) =>
    choices
      .slice(prompt * each, (prompt + 1) * each)
      .sort((a, b) => (b.meanLogprob === a.meanLogprob ? 0 : b.meanLogprob - a.meanLogprob))
      .slice(0, n),
  ).flat();
}

/** Begins with what is echoed: it comes with the first piece. Of a stream nothing is kept for `whole`. */
function createCompletionText(
  echo: CompletionPrompt | undefined,
  trail: TokenTrail | undefined,
  engine: TokenEngine,
  streamed: boolean,
): CompletionText {
  let text = "";
  const entries: PromptEntry[] = [];
  const ofPrompt: TokenLogprobs[] = [];
  const echoed = charactersOf(echo?.text ?? "");
  let begun = false;
  /** Length of what was generated. */
  let length = 0;

  function entriesOf(piece: string): PromptEntry[] {
    if (trail === undefined) return [];
    const before = begun || echo === undefined ? [] : promptEntries(echo, ofPrompt, engine);
    const taken = trail.take(length, length + piece.length);
    return [...before, ...taken.map((entry) => ({ ...entry, at: entry.at + echoed }))];
  }

  function take(piece: string): CompletionPiece[] {
    const next = begun ? piece : (echo?.text ?? "") + piece;
    const taken = entriesOf(piece);
    begun = true;
    length += piece.length;
    if (!streamed) {
      text += next;
      for (const entry of taken) entries.push(entry);
    }
    if (next === "" && taken.length === 0) return [];
    return [{ text: next, ...(taken.length > 0 && { logprobs: completionLogprobs(taken) }) }];
  }

  return {
    push: take,
    end: () => take(""),
    ...(echo !== undefined && trail !== undefined && { pushPrompt: (logprobs) => void ofPrompt.push(logprobs) }),
    thinking: false,
    satisfied: false,
    controls: false,
    get whole() {
      return { text, ...(trail !== undefined && { logprobs: completionLogprobs(entries) }) };
    },
  };
}

function chunkForms(
  common: MessageInitShape<typeof CreateCompletionResponseSchema>,
): ChunkForms<CompletionText, CompletionPiece> {
  const encode = chunkEncoder(CreateCompletionResponseSchema, common);
  return {
    delta: (index, piece, extras) => encode({ choices: [{ index, ...piece }], ...extras }),
    join: (piece, next) =>
      piece.logprobs === undefined && next.logprobs === undefined
        ? { text: (piece.text ?? "") + (next.text ?? "") }
        : undefined,
    nothing: (index, extras) => encode({ choices: [{ index }], ...extras }),
    end: ({ index, result }, extras) =>
      encode({ choices: [{ index, finishReason: finishReasons[result.reason] }], ...extras }),
    usage: ({ usage, timings }) => encode({ choices: [], usage, timings }),
  };
}
