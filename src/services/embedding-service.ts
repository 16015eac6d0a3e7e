import { EmbeddingService } from "../../gen/loqui/v1/embedding_pb.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { createEmbeddingStream } from "./embedding-stream.ts";
import { forwardUnary } from "./forward.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";

/** Vectors of texts, by the model that the request names. */
export function createEmbeddingService(gateway: Gateway): ServiceImplementation {
  return implement(
    EmbeddingService,
    {
      createEmbeddings: forwardUnary(gateway, EmbeddingService.method.createEmbeddings, { encoded: true }),
      streamEmbeddings: createEmbeddingStream(gateway),
    },
    ["streamEmbeddings"],
  );
}
