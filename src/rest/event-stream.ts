import { errorJson } from "./error-response.ts";
import type { Exchange } from "./exchange.ts";
import { write } from "./http.ts";

/** How server-sent events are kept going. */
export interface EventStreamOptions {
  /** Errors carry an `event:` line, as all events of such a stream do. */
  readonly named: boolean;
  /** A comment is sent after this silence, so that no proxy or client gives up. */
  readonly keepAliveMs: number;
  /**
   * The headers are held back this long for the first event. Until then a failure
   * is a response with a status of its own; afterwards it is an event.
   */
  readonly holdMs: number;
}

/** A response of server-sent events (WHATWG HTML, 9.2). */
export interface EventStream {
  /** Sends one event in one write. False where the client is slower: wait for `drained`. */
  send(json: string, name: string | undefined): boolean;
  /** Ends a complete stream, with `data: [DONE]` where `done` says so. */
  end(done: boolean): void;
  /** Stops the timer. Must be called. */
  close(): void;
}

/**
 * Prepares the stream; nothing is sent before the first event or the end of the
 * hold. A failure of the exchange is then sent in band, as the last event and
 * without `[DONE]`. One timer for the whole stream, none for an event.
 */
export function openEventStream(exchange: Exchange, options: EventStreamOptions): EventStream {
  const { response } = exchange;
  let opened = false;
  let blocked = false;
  let lastWrite = performance.now();

  function open(): void {
    if (opened) return;
    opened = true;
    response.statusCode = 200;
    for (const [name, value] of Object.entries(eventStreamHeaders)) response.setHeader(name, value);
    exchange.failInBand = (error) => {
      write(response, frame(errorJson(error, exchange.errorFormat), options.named ? "error" : undefined));
      response.end();
    };
  }

  const onDrain = () => {
    blocked = false;
  };
  response.on("drain", onDrain);

  function tick(): void {
    if (exchange.ended) return;
    const now = performance.now();
    if (!blocked && (!opened || now - lastWrite >= options.keepAliveMs)) {
      try {
        open();
        write(response, ":\n\n");
      } catch (error) {
        exchange.fail(error);
        return;
      }
      lastWrite = now;
    }
    timer = setTimeout(tick, Math.max(1, options.keepAliveMs - (blocked ? 0 : now - lastWrite)));
  }
  let timer = setTimeout(tick, options.holdMs);

  return {
    send(json, name) {
      if (!opened) {
        open();
        // From the hold to the silence, which may be shorter.
        clearTimeout(timer);
        timer = setTimeout(tick, options.keepAliveMs);
      }
      lastWrite = performance.now();
      const ready = write(response, frame(json, name));
      blocked = !ready;
      return ready;
    },
    end(done) {
      open();
      exchange.end();
      if (done) response.end("data: [DONE]\n\n");
      else response.end();
    },
    close() {
      clearTimeout(timer);
      response.off("drain", onDrain);
    },
  };
}

/** No `connection` header: HTTP/2 has none. */
export const eventStreamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
} as const;

/** What ends a line, by the standard or for readers such as Python's `splitlines`. */
const lineEnds = /[\r\n\u0085\u2028\u2029]/;

function frame(json: string, name: string | undefined): string {
  const data = lineEnds.test(json) ? oneLine(json) : json;
  return name === undefined ? `data: ${data}\n\n` : `event: ${name}\ndata: ${data}\n\n`;
}

function oneLine(json: string): string {
  // Text of a raw_json field keeps its line breaks; between JSON tokens a space is the same. The others stand in strings.
  return json
    .replace(/[\r\n]+/g, " ")
    .replace(/[\u0085\u2028\u2029]/g, (end) => `\\u${end.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
