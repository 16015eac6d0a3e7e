import { Agent, type IncomingHttpHeaders, request as requestHttp1 } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import type { FuzzCase } from "./fuzz-case.ts";

/** What became of a case. */
export type Outcome =
  | Answer
  /** The client left before the answer was complete, as the case says. */
  | { readonly kind: "left" }
  /** The stream or the connection ended without a complete answer. */
  | { readonly kind: "broken"; readonly how: string }
  /** No end within the deadline. */
  | { readonly kind: "hung" }
  /** Node's client refuses to send it. */
  | { readonly kind: "unsendable"; readonly why: string };

/** A complete response. */
export interface Answer {
  readonly kind: "answer";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Sends cases over connections that it keeps and shares. */
export interface Sender extends AsyncDisposable {
  send(fuzzCase: FuzzCase, deadlineMs: number): Promise<Outcome>;
}

const sessionCount = 4;

/** A sender to a server on this machine. */
export function createSender(url: string): Sender {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const sessions: (ClientHttp2Session | undefined)[] = Array.from({ length: sessionCount });

  function session(number: number): ClientHttp2Session {
    const slot = number % sessionCount;
    const open = sessions[slot];
    if (open !== undefined && !open.closed && !open.destroyed) return open;
    const made = connectHttp2(url, { settings: { initialWindowSize: 1 << 20 } });
    // What ends a session is told to its streams.
    made.on("error", () => {});
    made.on("goaway", () => made.close());
    sessions[slot] = made;
    return made;
  }

  return {
    send(fuzzCase, deadlineMs) {
      const { promise, resolve } = Promise.withResolvers<Outcome>();
      let stop = () => {};
      const leave = () => {
        resolve({ kind: "left" });
        stop();
      };
      const late = () => {
        resolve({ kind: "hung" });
        stop();
      };
      const { leaveAfterMs } = fuzzCase;
      const timer = leaveAfterMs === undefined ? setTimeout(late, deadlineMs) : setTimeout(leave, leaveAfterMs);
      try {
        if (fuzzCase.transport === "http1") stop = sendHttp1(fuzzCase, { hostname, port, agent }, resolve);
        else if (fuzzCase.transport === "http2") stop = sendHttp2(fuzzCase, session(fuzzCase.number), url, resolve);
        else stop = sendRaw(fuzzCase, { hostname, port }, resolve);
      } catch (error) {
        resolve({ kind: "unsendable", why: (error as NodeJS.ErrnoException).code ?? String(error) });
      }
      return promise.finally(() => clearTimeout(timer));
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
      for (const open of sessions) open?.destroy();
    },
  };
}

type Settle = (outcome: Outcome) => void;

function sendHttp1(
  fuzzCase: FuzzCase,
  { hostname, port, agent }: { hostname: string; port: string; agent: Agent },
  settle: Settle,
): () => void {
  const { httpMethod, target, headers, body, chunked, bodyShort } = fuzzCase;
  const bodiless = body.length === 0 && /^(GET|HEAD|DELETE|OPTIONS)$/.test(httpMethod);
  const framing = bodiless ? {} : chunked ? { "transfer-encoding": "chunked" } : { "content-length": body.length };
  const request = requestHttp1({
    ...{ hostname, port, agent, method: httpMethod, path: target },
    headers: { ...headers, ...framing },
  });
  request.on("error", (error: NodeJS.ErrnoException) => settle({ kind: "broken", how: error.code ?? error.message }));
  request.on("response", (response) => {
    const chunks: Buffer[] = [];
    response.on("data", (chunk: Buffer) => chunks.push(chunk));
    response.on("error", (error: NodeJS.ErrnoException) =>
      settle({ kind: "broken", how: error.code ?? error.message }),
    );
    response.on("end", () =>
      settle({
        ...{ kind: "answer", status: response.statusCode ?? 0, headers: flat(response.headers) },
        ...{ trailers: flat(response.trailers), body: Buffer.concat(chunks) },
      }),
    );
  });
  if (bodyShort !== undefined) request.write(body.subarray(0, bodyShort));
  else request.end(body);
  return () => request.destroy();
}

function sendHttp2(fuzzCase: FuzzCase, session: ClientHttp2Session, url: string, settle: Settle): () => void {
  const { httpMethod, target, headers, body, chunked, bodyShort } = fuzzCase;
  const stream: ClientHttp2Stream = session.request(
    { ":method": httpMethod, ":path": target, ":authority": new URL(url).host, ...headers },
    { endStream: body.length === 0 && chunked },
  );
  let answer: { status: number; headers: Record<string, string> } | undefined;
  let trailers: Record<string, string> = {};
  let ended = false;
  let failure: string | undefined;
  const chunks: Buffer[] = [];
  stream.on("response", (fields) => {
    answer = { status: Number(fields[":status"]), headers: flat(fields) };
  });
  stream.on("trailers", (fields) => {
    trailers = flat(fields);
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => {
    ended = true;
  });
  stream.on("error", (error: NodeJS.ErrnoException) => {
    failure = `${error.code ?? ""} ${error.message}`;
  });
  stream.on("close", () => {
    if (answer === undefined || !ended || stream.rstCode !== 0)
      settle({
        kind: "broken",
        how: failure ?? `reset ${stream.rstCode}${answer === undefined ? "" : " in the answer"}`,
      });
    else settle({ kind: "answer", ...answer, trailers, body: Buffer.concat(chunks) });
  });
  if (bodyShort !== undefined) stream.write(body.subarray(0, bodyShort));
  else if (!(body.length === 0 && chunked)) stream.end(body);
  return () => stream.close(8);
}

/** How long a socket of a malformed request may be silent. */
const silenceMs = 300;

function sendRaw(fuzzCase: FuzzCase, { hostname, port }: { hostname: string; port: string }, settle: Settle) {
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  const timer = setTimeout(() => socket.destroy(), silenceMs);
  socket.on("data", (chunk) => {
    chunks.push(chunk);
    timer.refresh();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    clearTimeout(timer);
    const text = Buffer.concat(chunks).toString("latin1");
    const statuses = [...text.matchAll(/^HTTP\/1\.[01] (\d{3}) /gm)].map(([, status]) => Number(status));
    const status = statuses.find((each) => each >= 500) ?? statuses.at(-1);
    // It may wait for a body that is longer than what came, or have taken the request for part of another.
    if (status === undefined) settle({ kind: "left" });
    else settle({ kind: "answer", status, headers: {}, trailers: {}, body: Buffer.concat(chunks) });
  });
  socket.write(Buffer.concat([fuzzCase.rawHead ?? Buffer.alloc(0), fuzzCase.body]));
  return () => socket.destroy();
}

function flat(headers: IncomingHttpHeaders): Record<string, string> {
  const entries = Object.entries(headers).filter(([name]) => !name.startsWith(":"));
  return Object.fromEntries(
    entries.map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : `${value}`]),
  );
}
