import { exchange } from "../overhead/clients.ts";

/** What a stream is asked for, beside what all have in common. */
export interface StreamOrder {
  readonly content: string;
  /** To generate. The text of a single one may be but the beginning of a character, which is no text yet. */
  readonly tokens: number;
  /** Fields of the request that not every row has, such as a grammar. */
  readonly fields?: Readonly<Record<string, unknown>>;
  /** Told when text comes, with the number of chunks so far; false ends the stream there. */
  onChunks?(chunks: number): boolean;
}

/** A stream as its client saw it. */
export interface Stream {
  /** From the request to the first text, in milliseconds. */
  readonly firstTokenMs: number;
  /** When text came, by `performance.now`. */
  readonly arrivals: readonly number[];
  /** By the usage chunk; absent where the client ended the stream. */
  readonly usage?: { readonly promptTokens: number; readonly tokens: number };
}

/** The longest that a single stream may take. */
const deadlineMs = 240_000;

/** What a sampler usually has to do. */
const sampling = { temperature: 0.8, top_p: 0.95, top_k: 40, min_p: 0.05, seed: 7 };

/** Asks for a chat completion over REST and reads the server-sent events, on a connection of its own. */
export async function stream(url: string, order: StreamOrder): Promise<Stream> {
  const body = JSON.stringify({
    model: "bench",
    messages: [{ role: "user", content: order.content }],
    max_tokens: order.tokens,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
    ...sampling,
    ...order.fields,
  });
  const head = [
    "POST /v1/chat/completions HTTP/1.1",
    `host: ${new URL(url).host}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
  ].join("\r\n");
  const started = performance.now();
  const arrivals: number[] = [];
  let chunks = 0;
  let left = false;
  let tail = "";
  let refused = false;
  const answered = exchange(url, `${head}\r\n\r\n${body}`, (bytes) => {
    const text = bytes.toString("latin1");
    if (tail === "") refused = !text.startsWith("HTTP/1.1 200");
    tail = (tail + text).slice(-4096);
    const found = text.match(/"content":"[^"]/g)?.length ?? 0;
    if (found > 0) {
      chunks += found;
      arrivals.push(performance.now());
      left = order.onChunks?.(chunks) === false;
    }
    return left || refused || tail.endsWith("\r\n0\r\n\r\n");
  });
  await withDeadline(answered).catch((cause) => {
    throw new Error(`${url}, after ${chunks} chunks: ${tail.slice(-600)}`, { cause });
  });
  const firstTokenMs = (arrivals[0] ?? Number.NaN) - started;
  if (left) return { firstTokenMs, arrivals };
  const promptTokens = Number(/"prompt_tokens":(\d+)/.exec(tail)?.[1]);
  const tokens = Number(/"completion_tokens":(\d+)/.exec(tail)?.[1]);
  if (!tail.includes("data: [DONE]") || tokens !== order.tokens) {
    throw new Error(`${url} did not answer with ${order.tokens} tokens: ${tail.slice(-600)}`);
  }
  return { firstTokenMs, arrivals, usage: { promptTokens, tokens } };
}

let prompts = 0;

/**
 * A prompt of about so many tokens, for the random models' tokens are bytes. Its
 * first ones are a number with the last digit first, so that what is in the
 * cache of those before is of hardly any use.
 */
export function newContent(tokens: number): string {
  const name = [...(prompts++).toString(36).padStart(6, "0")].reverse().join("");
  return `${name} ${"the server is running ".repeat(Math.ceil(tokens / 22))}`.slice(0, tokens);
}

async function withDeadline(answered: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`a stream took more than ${deadlineMs / 1000} s`)), deadlineMs);
  });
  try {
    await Promise.race([answered, late]);
  } finally {
    clearTimeout(timer);
  }
}
