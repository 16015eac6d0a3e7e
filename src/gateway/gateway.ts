import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { CallMethod, CallOptions } from "../backends/backend.ts";
import { LoquiError } from "../errors.ts";
import type { RequestContext } from "../request-context.ts";
import type { Registry } from "./registry.ts";

export type { CallOptions } from "../backends/backend.ts";

/** Sends a call to a backend that answers for the model it names. */
export interface Gateway {
  /**
   * The response messages of the call: exactly one for a unary method. The
   * request has a field `model`; throws `model_not_found` at once, and
   * `unsupported` for a model of another type than the method needs. Fills in
   * the record's model and backend.
   */
  call<I extends DescMessage, O extends DescMessage>(
    method: CallMethod<I, O>,
    request: MessageShape<I> & { readonly model: string },
    context: RequestContext,
    options?: CallOptions,
  ): AsyncIterable<MessageShape<O>>;
}

/** A gateway for the methods of one type of model, e.g. `chat`. */
export function createGateway(registry: Registry, type: string): Gateway {
  return {
    call(method, request, context, options) {
      context.record.model = request.model;
      context.record.modelId = registry.get(request.model).config.id;
      const { model, backends } = registry.resolve(request.model);
      if (model.config.type !== type && model.config.type !== "multimodal") {
        throw new LoquiError("unsupported", `the model ${request.model} is of type ${model.config.type}, not ${type}`, {
          param: "model",
        });
      }
      const backend = backends[0];
      if (backend === undefined) {
        throw new LoquiError("model_unavailable", `nothing answers for the model ${request.model}`);
      }
      context.record.backend = backend.id;
      return backend.call(method, request, context, options);
    },
  };
}
