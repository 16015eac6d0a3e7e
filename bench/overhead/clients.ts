/**
 * The cheapest clients there are, so that the server is measured and not they:
 * sockets, and requests and responses as bytes.
 */
import { connect, type Socket } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ChatCompletionChunkSchema, ChatRole, CreateChatCompletionRequestSchema } from "../../gen/loqui/v1/chat_pb.ts";
import { createFrameReader, frame, frameType } from "../../test/support/http2-frames.ts";

/** One stream as its client saw it. */
export interface StreamTimes {
  /** From the request to the first chunk with text, in milliseconds. */
  readonly firstTokenMs: number;
  /** Tokens generated, by the usage chunk. */
  readonly tokens: number;
}

const sampling = { temperature: 0.8, top_p: 0.95, top_k: 40, min_p: 0.05, seed: 7 };

/** Tokens of the prompt that a content becomes. */
export async function promptTokens(url: string, content: string): Promise<number> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "m135", messages: [{ role: "user", content }], max_tokens: 1 }),
  });
  const body = (await response.json()) as { usage: { prompt_tokens: number } };
  return body.usage.prompt_tokens;
}

/** Asks over REST and reads the server-sent events, a connection for each call. */
export function restClient(url: string): (content: string, tokens: number) => Promise<StreamTimes> {
  return async (content, tokens) => {
    const body = JSON.stringify({
      model: "m135",
      messages: [{ role: "user", content }],
      max_tokens: tokens,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
      ...sampling,
    });
    const head = [
      "POST /v1/chat/completions HTTP/1.1",
      `host: ${new URL(url).host}`,
      "content-type: application/json",
      `content-length: ${Buffer.byteLength(body)}`,
    ].join("\r\n");
    const started = performance.now();
    let first: number | undefined;
    let tail = "";
    await exchange(url, `${head}\r\n\r\n${body}`, (bytes) => {
      const text = bytes.toString("latin1");
      if (first === undefined && /"content":"[^"]/.test(text)) first = performance.now() - started;
      tail = (tail + text).slice(-2048);
      return tail.endsWith("\r\n0\r\n\r\n");
    });
    if (!tail.includes("data: [DONE]")) throw new Error(tail);
    return { firstTokenMs: first ?? Number.NaN, tokens: Number(/"completion_tokens":(\d+)/.exec(tail)?.[1]) };
  };
}

/** Asks over gRPC, a connection for each call, with windows that never have to be opened again. */
export function grpcClient(url: string): (content: string, tokens: number) => Promise<StreamTimes> {
  const headers = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/loqui.v1.ChatService/StreamChatCompletion",
    ":authority": new URL(url).host,
    "content-type": "application/grpc",
    te: "trailers",
  };
  return async (content, tokens) => {
    const message = toBinary(
      CreateChatCompletionRequestSchema,
      create(CreateChatCompletionRequestSchema, {
        model: "m135",
        messages: [{ role: ChatRole.USER, content: { content: { case: "text", value: content } } }],
        maxTokens: tokens,
        ignoreEos: true,
        streamOptions: { includeUsage: true },
        temperature: sampling.temperature,
        topP: sampling.top_p,
        topK: sampling.top_k,
        minP: sampling.min_p,
        seed: BigInt(sampling.seed),
      }),
    );
    const request = Buffer.concat([
      frame.opening(),
      frame.headers(1, headers),
      frame.data(1, Buffer.concat([Buffer.of(0), uint32(message.length), message])),
    ]);
    const started = performance.now();
    let first: number | undefined;
    let messages = 0;
    let rest = Buffer.alloc(0);
    let last = rest;
    let ended = false;
    const reader = createFrameReader((type, flags, payload) => {
      if (type === frameType.headers) ended ||= (flags & 1) !== 0;
      if (type !== frameType.data) return;
      rest = Buffer.concat([rest, payload]);
      for (let length = messageLength(rest); length <= rest.length; length = messageLength(rest)) {
        last = rest.subarray(5, length);
        rest = rest.subarray(length);
        messages += 1;
        // The first one carries the role only.
        if (messages === 2) first = performance.now() - started;
      }
    });
    await exchange(url, request, (bytes) => {
      reader(bytes);
      return ended;
    });
    const { usage } = fromBinary(ChatCompletionChunkSchema, last);
    return { firstTokenMs: first ?? Number.NaN, tokens: usage?.completionTokens ?? 0 };
  };
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Of the first gRPC message with its prefix; infinite where there is no whole prefix. */
function messageLength(bytes: Buffer): number {
  return bytes.length < 5 ? Number.POSITIVE_INFINITY : 5 + bytes.readUInt32BE(1);
}

/** Sends a request and hands on what comes, until `take` says that it is all. */
export function exchange(url: string, request: string | Buffer, take: (bytes: Buffer) => boolean): Promise<void> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const buffer = Buffer.alloc(64 * 1024);
    const socket: Socket = connect({
      host: hostname,
      port: Number(port),
      onread: {
        buffer,
        callback(length) {
          if (take(buffer.subarray(0, length))) {
            resolve();
            socket.destroy();
          }
          return true;
        },
      },
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the server closed the connection")));
    socket.write(request);
  });
}
