import { create, type DescMessage, type DescMethod, type DescService, type MessageShape } from "@bufbuild/protobuf";
import { LoquiError, toLoquiError } from "../errors.ts";
import { methodName } from "../method-name.ts";
import { anyone, type IncomingCall, type RequestContext, type RequestRecord } from "../request-context.ts";
import { checkMessage, compileRules } from "./check-message.ts";
import type { RequestInput, ServiceImplementation } from "./handlers.ts";
import { type Patience, patienceOf } from "./patience.ts";

/**
 * The one way into the services: every protocol adapter calls `run`. It makes
 * the request's context and deadline, checks the message against its
 * protovalidate rules, runs the handler, turns whatever is thrown into a
 * LoquiError and leaves the request's record.
 */
export interface Dispatcher {
  /** The services that are served, in the order of the schema. */
  readonly services: readonly DescService[];
  /** Response messages; exactly one unless the method streams. Throws only LoquiErrors. */
  run(method: DescMethod, input: RequestInput, call: IncomingCall): AsyncIterable<MessageShape<DescMessage>>;
}

export interface DispatcherOptions {
  readonly services: readonly ServiceImplementation[];
  /** The longest time a call may take, in milliseconds; a client's own shorter deadline wins. */
  readonly maxTimeoutMs: number;
  /** Aborted with a LoquiError when the server gives up what is still in flight. */
  readonly shutdownSignal: AbortSignal;
  /** Time that a handler has to end after it was aborted; then its call ends without it. Default 1 s. */
  readonly abortGraceMs?: number;
  /** Takes each finished call's record; `error` is the cause of a failed one. */
  readonly onRecord: (record: RequestRecord, error: LoquiError | undefined) => void;
}

/**
 * `warmUp` compiles the rules of every request in turns of the event loop of
 * their own, so that no first call pays for it (about 200 ms in all).
 */
export function createDispatcher(options: DispatcherOptions): Dispatcher & { warmUp(): void } {
  const implementations = new Map(options.services.map((service) => [service.desc.typeName, service]));

  return {
    services: options.services.map((service) => service.desc),
    warmUp() {
      const inputs = options.services.flatMap((service) => service.desc.methods.map((method) => method.input));
      const next = () => {
        const input = inputs.pop();
        if (input === undefined) return;
        compileRules(input, create(input));
        setImmediate(next).unref();
      };
      setImmediate(next).unref();
    },
    async *run(method, input, call) {
      const name = methodName(method);
      const started = performance.now();
      const { keyId, tenant, scopes, charge } = call.caller ?? anyone;
      const record: RequestRecord = {
        requestId: call.requestId,
        protocol: call.protocol,
        method: name,
        receivedAt: Date.now(),
        ...(keyId !== undefined && { keyId, tenant }),
      };
      const timeoutMs = Math.min(call.timeoutMs ?? options.maxTimeoutMs, options.maxTimeoutMs);
      const deadline = deadlineSignal(timeoutMs);
      const traceparent = call.header("traceparent");
      const context: RequestContext = {
        requestId: call.requestId,
        protocol: call.protocol,
        method: name,
        ...(keyId !== undefined && { keyId }),
        tenant,
        scopes,
        deadline: started + timeoutMs,
        ...(traceparent !== undefined && { traceparent }),
        metadata: call.metadata,
        signal: AbortSignal.any([clientSignal(call.signal), deadline.signal, options.shutdownSignal]),
        record,
      };
      using patience = patienceOf(context.signal, options.abortGraceMs ?? 1_000);
      let failure: LoquiError | undefined;
      let ended = false;
      let messages = 0;
      try {
        const service = implementations.get(method.parent.typeName);
        const handler = service?.handlers[method.localName];
        if (handler === undefined) throw new LoquiError("unimplemented", `${name} is not implemented`);
        const streams = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
        if (!streams) checkMessage(method.input, input as MessageShape<DescMessage>);
        const request = streams
          ? checked(method, input as AsyncIterable<MessageShape<DescMessage>>, service?.checksItself ?? [])
          : (input as MessageShape<DescMessage>);
        const run = handler as (
          request: RequestInput,
          context: RequestContext,
        ) => Promise<MessageShape<DescMessage>> | AsyncIterable<MessageShape<DescMessage>>;
        const result = run(request, context);
        if (Symbol.asyncIterator in result) {
          for await (const message of patiently(result, patience)) {
            record.firstMessageMs ??= performance.now() - started;
            messages += 1;
            yield message;
          }
          // A handler that merely returns when it is aborted must not look complete.
          context.signal.throwIfAborted();
        } else {
          const message = await patience.wait(result);
          record.firstMessageMs = performance.now() - started;
          yield message;
        }
        ended = true;
      } catch (error) {
        ended = true;
        failure = abortReason(context.signal) ?? toLoquiError(error);
        throw failure;
      } finally {
        // Whoever reads has stopped reading.
        if (!ended) failure = abortReason(context.signal) ?? new LoquiError("cancelled", "the client left");
        deadline.clear();
        record.durationMs = performance.now() - started;
        // What was left has told what it took a while ago: each message of it is a token at least.
        const { promptTokens = 0, completionTokens = messages } = record;
        charge(promptTokens + (failure === undefined ? completionTokens : Math.max(completionTokens, messages)));
        record.outcome = failure === undefined ? "ok" : failure.kind;
        options.onRecord(record, failure);
      }
    },
  };
}

/** A stream of requests, each held to its rules as it comes, unless the handler does that. */
function checked(
  { input, localName }: DescMethod,
  messages: AsyncIterable<MessageShape<DescMessage>>,
  checkThemselves: readonly string[],
): AsyncIterable<MessageShape<DescMessage>> {
  return checkThemselves.includes(localName) ? messages : each(messages);

  async function* each(messages: AsyncIterable<MessageShape<DescMessage>>) {
    for await (const message of messages) {
      checkMessage(input, message);
      yield message;
    }
  }
}

/** The messages of a handler, waited for with patience; and so is its end where the reader leaves. */
async function* patiently<T>(messages: AsyncIterable<T>, patience: Patience): AsyncGenerator<T> {
  const iterator = messages[Symbol.asyncIterator]();
  let left = true;
  try {
    for (;;) {
      left = false;
      const next = await patience.wait(iterator.next());
      if (next.done) return;
      left = true;
      yield next.value;
    }
  } finally {
    if (left) {
      patience.lose();
      await patience.wait(Promise.resolve(iterator.return?.())).catch(() => {});
    }
  }
}

function abortReason(signal: AbortSignal): LoquiError | undefined {
  return signal.aborted ? toLoquiError(signal.reason) : undefined;
}

/** The client's signal, its reason made one of our own kind where the adapter gave none. */
function clientSignal(signal: AbortSignal): AbortSignal {
  const controller = new AbortController();
  const reason = () =>
    signal.reason instanceof LoquiError
      ? signal.reason
      : new LoquiError("cancelled", "the client left", { cause: signal.reason });
  const abort = () => controller.abort(reason());
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
  return controller.signal;
}

function deadlineSignal(timeoutMs: number): { signal: AbortSignal; clear: () => void } {
  const controller = new AbortController();
  const timer = setTimeout(
    () => controller.abort(new LoquiError("timeout", `the deadline of ${Math.round(timeoutMs)} ms has passed`)),
    timeoutMs,
  );
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
