import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { workerOf } from "../support/processes.ts";

/** An answer that goes on for longer than any test waits, with {@link endlessParameters}. */
export const endless = { reply: ["on ", "and ", "off "], loop: true, contextLength: 131_072 };
export const endlessParameters = { n_ctx: 131_072, sequences: 1 };

/** A chat completion over REST. */
export function post(url: string, body: object, init: RequestInit = {}): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ messages: [{ role: "user", content: "Hi!" }], ...body }),
    ...init,
    headers: { "content-type": "application/json", ...init.headers },
  });
}

export function grpcClient(url: string) {
  return createClient(ChatService, createGrpcTransport({ baseUrl: url }));
}

/** The same question over gRPC. */
export function question(model: string, text = "Hi!") {
  return {
    model,
    messages: [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: text } } }],
  };
}

/** What `GET /v1/models/MODEL` says. */
export async function modelOf(
  url: string,
  model: string,
): Promise<{ state: string; in_flight: number; error?: { message: string } | null }> {
  return (await fetch(`${url}/v1/models/${model}`)).json() as never;
}

/** The `data:` events of a stream, as text. */
export async function events(response: Response): Promise<string[]> {
  return (await response.text())
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => event.replace(/^data: /, ""));
}

/** Reads a stream of messages to its end, and does something to it in the middle: when the second has come. */
export async function readDisturbed(stream: AsyncIterable<unknown>, disturb: () => void): Promise<void> {
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 2) disturb();
}

export const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Waits for a condition, twenty seconds at most. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (performance.now() < end) {
    if (await condition()) return;
    await pause(20);
  }
  throw new Error(`waited in vain until ${what}`);
}

/**
 * Ends a model's worker when a request is in flight there, as a fault in native
 * code does it unless another signal is named, and waits until another is
 * ready, for which the request is sent again.
 */
export async function killInFlight(url: string, model: string, signal: NodeJS.Signals = "SIGSEGV"): Promise<void> {
  const pid = workerOf(model);
  if (pid === undefined) throw new Error(`no worker of ${model}`);
  // The request has reached the worker some milliseconds after it is counted.
  await until("a request is in flight", async () => (await modelOf(url, model)).in_flight > 0);
  await pause(300);
  process.kill(pid, signal);
  await until("another worker is ready", async () => {
    const now = workerOf(model);
    return now !== undefined && now !== pid && (await modelOf(url, model)).state === "ready";
  });
}
