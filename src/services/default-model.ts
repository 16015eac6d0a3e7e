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

/**
 * A request with its model: where it names none, as llama-server's clients don't,
 * the server's only chat model. Throws `invalid_request` where there are several,
 * whose tokens differ, and `model_not_found` where there is none.
 */
export function withChatModel<R extends { readonly model?: string | undefined }>(
  request: R,
  registry: Registry,
): R & { readonly model: string } {
  if (request.model !== undefined) return { ...request, model: request.model };
  const ids = registry.models
    .filter((model) => ["chat", "multimodal"].includes(model.config.type) && registry.canAnswer(model))
    .map((model) => model.config.id);
  const [only] = ids;
  const param = "model";
  if (only === undefined)
    throw new LoquiError("model_not_found", "model is not given, and there is no chat model", { param });
  if (ids.length === 1) return { ...request, model: only };
  // Not which: a key may be allowed to use models without seeing them.
  throw new LoquiError("invalid_request", `model is not given, and there are ${ids.length} chat models`, { param });
}
