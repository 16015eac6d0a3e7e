import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from "@bufbuild/protobuf";
import type { RequestContext } from "../request-context.ts";

/** The implementation of one method, the same for all protocols. Throws LoquiErrors. */
export type Handler<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, context: RequestContext) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: RequestContext) => AsyncIterable<MessageShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, context: RequestContext) => Promise<MessageShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: AsyncIterable<MessageShape<I>>, context: RequestContext) => AsyncIterable<MessageShape<O>>
          : never;

/**
 * The implementation of a service. A method without a handler answers
 * `unimplemented` on every protocol.
 */
export type Handlers<S extends DescService> = { readonly [K in keyof S["method"]]?: Handler<S["method"][K]> };

/** A service with its handlers. */
export interface ServiceImplementation {
  readonly desc: DescService;
  readonly handlers: Readonly<Record<string, Handler<DescMethod> | undefined>>;
  /** Methods that hold the messages of their request stream to their rules themselves: a bad one doesn't end the call. */
  readonly checksItself?: readonly string[];
}

/** Pairs a service with its handlers, checked against its descriptor. */
export function implement<S extends DescService>(
  desc: S,
  handlers: Handlers<S>,
  checksItself: readonly (keyof S["method"] & string)[] = [],
): ServiceImplementation {
  return { desc, handlers: handlers as ServiceImplementation["handlers"], checksItself };
}

/** A request message, or the stream of them where the client streams. */
export type RequestInput = MessageShape<DescMessage> | AsyncIterable<MessageShape<DescMessage>>;
