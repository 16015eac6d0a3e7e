import type { ErrorFormat } from "../../gen/loqui/rest/v1/annotations_pb.ts";
import { LoquiError, toLoquiError } from "../errors.ts";
import type { Caller, IncomingCall } from "../request-context.ts";
import { sendError } from "./error-response.ts";
import { breakOff, type HttpRequest, type HttpResponse, headerOf } from "./http.ts";
import { createRestMetadata, type RestMetadata } from "./metadata.ts";
import { watchReader } from "./slow-reader.ts";

/** One request and its response, from the first byte to the last. */
export interface Exchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly requestId: string;
  readonly metadata: RestMetadata;
  /** Aborted when the client leaves or the exchange is given up. */
  readonly signal: AbortSignal;
  /** When the call's time is over, on the clock of `performance.now()`. */
  readonly deadline: number;
  /** The whole response is written or given up: nothing more may be sent. */
  readonly ended: boolean;
  /** The shape of errors, once the method is known. */
  errorFormat: ErrorFormat | undefined;
  /** Writes an error into a response that has begun. Without it such a response is broken off. */
  failInBand: ((error: LoquiError) => void) | undefined;
  /** What the dispatcher is told of the call. */
  call(caller: Caller): IncomingCall;
  /** Declares the response complete. */
  end(): void;
  /** Ends the exchange with an error, in whatever way is still open. Does nothing once it has ended. */
  fail(error: unknown): void;
}

export interface ExchangeOptions {
  readonly requestId: string;
  /** From the arrival. */
  readonly timeoutMs: number;
  /** The response is broken off when the client takes nothing of it for this long. */
  readonly stallMs: number;
  /** Takes each error that ends an exchange. */
  readonly onError: (error: LoquiError) => void;
}

/** Follows a request to its end; the client's leaving aborts it at once. */
export function createExchange(request: HttpRequest, response: HttpResponse, options: ExchangeOptions): Exchange {
  const deadline = performance.now() + options.timeoutMs;
  const controller = new AbortController();
  const metadata = createRestMetadata(request);
  let ended = false;
  // A write after the client has left is no news: "close" says so.
  response.on("error", () => {});
  response.once("close", () => {
    if (ended) return;
    ended = true;
    controller.abort(new LoquiError("cancelled", "the client left"));
  });
  watchReader(response, options.stallMs, (reason) => {
    if (ended) return;
    ended = true;
    controller.abort(reason);
    options.onError(reason);
  });

  const exchange: Exchange = {
    request,
    response,
    requestId: options.requestId,
    metadata,
    signal: controller.signal,
    deadline,
    errorFormat: undefined,
    failInBand: undefined,
    get ended() {
      return ended;
    },
    call: (caller) => ({
      caller,
      protocol: "rest",
      requestId: options.requestId,
      header: (name) => headerOf(request, name),
      metadata,
      signal: controller.signal,
      timeoutMs: Math.max(0, deadline - performance.now()),
    }),
    end() {
      ended = true;
    },
    fail(reason) {
      if (ended) return;
      ended = true;
      const error = toLoquiError(reason);
      try {
        controller.abort(error);
        options.onError(error);
        if (!response.headersSent) {
          metadata.apply(response);
          sendError(request, response, error, exchange.errorFormat);
        } else if (exchange.failInBand !== undefined) exchange.failInBand(error);
        else breakOff(response);
      } catch {
        // The response is beyond repair; whoever waits for it must not wait on.
        response.destroy();
      }
    },
  };
  return exchange;
}
