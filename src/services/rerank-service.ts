import { RerankService } from "../../gen/loqui/v1/rerank_pb.ts";
import { createGateway } from "../gateway/gateway.ts";
import type { Registry } from "../gateway/registry.ts";
import { withModel } from "./default-model.ts";
import { forwardUnary } from "./forward.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";

/** How well texts fit, by the model that the request names; TEI's requests may name none. */
export function createRerankService(registry: Registry): ServiceImplementation {
  const gateway = createGateway(registry, "rerank");
  const { method } = RerankService;
  const rerankTexts = forwardUnary(gateway, method.rerankTexts);
  return implement(RerankService, {
    rerank: forwardUnary(gateway, method.rerank),
    rerankTexts: (request, context) => rerankTexts(withModel(request, registry, "rerank"), context),
    score: forwardUnary(gateway, method.score),
  });
}
