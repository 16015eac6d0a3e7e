import { create, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import {
  type ChatCompletionChunk,
  ChatCompletionChunkSchema,
  ChatRole,
  ChatService,
  type CreateChatCompletionRequest,
  CreateChatCompletionRequestSchema,
  CreateChatCompletionResponseSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { EmbeddingService, StreamEmbeddingsResponseSchema } from "../../gen/loqui/v1/embedding_pb.ts";
import { LoquiError, openaiErrorBody } from "../../src/errors.ts";
import type { RequestContext, RequestRecord } from "../../src/request-context.ts";
import { createServer, type Server, type ServerOptions } from "../../src/server/server.ts";
import { implement, type ServiceImplementation } from "../../src/services/handlers.ts";
import { createLog } from "../../src/telemetry/log.ts";

/** Services whose answers the requested model's name decides, and what they have seen. */
export interface TestServices {
  readonly services: readonly ServiceImplementation[];
  readonly contexts: RequestContext[];
}

/** The text that the first message of a request holds. */
function textOf(request: CreateChatCompletionRequest): string {
  const content = request.messages[0]?.content?.content;
  return content?.case === "text" ? content.value : "";
}

function chunk(content: string): ChatCompletionChunk {
  return create(ChatCompletionChunkSchema, { id: "c", choices: [{ delta: { content } }] });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = () => reject(signal.reason);
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
}

/**
 * Models: `echo` repeats the text; `large` answers with as many letters as the
 * text says; `wait` never answers, `stuck` not even when it is aborted;
 * `overloaded`, `too-long`, `crash`, `say` (with the text) and `cut` (with a
 * part of it) fail. `count` streams as many chunks as the text says, `slow` the
 * same with 20 ms between them, `endless` until it is aborted, `deaf` the same
 * but returns then; `broken` fails after two chunks, `stuck` stops after one.
 */
export function createTestServices(): TestServices {
  const contexts: RequestContext[] = [];

  async function answer(request: CreateChatCompletionRequest, context: RequestContext): Promise<string> {
    switch (request.model) {
      case "wait":
        return aborted(context.signal);
      case "stuck":
        return new Promise(() => {});
      case "overloaded":
        throw new LoquiError("overloaded", "the queue is full: 8 requests", { retryAfterMs: 1500 });
      case "too-long":
        throw new LoquiError("context_too_long", "the prompt has 9 tokens: 4 fit", {
          param: "messages",
          promptTokens: 9,
          contextLength: 4,
        });
      case "say":
        throw new LoquiError("invalid_request", textOf(request));
      case "cut":
        throw new LoquiError("invalid_request", textOf(request).slice(0, -1));
      case "crash":
        throw new TypeError("cannot read /etc/secret");
      case "large":
        return "x".repeat(Number(textOf(request)));
      default:
        return textOf(request);
    }
  }

  async function* stream(request: CreateChatCompletionRequest, context: RequestContext) {
    const { signal } = context;
    switch (request.model) {
      case "endless":
        for (let index = 0; ; index++) {
          yield chunk(`${index} `);
          await Promise.race([new Promise((resolve) => setTimeout(resolve, 10)), aborted(signal)]);
        }
      case "deaf":
        for (let index = 0; !signal.aborted; index++) {
          yield chunk(`${index} `);
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        return;
      case "broken":
        yield chunk("0 ");
        yield chunk("1 ");
        throw new LoquiError("worker_crashed", "the model's process has ended");
      case "wait":
        await aborted(signal);
        return;
      case "stuck":
        yield chunk("0 ");
        await new Promise(() => {});
        return;
      default:
        for (let index = 0; index < Number(textOf(request)); index++) {
          if (request.model === "slow") await new Promise((resolve) => setTimeout(resolve, 20));
          yield chunk(`${index} `);
        }
    }
  }

  const chat = implement(ChatService, {
    async createChatCompletion(request, context) {
      contexts.push(context);
      const content = await answer(request, context);
      return create(CreateChatCompletionResponseSchema, {
        id: context.requestId,
        model: request.model,
        choices: [{ message: { role: ChatRole.ASSISTANT, content } }],
      });
    },
    streamChatCompletion(request, context) {
      contexts.push(context);
      return stream(request, context);
    },
  });

  const embedding = implement(EmbeddingService, {
    async *streamEmbeddings(requests, context) {
      contexts.push(context);
      for await (const { message } of requests) {
        if (message.case === "item") yield create(StreamEmbeddingsResponseSchema, { id: message.value.id });
      }
    },
  });

  return { services: [chat, embedding], contexts };
}

/** A request with one message of the user. */
export function chatRequest(
  model: string,
  text = "hello",
  more: MessageInitShape<typeof CreateChatCompletionRequestSchema> = {},
): MessageShape<typeof CreateChatCompletionRequestSchema> {
  const content = { content: { case: "text" as const, value: text } };
  return create(CreateChatCompletionRequestSchema, {
    model,
    messages: [{ role: ChatRole.USER, content }],
    ...more,
  } as MessageInitShape<typeof CreateChatCompletionRequestSchema>);
}

export interface TestServer extends Server, AsyncDisposable {
  readonly contexts: RequestContext[];
  readonly records: { record: RequestRecord; error: LoquiError | undefined }[];
}

/** A ready server on a free port. Every path of REST answers 404 with its name. */
export async function startTestServer(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const { services, contexts } = createTestServices();
  const records: TestServer["records"] = [];
  const server = await createServer({
    host: "127.0.0.1",
    port: 0,
    services,
    about: { name: "loqui", version: "0.0.0" },
    log: createLog({ level: "silent" }),
    // What requests on raw sockets ask for.
    allowedHosts: ["a", "x"],
    onRecord: (record, error) => records.push({ record, error }),
    rest: () => (request, response) => {
      const body = JSON.stringify(openaiErrorBody(new LoquiError("not_found", `no path ${request.url}`)));
      response.statusCode = 404;
      response.setHeader("content-type", "application/json");
      request.resume();
      request.on("end", () => response.end(body));
    },
    ...options,
    limits: { drainMs: 300, flushMs: 500, ...options.limits },
  });
  server.health.setReady();
  return {
    ...server,
    health: server.health,
    contexts,
    records,
    [Symbol.asyncDispose]: () => server.close({ force: true }),
  };
}

/** Waits until something holds, at most two seconds. */
export async function until(holds: () => boolean): Promise<void> {
  for (let index = 0; index < 2_000; index++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it did not become true within 20 s");
}
