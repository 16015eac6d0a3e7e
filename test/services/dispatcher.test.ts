import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  ChatCompletionChunkSchema,
  ChatRole,
  ChatService,
  CreateChatCompletionRequestSchema,
  CreateChatCompletionResponseSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../../src/errors.ts";
import type { IncomingCall, RequestRecord } from "../../src/request-context.ts";
import { createDispatcher } from "../../src/services/dispatcher.ts";
import { type Handlers, implement } from "../../src/services/handlers.ts";

const unary = ChatService.method.createChatCompletion;
const stream = ChatService.method.streamChatCompletion;

function setUp(handlers: Handlers<typeof ChatService>, maxTimeoutMs = 5_000) {
  const records: [RequestRecord, LoquiError | undefined][] = [];
  const shutdown = new AbortController();
  const dispatcher = createDispatcher({
    services: [implement(ChatService, handlers)],
    maxTimeoutMs,
    shutdownSignal: shutdown.signal,
    abortGraceMs: 200,
    onRecord: (record, error) => records.push([record, error]),
  });
  return { dispatcher, records, shutdown };
}

function incoming(more: Partial<IncomingCall> = {}): IncomingCall {
  return {
    protocol: "rest",
    requestId: "r1",
    header: () => undefined,
    metadata: { request: new Headers(), response: new Headers(), trailer: new Headers() },
    signal: new AbortController().signal,
    ...more,
  };
}

function question(more: object = {}) {
  const content = { content: { case: "text" as const, value: "Hi" } };
  return create(CreateChatCompletionRequestSchema, {
    model: "m",
    messages: [{ role: ChatRole.USER, content }],
    ...more,
  });
}

const answer = create(CreateChatCompletionResponseSchema, { id: "a" });
const chunk = create(ChatCompletionChunkSchema, { id: "c" });

async function failureOf(run: AsyncIterable<unknown>): Promise<LoquiError> {
  const error = await Array.fromAsync(run).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof LoquiError)) throw new Error(`not a LoquiError: ${String(error)}`);
  return error;
}

