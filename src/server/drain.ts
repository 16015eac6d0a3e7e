import type { DescMethod } from "@bufbuild/protobuf";
import { LoquiError } from "../errors.ts";
import type { Dispatcher } from "../services/dispatcher.ts";
import type { HttpHandler, HttpResponse } from "./http.ts";
import type { Listener } from "./listen.ts";

/**
 * Counts what is in flight. A call counts until its response has left; a call
 * of a method that never ends on its own (a *watch*) does not count.
 */
export interface InFlight {
  /** The handler, counted. Once draining, HTTP/1.1 clients are told to close their connection. */
  track(handler: HttpHandler): HttpHandler;
  /** The dispatcher, with its watches noticed. */
  notice(dispatcher: Dispatcher): Dispatcher;
  /** From now on connections are not kept for another request. */
  startDraining(): void;
  /** Responses that are not sent completely, without watches. */
  readonly calls: number;
  /** The same with watches. */
  readonly responses: number;
  /** The same by the version of HTTP. Looks at each. */
  readonly streams: { readonly http1: number; readonly http2: number };
  /** Resolves when `done` holds or the time is up; looks whenever a response ends. */
  settle(done: () => boolean, timeoutMs: number, signal?: AbortSignal): Promise<void>;
}

export function createInFlight(watches: ReadonlySet<DescMethod>): InFlight {
  const open = new Set<HttpResponse>();
  const listeners = new Set<() => void>();
  let watching = 0;
  let draining = false;

  function changed(): void {
    for (const listener of [...listeners]) listener();
  }

  function closeAfter(response: HttpResponse): void {
    // HTTP/2 has GOAWAY instead and no such header.
    if ("stream" in response || response.headersSent) return;
    response.setHeader("connection", "close");
  }

  return {
    track: (handler) => (request, response) => {
      open.add(response);
      response.once("close", () => {
        open.delete(response);
        changed();
      });
      if (draining) closeAfter(response);
      handler(request, response);
    },
    notice: (dispatcher) => ({
      services: dispatcher.services,
      run: (method, input, call) => {
        const messages = dispatcher.run(method, input, call);
        return watches.has(method) ? noticed(messages) : messages;
      },
    }),
    startDraining() {
      draining = true;
      for (const response of open) closeAfter(response);
    },
    get calls() {
      return open.size - watching;
    },
    get responses() {
      return open.size;
    },
    get streams() {
      const http2 = [...open].filter((response) => "stream" in response).length;
      return { http1: open.size - http2, http2 };
    },
    settle: (done, timeoutMs, signal) =>
      new Promise((resolve) => {
        const timer = setTimeout(finish, timeoutMs);
        function look(): void {
          if (done()) finish();
        }
        function finish(): void {
          clearTimeout(timer);
          listeners.delete(look);
          signal?.removeEventListener("abort", finish);
          resolve();
        }
        listeners.add(look);
        signal?.addEventListener("abort", finish);
        if (signal?.aborted) finish();
        else look();
      }),
  };

  async function* noticed<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
    watching += 1;
    changed();
    try {
      yield* messages;
    } finally {
      watching -= 1;
    }
  }
}

export interface DrainOptions {
  readonly listener: Listener;
  readonly inFlight: InFlight;
  /** Ends what is still in flight with the given error. */
  readonly giveUp: (reason: LoquiError) => void;
  readonly drainMs: number;
  readonly flushMs: number;
  /** Aborted by someone who can't wait: cuts `drainMs` short. The errors are sent all the same. */
  readonly hurry: AbortSignal;
}

/**
 * Shuts the port: no new connections or streams, then up to `drainMs` for the
 * calls in flight, then an error in band for the rest and up to `flushMs` for
 * it to be sent, then the connections are closed.
 *
 * An HTTP/1.1 connection that is open already may bring one more request: it is
 * answered, with `connection: close`. To refuse it would lose a request that
 * was on its way.
 */
export async function drain({ listener, inFlight, giveUp, drainMs, flushMs, hurry }: DrainOptions): Promise<void> {
  inFlight.startDraining();
  listener.stopAccepting();
  await inFlight.settle(() => inFlight.calls <= 0, drainMs, hurry);
  giveUp(new LoquiError("shutting_down", "the server is shutting down"));
  await inFlight.settle(() => inFlight.responses === 0, flushMs);
  listener.closeAll();
  await listener.closed;
}
