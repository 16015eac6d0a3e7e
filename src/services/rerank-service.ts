import { RerankService } from "../../gen/loqui/v1/rerank_pb.ts";
import { LoquiError } from "../errors.ts";
import { createGateway } from "../gateway/gateway.ts";
import type { Registry } from "../gateway/registry.ts";
import { forwardUnary } from "./forward.ts";
import { implement, type ServiceImplementation } from "./handlers.ts";

/** How well texts fit, by the model that the request names; TEI's requests may name none. */
export function createRerankService(registry: Registry): ServiceImplementation {
  const gateway = createGateway(registry, "rerank");
  const { method } = RerankService;
  const rerankTexts = forwardUnary(gateway, method.rerankTexts);
  return implement(RerankService, {
    rerank: forwardUnary(gateway, method.rerank),
    rerankTexts: (request, context) =>
      rerankTexts({ ...request, model: request.model ?? defaultModel(registry) }, context),
    score: forwardUnary(gateway, method.score),
  });
}

/** The first rerank model of the list that is loaded, else that can be. Throws `model_not_found` where there is none. */
function defaultModel(registry: Registry): string {
  const models = registry.models.filter((model) => model.config.type === "rerank" && registry.canAnswer(model));
  const model = models.find((model) => registry.stateOf(model) === "ready") ?? models[0];
  if (model !== undefined) return model.config.id;
  throw new LoquiError("model_not_found", "model is not given, and there is no rerank model", { param: "model" });
}
