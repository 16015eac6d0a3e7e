import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../errors.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { type ChatLimits, checkChatLimits } from "./chat-limits.ts";
import { forwardStream, forwardUnary } from "./forward.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";

/** Chat completion, and the tokens behind it, by the model that the request names. */
export function createChatService(gateway: Gateway, limits: ChatLimits): ServiceImplementation {
  const complete = forwardUnary(gateway, ChatService.method.createChatCompletion);
  const stream = forwardStream(gateway, ChatService.method.streamChatCompletion);
  return implement(ChatService, {
    createChatCompletion(request, context) {
      if (request.streamOptions !== undefined) {
        const param = "stream_options";
        throw new LoquiError("invalid_request", `${param} is for streams only`, { param });
      }
      checkChatLimits(request, limits);
      return complete(request, context);
    },
    streamChatCompletion(request, context) {
      checkChatLimits(request, limits);
      return stream(request, context);
    },
    tokenize: forwardUnary(gateway, ChatService.method.tokenize),
    detokenize: forwardUnary(gateway, ChatService.method.detokenize),
    countTokens: forwardUnary(gateway, ChatService.method.countTokens),
    applyTemplate: forwardUnary(gateway, ChatService.method.applyTemplate),
  });
}
