import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { forwardStream, forwardUnary } from "./forward.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";

/** Chat completion by the model that the request names. */
export function createChatService(gateway: Gateway): ServiceImplementation {
  return implement(ChatService, {
    createChatCompletion: forwardUnary(gateway, ChatService.method.createChatCompletion),
    streamChatCompletion: forwardStream(gateway, ChatService.method.streamChatCompletion),
  });
}