describe("dispatcher", () => {
  it("yields a unary answer and leaves a record", async () => {
    const { dispatcher, records } = setUp({ createChatCompletion: async () => answer });
    expect(await Array.fromAsync(dispatcher.run(unary, question(), incoming()))).toEqual([answer]);
    expect(records).toHaveLength(1);
    expect(records[0]?.[0]).toMatchObject({
      requestId: "r1",
      protocol: "rest",
      method: "loqui.v1.ChatService/CreateChatCompletion",
      outcome: "ok",
      firstMessageMs: expect.any(Number),
      durationMs: expect.any(Number),
    });
  });

  it.each([
    [{ temperature: 3.5 }, "temperature", "double.gte_lte", /^temperature: 3\.5 must be .* 2$/],
    [{ n: 0 }, "n", "uint32.gte_lte", /^n: 0 must be /],
    [{ messages: [] }, "messages", "repeated.min_items", /^messages is required$/],
    [{ model: "" }, "model", "string.min_bytes", /^model is required$/],
    [{ messages: [{}] }, "messages[0].role", "enum.not_in", /^messages\[0\]\.role is required$/],
    [{ logitBias: { a: 1 } }, "logit_bias.a", "string.pattern", /^logit_bias\.a: the key does not match/],
    [{ logitBias: { "05": 1 } }, "logit_bias.05", "string.pattern", /^logit_bias\.05: the key does not match/],
    [{ messages: [{ role: ChatRole.USER }] }, "messages[0]", "message.content", /^messages\[0\]: content is required/],
    [
      { messages: [{ role: ChatRole.TOOL, content: { content: { case: "text", value: "9" } } }] },
      "messages[0]",
      "message.tool_call_id",
      /^messages\[0\]: tool_call_id is required with role tool$/,
    ],
    [{ logitBias: { "5": 101 } }, "logit_bias.5", "double.gte_lte", /^logit_bias\.5: 101 must be /],
    [
      { messages: [{ role: ChatRole.USER, content: { content: { case: "parts", value: { parts: [{}] } } } }] },
      "messages[0].content[0].type",
      "required",
      /^messages\[0\]\.content\[0\]\.type: /,
    ],
  ])("refuses %j before the handler runs", async (fields, param, code, message) => {
    let called = false;
    const { dispatcher, records } = setUp({
      async createChatCompletion() {
        called = true;
        return answer;
      },
    });
    const error = await failureOf(dispatcher.run(unary, question(fields), incoming()));
    expect(error).toMatchObject({ kind: "invalid_request", param, code });
    expect(error.message).toMatch(message);
    expect(called).toBe(false);
    expect(records[0]?.[0].outcome).toBe("invalid_request");
  });

  it("says that a method without a handler is not implemented", async () => {
    const { dispatcher } = setUp({});
    const error = await failureOf(dispatcher.run(unary, question(), incoming()));
    expect(error).toMatchObject({ kind: "unimplemented", http: 501 });
  });

  it("hides what an unknown error says, and keeps it as the cause", async () => {
    const cause = new Error("/secret/path");
    const { dispatcher, records } = setUp({ createChatCompletion: () => Promise.reject(cause) });
    const error = await failureOf(dispatcher.run(unary, question(), incoming()));
    expect(error).toMatchObject({ kind: "internal", message: "internal error", cause });
    expect(records[0]?.[1]).toBe(error);
  });

  it("turns a handler that returns when aborted into a failure", async () => {
    const { dispatcher, records } = setUp(
      {
        async *streamChatCompletion(_, context) {
          yield chunk;
          await new Promise((done) => context.signal.addEventListener("abort", done));
        },
      },
      50,
    );
    const error = await failureOf(dispatcher.run(stream, question(), incoming()));
    expect(error).toMatchObject({ kind: "timeout", message: "the deadline of 50 ms has passed" });
    expect(records[0]?.[0].outcome).toBe("timeout");
  });

  it("lets the client's shorter deadline win, and never a longer one", async () => {
    const deadlines: number[] = [];
    const { dispatcher } = setUp({
      async createChatCompletion(_, context) {
        deadlines.push(Math.round(((context.deadline ?? 0) - performance.now()) / 1000));
        return answer;
      },
    });
    await Array.fromAsync(dispatcher.run(unary, question(), incoming({ timeoutMs: 2_000 })));
    await Array.fromAsync(dispatcher.run(unary, question(), incoming({ timeoutMs: 900_000 })));
    expect(deadlines).toEqual([2, 5]);
  });

  it("aborts the handler when the client leaves", async () => {
    const client = new AbortController();
    const { dispatcher, records } = setUp({
      createChatCompletion: (_, { signal }) =>
        new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason))),
    });
    setTimeout(() => client.abort(), 20);
    const error = await failureOf(dispatcher.run(unary, question(), incoming({ signal: client.signal })));
    expect(error.kind).toBe("cancelled");
    expect(records[0]?.[0].outcome).toBe("cancelled");
  });

  it.each(["unary", "stream"])("ends a %s call whose handler doesn't notice that it was aborted", async (kind) => {
    const stuck = new Promise<never>(() => {});
    const { dispatcher, records, shutdown } = setUp({
      createChatCompletion: () => stuck,
      async *streamChatCompletion() {
        yield chunk;
        await stuck;
      },
    });
    const failed = failureOf(dispatcher.run(kind === "unary" ? unary : stream, question(), incoming()));
    shutdown.abort(new LoquiError("shutting_down", "the server is shutting down"));
    expect(await failed).toMatchObject({ kind: "shutting_down" });
    expect(records.map(([record]) => record.outcome)).toEqual(["shutting_down"]);
  });

  it("waits for a handler that ends within the grace", async () => {
    const steps: string[] = [];
    const { dispatcher } = setUp(
      {
        async *streamChatCompletion(_, { signal }) {
          try {
            yield chunk;
            await new Promise((done) => signal.addEventListener("abort", done));
          } finally {
            await new Promise((done) => setTimeout(done, 50));
            steps.push("handler");
          }
        },
      },
      20,
    );
    await failureOf(dispatcher.run(stream, question(), incoming()));
    steps.push("call");
    expect(steps).toEqual(["handler", "call"]);
  });

  it("lets a reader go whose handler doesn't end", async () => {
    const { dispatcher, records } = setUp({
      async *streamChatCompletion() {
        try {
          yield chunk;
        } finally {
          await new Promise(() => {});
        }
      },
    });
    for await (const _ of dispatcher.run(stream, question(), incoming())) break;
    expect(records.map(([record]) => record.outcome)).toEqual(["cancelled"]);
  });

  it("leaves a record of a stream whose reader stops", async () => {
    const { dispatcher, records } = setUp({
      async *streamChatCompletion() {
        for (;;) yield chunk;
      },
    });
    for await (const _ of dispatcher.run(stream, question(), incoming())) break;
    expect(records.map(([record]) => record.outcome)).toEqual(["cancelled"]);
  });

  it("ends what is in flight with the reason of the shutdown", async () => {
    const { dispatcher, shutdown } = setUp({
      async *streamChatCompletion(_, { signal }) {
        yield chunk;
        await new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
      },
    });
    setTimeout(() => shutdown.abort(new LoquiError("shutting_down", "the server is shutting down")), 20);
    expect(await failureOf(dispatcher.run(stream, question(), incoming()))).toMatchObject({ kind: "shutting_down" });
  });
});
