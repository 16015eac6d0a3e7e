import { EmbeddingService } from "../../gen/loqui/v1/embedding_pb.ts";
import { createGateway } from "../gateway/gateway.ts";
import type { Registry } from "../gateway/registry.ts";
import { withModel } from "./default-model.ts";
import { createEmbeddingStream } from "./embedding-stream.ts";
import { forwardUnary } from "./forward.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";

/** Vectors of texts, by the model that the request names; TEI's requests may name none. */
export function createEmbeddingService(registry: Registry): ServiceImplementation {
  const gateway = createGateway(registry, "embedding");
  const { method } = EmbeddingService;
  const embed = forwardUnary(gateway, method.embed, { encoded: true });
  const embedSparse = forwardUnary(gateway, method.embedSparse, { encoded: true });
  const similarity = forwardUnary(gateway, method.similarity);
  return implement(
    EmbeddingService,
    {
      createEmbeddings: forwardUnary(gateway, method.createEmbeddings, { encoded: true }),
      streamEmbeddings: createEmbeddingStream(gateway),
      embed: (request, context) => embed(withModel(request, registry, "embedding"), context),
      embedSparse: (request, context) => embedSparse(withModel(request, registry, "embedding"), context),
      similarity: (request, context) => similarity(withModel(request, registry, "embedding"), context),
    },
    ["streamEmbeddings"],
  );
}
