import { LoquiError } from "../errors.ts";
import type { Registry } from "../gateway/registry.ts";

/**
 * A request with its model: where it names none, as TEI's do, the first of that
 * type in the list that is loaded, else that can be. Throws `model_not_found`
 * where there is none.
 */
export function withModel<R extends { readonly model?: string | undefined }>(
  request: R,
  registry: Registry,
  type: "embedding" | "rerank",
): R & { readonly model: string } {
  return { ...request, model: request.model ?? defaultModel(registry, type) };
}

function defaultModel(registry: Registry, type: string): string {
  const models = registry.models.filter((model) => model.config.type === type && registry.canAnswer(model));
  const model = models.find((model) => registry.stateOf(model) === "ready") ?? models[0];
  if (model !== undefined) return model.config.id;
  throw new LoquiError("model_not_found", `model is not given, and there is no ${type} model`, { param: "model" });
}
