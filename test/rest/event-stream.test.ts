import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterEach, describe, expect, test } from "vitest";
import {
  type ChatCompletionChunk,
  ChatCompletionChunkSchema,
  ChatRole,
  ChatService,
  FinishReason,
} from "../../gen/loqui/v1/chat_pb.ts";
import { type ModelEvent, ModelEventSchema, ModelService, PullModelEventSchema } from "../../gen/loqui/v1/model_pb.ts";
import { type ErrorKind, LoquiError } from "../../src/errors.ts";
import type { RequestContext } from "../../src/request-context.ts";
import type { RestLimits } from "../../src/rest/limits.ts";
import { implement } from "../../src/services/handlers.ts";
import { ask, type HttpVersion, open, type RestServer, startRestServer } from "./rest-server.ts";

type Chunks = AsyncIterable<ChatCompletionChunk>;

let chunks: (context: RequestContext) => Chunks;
let modelEvents: (context: RequestContext) => AsyncIterable<ModelEvent>;
let server: RestServer;

async function start(limits: Partial<RestLimits> = {}, maxTimeoutMs = 60_000): Promise<void> {
  server = await startRestServer({
    implementations: [
      implement(ChatService, { streamChatCompletion: (_, context) => chunks(context) }),
      implement(ModelService, {
        watchModels: (_, context) => modelEvents(context),
        async *pullModel({ model }) {
          yield create(PullModelEventSchema, { event: { case: "started", value: { model } } });
          yield create(PullModelEventSchema, { event: { case: "completed", value: {} } });
        },
      }),
    ],
    limits,
    maxTimeoutMs,
  });
}
afterEach(() => server[Symbol.asyncDispose]());

type Choice = MessageInitShape<typeof ChatCompletionChunkSchema>["choices"];

function chunk(choices: Choice = [{ delta: { content: "hi" } }]): ChatCompletionChunk {
  return create(ChatCompletionChunkSchema, {
    id: "c",
    object: "chat.completion.chunk",
    created: 1,
    model: "m",
    choices: choices ?? [],
  });
}

