import { SpeechService } from "../../gen/loqui/v1/speech_pb.ts";
import type { Registry } from "../gateway/registry.ts";
import type { Usage } from "../gateway/usage.ts";
import type { ChatLimits } from "./chat-limits.ts";
import { createChatService } from "./chat-service.ts";
import { createEmbeddingService } from "./embedding-service.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";
import { createModelService } from "./model-service.ts";
import { createRerankService } from "./rerank-service.ts";

/** All services of the schema, over the models of a registry. */
export function createServices(registry: Registry, usage: Usage, limits: ChatLimits): ServiceImplementation[] {
  return [
    createModelService(registry, usage),
    createChatService(registry, limits),
    createEmbeddingService(registry),
    createRerankService(registry),
    implement(SpeechService, {}),
  ];
}
