import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { jsonCodec, tagOf } from "../codec/codec.ts";
import { decodedMessage } from "../encoded-message.ts";
import { LoquiError } from "../errors.ts";
import type { Target } from "./bindings.ts";
import { openEventStream } from "./event-stream.ts";
import type { Exchange } from "./exchange.ts";
import { drained, send, write } from "./http.ts";
import type { RestLimits } from "./limits.ts";
import { type Reply, raw } from "./reply.ts";

type AnyMessage = MessageShape<DescMessage>;

/** Sends what a method answers. Rejects with what goes wrong: the exchange is failed with it. */
export type Responder = (exchange: Exchange, messages: AsyncIterable<AnyMessage>) => Promise<void>;

/** One message, one response. */
export function unaryResponder(reply: (message: AnyMessage) => Reply): Responder {
  return async (exchange, messages) => {
    let answer: Reply | undefined;
    // Forwarded to the end: the dispatcher counts a call as answered when it is asked for more.
    const complete = await forward(exchange, messages, (message) => {
      answer = reply(message);
      return undefined;
    });
    if (!complete) return;
    if (answer === undefined) throw new LoquiError("internal", "no response message");
    const { request, response } = exchange;
    exchange.end();
    send(request, response, 200, { "content-type": answer.contentType }, answer.body);
  };
}

/** Server-sent events, one for each message. */
export function eventResponder({ method, sse }: Target, limits: RestLimits): Responder {
  const { output } = method;
  const codec = jsonCodec(output);
  const named = sse?.namedEvents ?? false;
  const done = sse?.done ?? false;
  return async (exchange, messages) => {
    const stream = openEventStream(exchange, { named, keepAliveMs: limits.keepAliveMs, holdMs: limits.holdMs });
    try {
      const complete = await forward(exchange, messages, (sent) => {
        const message = decodedMessage(output, sent);
        const ready = stream.send(codec.encode(message), named ? tagOf(output, message) : undefined);
        return ready ? undefined : drained(exchange.response);
      });
      if (complete) stream.end(done);
    } finally {
      stream.close();
    }
  };
}

/** A stream of google.api.HttpBody: its bytes, one after the other, with the first one's media type. */
export function bytesResponder(): Responder {
  return async (exchange, messages) => {
    const { response } = exchange;
    const complete = await forward(exchange, messages, (message) => {
      const { contentType, body } = raw(message);
      if (!response.headersSent) response.setHeader("content-type", contentType);
      return write(response, body) ? undefined : drained(response);
    });
    if (!complete) return;
    exchange.end();
    response.end();
  };
}

/**
 * Hands the messages on, one at a time, until they or the exchange end. Resolves
 * with whether all were sent. Ends the iteration in any case, without waiting
 * for a handler that doesn't notice that it was aborted; what `take` throws is
 * thrown into it, so that the call's record says why it ended.
 */
async function forward(
  exchange: Exchange,
  messages: AsyncIterable<AnyMessage>,
  take: (message: AnyMessage) => Promise<void> | undefined,
): Promise<boolean> {
  const iterator = messages[Symbol.asyncIterator]();
  const settle = (ending: Promise<unknown> | undefined) => ending?.then(undefined, () => {});
  const stop = () => settle(iterator.return?.());
  exchange.signal.addEventListener("abort", stop, { once: true });
  try {
    for (;;) {
      const result = await iterator.next();
      if (exchange.ended) return false;
      exchange.metadata.apply(exchange.response);
      if (result.done) return true;
      try {
        const pending = take(result.value);
        if (pending !== undefined) await pending;
      } catch (error) {
        settle(iterator.throw?.(error));
        throw error;
      }
      if (exchange.ended) return false;
    }
  } finally {
    exchange.signal.removeEventListener("abort", stop);
  }
}