const stream = {
  path: "/v1/chat/completions",
  body: { model: "m", messages: [{ role: "user", content: "hello" }], stream: true },
};
const head = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[';
const hi = `data: ${head}{"index":0,"delta":{"content":"hi"},"finish_reason":null,"logprobs":null}]}\n\n`;

/** Resolves, and says with what, when the context is aborted. */
function aborted(context: RequestContext): Promise<LoquiError> {
  return new Promise((resolve) => {
    if (context.signal.aborted) resolve(context.signal.reason);
    else context.signal.addEventListener("abort", () => resolve(context.signal.reason), { once: true });
  });
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each<HttpVersion>(["HTTP/1.1", "HTTP/2"])("%s", (version) => {
  describe("with the default limits", () => {
    test("an unnamed stream, byte by byte", async () => {
      await start();
      chunks = async function* () {
        yield chunk([{ delta: { role: ChatRole.ASSISTANT, content: "" } }]);
        yield chunk();
        yield chunk([{ delta: { content: "line\nbreak\u2028\u2029\u0085 ü 🦙" } }]);
        yield chunk([{ delta: {}, finishReason: FinishReason.STOP }]);
        yield create(ChatCompletionChunkSchema, {
          id: "c",
          object: "chat.completion.chunk",
          created: 1,
          model: "m",
          choices: [],
          usage: { promptTokens: 3, completionTokens: 2, totalTokens: 5 },
        });
      };
      const response = await ask(server, version, { ...stream, headers: { "x-request-id": "r" } });
      expect(response.status).toBe(200);
      expect(response.headers).toEqual({
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        "x-request-id": "r",
        ...(version === "HTTP/1.1" && { connection: "close", "transfer-encoding": "chunked" }),
      });
      expect(response.text()).toBe(
        [
          `data: ${head}{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"logprobs":null}]}`,
          `data: ${head}{"index":0,"delta":{"content":"hi"},"finish_reason":null,"logprobs":null}]}`,
          `data: ${head}{"index":0,"delta":{"content":"line\\nbreak\\u2028\\u2029\\u0085 ü 🦙"},"finish_reason":null,"logprobs":null}]}`,
          `data: ${head}{"index":0,"delta":{},"finish_reason":"stop","logprobs":null}]}`,
          `data: ${head}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`,
          "data: [DONE]",
          "",
        ].join("\n\n"),
      );
      await expect.poll(() => server.records.at(-1)?.outcome).toBe("ok");
    });

    test("a stream without messages is complete", async () => {
      await start();
      chunks = async function* () {};
      const response = await ask(server, version, stream);
      expect([response.status, response.text()]).toEqual([200, "data: [DONE]\n\n"]);
    });

    test("named events, without [DONE]", async () => {
      await start();
      const response = await ask(server, version, { path: "/v1/models/a/b:pull", body: {} });
      expect(response.text()).toMatch(
        /^event: pull\.started\ndata: \{"type":"pull\.started","model":"a\/b".*\}\n\nevent: pull\.completed\ndata: \{"type":"pull\.completed".*\}\n\n$/,
      );
    });

    test("line breaks of raw JSON don't break an event", async () => {
      await start();
      chunks = async function* () {
        yield create(ChatCompletionChunkSchema, { id: "c", extra: '{\r\n  "note":\n\n "a\\nb"}' });
      };
      const response = await ask(server, version, stream);
      const [event, done, rest] = response.text().split("\n\n");
      expect([done, rest]).toEqual(["data: [DONE]", ""]);
      expect(event).not.toContain("\n");
      expect(JSON.parse(event?.slice("data: ".length) ?? "")).toMatchObject({ id: "c", note: "a\nb" });
    });

    test("one event, one write: it arrives before the next is made", async () => {
      await start();
      const { promise: next, resolve } = Promise.withResolvers<void>();
      chunks = async function* () {
        yield chunk();
        await next;
        yield chunk();
      };
      const response = await open(server, version, stream);
      expect(await response.until((text) => text !== "")).toBe(hi);
      resolve();
      await response.ended;
      expect(response.text()).toBe(`${hi}${hi}data: [DONE]\n\n`);
    });

    test.each<[ErrorKind, number]>([
      ["overloaded", 429],
      ["model_not_found", 404],
      ["model_unavailable", 503],
    ])("a failure before the first event is a response of its own: %s", async (kind, status) => {
      await start();
      // biome-ignore lint/correctness/useYield: it fails before
      chunks = async function* () {
        throw new LoquiError(kind, "no", { retryAfterMs: 3000 });
      };
      const response = await ask(server, version, stream);
      expect(response.status).toBe(status);
      expect(response.headers).toMatchObject({ "content-type": "application/json", "retry-after": "3" });
      expect(response.json()).toMatchObject({ error: { message: "no" } });
    });

    test("a failure in mid-stream is the last event, without [DONE]", async () => {
      await start();
      chunks = async function* () {
        yield chunk();
        throw new LoquiError("worker_crashed", "the worker died");
      };
      const response = await ask(server, version, stream);
      expect(response.text()).toBe(
        `${hi}data: {"error":{"message":"the worker died","type":"server_error","param":null,"code":"worker_crashed"}}\n\n`,
      );
    });

    test("a failure of a stream with named events has a name", async () => {
      await start();
      modelEvents = async function* () {
        yield create(ModelEventSchema, { event: { case: "removed", value: { id: "a" } } });
        throw new LoquiError("shutting_down", "bye");
      };
      const response = await ask(server, version, { path: "/v1/models:watch" });
      expect(response.text()).toMatch(
        /^event: model\.removed\ndata: \{.*\}\n\nevent: error\ndata: \{"error":\{"message":"bye".*\}\}\n\n$/,
      );
    });

    test("a message that JSON can't hold fails the call, in band and in its record", async () => {
      await start();
      let closed = false;
      chunks = async function* () {
        try {
          yield chunk();
          yield create(ChatCompletionChunkSchema, { timings: { promptMs: Number.NaN } });
          yield chunk();
        } finally {
          closed = true;
        }
      };
      const response = await ask(server, version, stream);
      expect(response.text()).toMatch(/^data: \{"id".*\}\n\ndata: \{"error":\{.*"code":"internal"\}\}\n\n$/);
      await expect.poll(() => [closed, server.records.at(-1)?.outcome]).toEqual([true, "internal"]);
    });

    test("the end of the server is told in band", async () => {
      await start();
      chunks = async function* (context) {
        yield chunk();
        await aborted(context);
        context.signal.throwIfAborted();
      };
      const response = await open(server, version, stream);
      await response.until((text) => text === hi);
      server.shutDown(new LoquiError("shutting_down", "the server is shutting down"));
      expect(await response.ended).toBe("complete");
      expect(response.text()).toContain('"code":"shutting_down"');
      expect(response.text()).not.toContain("[DONE]");
    });

    test("the deadline is told in band", async () => {
      await start();
      chunks = async function* (context) {
        yield chunk();
        await aborted(context);
        context.signal.throwIfAborted();
      };
      const response = await ask(server, version, { ...stream, headers: { "x-request-timeout": "0.2" } });
      expect(response.text()).toContain('"code":"timeout"');
      expect(response.text()).not.toContain("[DONE]");
    });

    test("a client that leaves aborts the handler at once, between events", async () => {
      await start();
      const { promise: reason, resolve } = Promise.withResolvers<LoquiError>();
      let closed = false;
      chunks = async function* (context) {
        try {
          yield chunk();
          resolve(await aborted(context));
          context.signal.throwIfAborted();
        } finally {
          closed = true;
        }
      };
      const response = await open(server, version, stream);
      await response.until((text) => text === hi);
      response.leave();
      expect((await reason).kind).toBe("cancelled");
      await expect.poll(() => [closed, server.records.at(-1)?.outcome]).toEqual([true, "cancelled"]);
      expect(server.failures).toEqual([]);
    });

    test("a client that leaves ends an iterator that never looks at its signal", async () => {
      await start();
      let closed = false;
      chunks = async function* () {
        try {
          for (;;) {
            yield chunk();
            await pause(5);
          }
        } finally {
          closed = true;
        }
      };
      const response = await open(server, version, stream);
      await response.until((text) => text.startsWith(hi + hi));
      response.leave();
      await expect.poll(() => closed).toBe(true);
    });

    test("HEAD doesn't begin a stream", async () => {
      await start();
      let begun = false;
      modelEvents = async function* () {
        begun = true;
        yield create(ModelEventSchema, {});
      };
      const response = await ask(server, version, { method: "HEAD", path: "/v1/models:watch" });
      expect([response.status, response.headers["content-type"], response.text(), begun]).toEqual([
        200,
        "text/event-stream; charset=utf-8",
        "",
        false,
      ]);
    });
  });

  test("a slow reader holds the handler back", async () => {
    await start();
    const text = "x".repeat(8192);
    let made = 0;
    chunks = async function* () {
      for (; made < 4000; made += 1) yield chunk([{ delta: { content: text } }]);
    };
    const response = await open(server, version, stream);
    response.pause();
    let seen = -1;
    while (made !== seen) {
      seen = made;
      await pause(300);
    }
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThan(4000);
    response.resume();
    expect(await response.ended).toBe("complete");
    expect(made).toBe(4000);
    expect(response.text().endsWith("data: [DONE]\n\n")).toBe(true);
    expect(response.text().match(/data: \{/g)).toHaveLength(4000);
  });

  test("a reader that takes nothing is cut off", async () => {
    await start({ stallMs: 200 });
    let closed = false;
    chunks = async function* () {
      try {
        for (;;) yield chunk([{ delta: { content: "x".repeat(8192) } }]);
      } finally {
        closed = true;
      }
    };
    const response = await open(server, version, stream);
    response.pause();
    await expect.poll(() => closed, { timeout: 3000 }).toBe(true);
    response.resume();
    expect(await response.ended).toBe("broken");
  });

  test("silence is filled with comments", async () => {
    await start({ keepAliveMs: 50 });
    chunks = async function* () {
      yield chunk();
      await pause(175);
      yield chunk();
    };
    const response = await ask(server, version, stream);
    expect(response.text()).toMatch(/^data: \{[^\n]*\}\n\n(?::\n\n){1,4}data: \{[^\n]*\}\n\ndata: \[DONE\]\n\n$/);
  });

  test("events in time need no comments", async () => {
    await start({ keepAliveMs: 400 });
    chunks = async function* () {
      for (let index = 0; index < 30; index += 1) {
        yield chunk();
        await pause(20);
      }
    };
    const response = await ask(server, version, stream);
    expect(response.text()).toBe(`${hi.repeat(30)}data: [DONE]\n\n`);
  });

  test("after the hold the response begins without an event, and errors are in band", async () => {
    await start({ holdMs: 50, keepAliveMs: 10_000 });
    // biome-ignore lint/correctness/useYield: it fails before
    chunks = async function* () {
      await pause(150);
      throw new LoquiError("overloaded", "full", { retryAfterMs: 1000 });
    };
    const response = await open(server, version, stream);
    expect([response.status, response.headers["content-type"]]).toEqual([200, "text/event-stream; charset=utf-8"]);
    expect(await response.until((text) => text !== "")).toBe(":\n\n");
    await response.ended;
    expect(response.text()).toBe(
      ':\n\ndata: {"error":{"message":"full","type":"rate_limit_error","param":null,"code":"overloaded"}}\n\n',
    );
  });

  test("a handler that ignores its deadline doesn't keep the client", async () => {
    await start();
    chunks = async function* () {
      yield chunk();
      await new Promise(() => {});
    };
    const response = await ask(server, version, { ...stream, headers: { "x-request-timeout": "0.1" } });
    expect(response.text()).toMatch(/^data: \{.*\}\n\ndata: \{"error":\{.*"code":"timeout"\}\}\n\n$/);
  });
});
