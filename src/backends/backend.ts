import type { DescMessage, DescMethodServerStreaming, DescMethodUnary, MessageShape } from "@bufbuild/protobuf";
import type { RequestContext } from "../request-context.ts";

/** A method with one request message. */
export type CallMethod<I extends DescMessage, O extends DescMessage> =
  | DescMethodUnary<I, O>
  | DescMethodServerStreaming<I, O>;

/** What a caller lets a backend do. */
export interface CallOptions {
  /** Response messages may be left as they came ({@link file://./../encoded-message.ts encodedMessage}). Default: no. */
  readonly encoded?: boolean;
}

/**
 * Something that answers calls for a model: a worker process on this machine,
 * a provider's API, another loqui. All are called alike.
 */
export interface Backend extends AsyncDisposable {
  /** Unique, for logs and records: `worker:loqui/tiny-chat`. */
  readonly id: string;
  /** `local`, or the provider's name. */
  readonly provider: string;

  /**
   * Starts a call and returns its response messages: exactly one for a unary
   * method. Nothing is sent before the first `next()`; leaving the loop early
   * or aborting `context.signal` cancels the call. Throws a LoquiError; one
   * thrown before the first message means that nothing was answered.
   */
  call<I extends DescMessage, O extends DescMessage>(
    method: CallMethod<I, O>,
    request: MessageShape<I>,
    context: RequestContext,
    options?: CallOptions,
  ): AsyncIterable<MessageShape<O>>;
}
