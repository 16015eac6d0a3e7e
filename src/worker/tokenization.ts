import { isUtf8 } from "node:buffer";
import { setImmediate } from "node:timers/promises";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { ChatService, type TokenizeRequest, type TokenPieceSchema } from "../../gen/loqui/v1/chat_pb.ts";
import type { TokenEngine } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import type { ChatPrompts, PromptRequest } from "./chat-prompt.ts";
import type { WorkerMethod, WorkerMethods } from "./method.ts";
import { checkTextFits, checkTokenIds, checkTokenizable } from "./prompt-tokens.ts";

export interface TokenizationOptions {
  readonly engine: TokenEngine;
  readonly prompts: ChatPrompts;
  /** Calls that may wait for the one that runs; more are refused as `overloaded`. */
  readonly maxWaiting: number;
}

/** Bytes of text that one call may make of tokens; as many as a text of the schema's. */
const maxTextBytes = 16 * 1024 * 1024;

/** Tokens whose texts one call answers: each is a message of its own, here and in the front. */
const maxPieces = 65_536;

/**
 * The tokens behind chat: Tokenize, Detokenize, CountTokens, ApplyTemplate. They
 * take no sequence and wait for no generation. Tokenizing takes the event loop,
 * though, for the 256 KiB of text that the schema allows 0.2 s, or 0.9 s where it
 * is all spaces: between two of these calls the generations get their turn.
 */
export function createTokenizationMethods({ engine, prompts, maxWaiting }: TokenizationOptions): WorkerMethods {
  const { info, contextLength } = engine;
  const inTurn = createTurns(maxWaiting);

  function method<I extends DescMessage, O extends DescMessage>(
    desc: DescMethodUnary<I, O>,
    answer: (request: MessageShape<I>) => MessageInitShape<O>,
  ): [string, WorkerMethod] {
    const { input, output } = desc;
    const run: WorkerMethod = async (bytes, { signal }) => ({
      last: [await inTurn(() => toBinary(output, create(output, answer(fromBinary(input, bytes)))), signal)],
    });
    return [methodName(desc), run];
  }

  function promptTokens(request: PromptRequest, parseSpecial = true, addSpecial = false): Uint32Array {
    const text = prompts.render(request);
    checkTextFits(text, engine, "messages");
    return engine.tokenize(text, parseSpecial, addSpecial);
  }

  function tokensOf(request: TokenizeRequest): Uint32Array {
    const { content, parseSpecial = true, addSpecial = false } = request;
    if (content === undefined) return promptTokens(request, parseSpecial, addSpecial);
    refuse("tools", request.tools.length > 0);
    refuse("chat_template_kwargs", request.chatTemplateKwargs !== undefined);
    refuse("add_generation_prompt", request.addGenerationPrompt !== undefined);
    refuse("continue_final_message", request.continueFinalMessage !== undefined);
    checkTokenizable(content, engine, "content");
    return engine.tokenize(content, parseSpecial, addSpecial);
  }

  function pieceOf(id: number): MessageInitShape<typeof TokenPieceSchema> {
    const bytes = engine.tokenBytes(id);
    return isUtf8(bytes)
      ? { id, piece: { case: "text", value: Buffer.from(bytes).toString() } }
      : { id, piece: { case: "bytes", value: { values: [...bytes] } } };
  }

  return new Map([
    method(ChatService.method.tokenize, (request) => {
      const ids = Array.from(tokensOf(request));
      checkPieces("with_pieces", request.withPieces, ids.length);
      checkPieces("return_token_strs", request.returnTokenStrs, ids.length);
      return {
        tokens:
          request.withPieces === true
            ? { case: "pieces" as const, value: { pieces: ids.map(pieceOf) } }
            : { case: "ids" as const, value: { ids } },
        count: ids.length,
        maxModelLen: contextLength,
        ...(request.returnTokenStrs === true && {
          tokenStrs: ids.map((id) => Buffer.from(engine.tokenBytes(id)).toString()),
        }),
      };
    }),
    method(ChatService.method.detokenize, ({ tokens }) => {
      checkTokenIds(tokens, info.vocabularySize, "tokens");
      if (tokens.length * info.longestTokenBytes > maxTextBytes) {
        const bytes = tokens.reduce((sum, token) => sum + engine.tokenBytes(token).length, 0);
        if (bytes > maxTextBytes) {
          const message = `tokens: their text of ${bytes} bytes is above the maximum ${maxTextBytes}`;
          throw new LoquiError("invalid_request", message, { param: "tokens" });
        }
      }
      return { content: engine.detokenize(Uint32Array.from(tokens)) };
    }),
    method(ChatService.method.countTokens, (request) => ({
      object: "response.input_tokens",
      inputTokens: promptTokens(request).length,
    })),
    method(ChatService.method.applyTemplate, (request) => ({ prompt: prompts.render(request) })),
  ]);
}

function refuse(param: string, given: boolean): void {
  if (given) throw new LoquiError("invalid_request", `${param} is for \`messages\` only`, { param });
}

function checkPieces(param: string, asked: boolean | undefined, tokens: number): void {
  if (asked !== true || tokens <= maxPieces) return;
  const message = `${param}: ${tokens} tokens are above the maximum ${maxPieces}; send the text in pieces`;
  throw new LoquiError("invalid_request", message, { param });
}

/** Runs what takes the event loop piece by piece, in order, with a turn of the loop before each. */
function createTurns(maxWaiting: number): <T>(work: () => T, signal: AbortSignal) => Promise<T> {
  /** Those that wait, and the one that runs. */
  let open = 0;
  let last: Promise<unknown> = Promise.resolve();
  return async (work, signal) => {
    if (open > maxWaiting) {
      const message = `${open - 1} calls wait for this model's tokenizer already, the maximum is ${maxWaiting}`;
      throw new LoquiError("overloaded", message);
    }
    open += 1;
    const turn = last.then(async () => {
      signal.throwIfAborted();
      await setImmediate();
      return work();
    });
    last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      open -= 1;
    }
  };
}
