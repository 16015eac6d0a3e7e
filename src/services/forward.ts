import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  Message,
  MessageShape,
} from "@bufbuild/protobuf";
import { LoquiError } from "../errors.ts";
import type { CallOptions, Gateway } from "../gateway/gateway.ts";
import type { RequestContext } from "../request-context.ts";

type ModelRequest = Message & { readonly model: string };

/** A handler that has the model's backend answer a unary method. */
export function forwardUnary<I extends DescMessage, O extends DescMessage>(
  gateway: Gateway,
  method: DescMethodUnary<I, O>,
  options?: CallOptions,
): (request: MessageShape<I> & ModelRequest, context: RequestContext) => Promise<MessageShape<O>> {
  return async (request, context) => {
    for await (const response of gateway.call(method, request, context, options)) return response;
    throw new LoquiError("internal", "the backend answered nothing");
  };
}

/** A handler that has the model's backend answer a server-streaming method. */
export function forwardStream<I extends DescMessage, O extends DescMessage>(
  gateway: Gateway,
  method: DescMethodServerStreaming<I, O>,
  options?: CallOptions,
): (request: MessageShape<I> & ModelRequest, context: RequestContext) => AsyncIterable<MessageShape<O>> {
  return (request, context) => gateway.call(method, request, context, options);
}
