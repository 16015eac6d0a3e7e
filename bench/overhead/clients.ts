import { Agent, request } from "node:http";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import { ChatCompletionChunkSchema, ChatRole, CreateChatCompletionRequestSchema } from "../../gen/loqui/v1/chat_pb.ts";

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

/** Asks over REST and reads the server-sent events: the cheapest reader there is, so that the server is measured. */
export function restClient(url: string): (content: string, tokens: number) => Promise<StreamTimes> {
  const agent = new Agent({ keepAlive: true });
  return (content, tokens) =>
    new Promise((resolve, reject) => {
      const started = performance.now();
      let first: number | undefined;
      let tail = "";
      const call = request(`${url}/v1/chat/completions`, {
        method: "POST",
        agent,
        headers: { "content-type": "application/json" },
      });
      call.on("response", (response) => {
        response.setEncoding("utf8");
        response.on("data", (text: string) => {
          if (first === undefined && /"content":"[^"]/.test(text)) first = performance.now() - started;
          tail = (tail + text).slice(-4096);
        });
        response.on("end", () => {
          if (!tail.endsWith("data: [DONE]\n\n")) return reject(new Error(tail));
          resolve({ firstTokenMs: first ?? Number.NaN, tokens: Number(/"completion_tokens":(\d+)/.exec(tail)?.[1]) });
        });
      });
      call.on("error", reject);
      call.end(
        JSON.stringify({
          model: "m135",
          messages: [{ role: "user", content }],
          max_tokens: tokens,
          ignore_eos: true,
          stream: true,
          stream_options: { include_usage: true },
          ...sampling,
        }),
      );
    });
}

/** Asks over gRPC by @grpc/grpc-js. */
export function grpcClient(url: string): (content: string, tokens: number) => Promise<StreamTimes> {
  const client = new Client(new URL(url).host, credentials.createInsecure());
  return (content, tokens) =>
    new Promise((resolve, reject) => {
      const started = performance.now();
      let first: number | undefined;
      let generated = 0;
      const call = client.makeServerStreamRequest(
        "/loqui.v1.ChatService/StreamChatCompletion",
        (message: Uint8Array) => Buffer.from(message),
        (bytes) => fromBinary(ChatCompletionChunkSchema, bytes),
        toBinary(
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
        ),
      );
      call.on("data", (chunk: ReturnType<typeof fromBinary<typeof ChatCompletionChunkSchema>>) => {
        if (first === undefined && (chunk.choices[0]?.delta?.content ?? "") !== "") first = performance.now() - started;
        generated = chunk.usage?.completionTokens ?? generated;
      });
      call.on("end", () => resolve({ firstTokenMs: first ?? Number.NaN, tokens: generated }));
      call.on("error", reject);
    });
}
