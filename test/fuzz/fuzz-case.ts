/** How a request travels. `raw1` writes its bytes on a socket of its own, so that its head may be malformed too. */
export type Transport = "http1" | "http2" | "raw1";

/** One request, drawn from a seed. */
export interface FuzzCase {
  readonly number: number;
  readonly transport: Transport;
  readonly httpMethod: string;
  /** The request target: path and query, as it goes on the wire. */
  readonly target: string;
  /** Without `host` and `content-length`, which the transport adds where they are missing. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Only `raw1`: what is sent instead of the head that the other fields make. */
  readonly rawHead?: Buffer;
  /** HTTP/1.1: the body goes in chunks instead of by its length. */
  readonly chunked: boolean;
  /** The client leaves after so many milliseconds, answered or not. */
  readonly leaveAfterMs?: number;
  /** What is sent of the body before the client waits to leave. */
  readonly bodyShort?: number;
  /** What was done to it, for people. */
  readonly notes: readonly string[];
}

/** The case as a person needs it to send it again. */
export function printCase(fuzzCase: FuzzCase): string {
  const { number, transport, httpMethod, target, headers, body, notes, rawHead, leaveAfterMs, chunked } = fuzzCase;
  const printable = /^[\x20-\x7e\n]*$/.test(body.toString("latin1"));
  return JSON.stringify(
    {
      number,
      transport,
      request: `${httpMethod} ${shortened(target)}`,
      headers,
      ...(rawHead !== undefined && { rawHead: shortened(rawHead.toString("latin1")) }),
      ...(chunked && { chunked }),
      ...(leaveAfterMs !== undefined && { leaveAfterMs }),
      bodyBytes: body.length,
      body: shortened(printable ? body.toString("latin1") : `base64:${body.toString("base64")}`),
      notes,
    },
    undefined,
    2,
  );
}

function shortened(text: string): string {
  return text.length > 2_000 ? `${text.slice(0, 2_000)}… (${text.length} characters)` : text;
}
