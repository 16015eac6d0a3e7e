import {
  ChatService,
  type CreateChatCompletionRequest,
  type CreateCompletionRequest,
} from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import { createGateway } from "../gateway/gateway.ts";
import type { Registry } from "../gateway/registry.ts";
import { type ChatLimits, checkChatLimits } from "./chat-limits.ts";
import { withChatModel } from "./default-model.ts";
import { forwardStream, forwardUnary } from "./forward.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";

/** Chat completion, and the tokens behind it, by the model that the request names; for tokens alone it may name none. */
export function createChatService(registry: Registry, limits: ChatLimits): ServiceImplementation {
  const gateway = createGateway(registry, "chat");
  const complete = forwardUnary(gateway, ChatService.method.createChatCompletion);
  const stream = forwardStream(gateway, ChatService.method.streamChatCompletion, { encoded: true });
  const completeText = forwardUnary(gateway, ChatService.method.createCompletion);
  const streamText = forwardStream(gateway, ChatService.method.streamCompletion, { encoded: true });
  const tokenize = forwardUnary(gateway, ChatService.method.tokenize);
  const detokenize = forwardUnary(gateway, ChatService.method.detokenize);
  return implement(ChatService, {
    createChatCompletion(request, context) {
      checkWhole(request);
      checkChatLimits(request, limits);
      return complete(request, context);
    },
    streamChatCompletion(request, context) {
      checkChatLimits(request, limits);
      return stream(request, context);
    },
    createCompletion(request, context) {
      checkWhole(request);
      checkBestOf(request, false);
      checkChatLimits(request, limits);
      return completeText(request, context);
    },
    streamCompletion(request, context) {
      checkBestOf(request, true);
      checkChatLimits(request, limits);
      return streamText(request, context);
    },
    tokenize: (request, context) => tokenize(withChatModel(request, registry), context),
    detokenize: (request, context) => detokenize(withChatModel(request, registry), context),
    countTokens: forwardUnary(gateway, ChatService.method.countTokens),
    applyTemplate: forwardUnary(gateway, ChatService.method.applyTemplate),
  });
}

function checkWhole({ streamOptions }: CreateChatCompletionRequest | CreateCompletionRequest): void {
  if (streamOptions === undefined) return;
  const param = "stream_options";
  throw new LoquiError("invalid_request", `${param} is for streams only`, { param });
}

/** Which completions are the best is known when all have ended. */
function checkBestOf({ n = 1, bestOf = n }: CreateCompletionRequest, streamed: boolean): void {
  const param = "best_of";
  if (bestOf < n) throw new LoquiError("invalid_request", `best_of: ${bestOf} is below n, which is ${n}`, { param });
  if (streamed && bestOf > n) throw new LoquiError("invalid_request", "best_of: can't be streamed", { param });
}
