import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FinishReason } from "../../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../../../src/errors.ts";
import { ask, chat, collect, contextOf, failure, stream, type TestWorker, testWorker, textOf, until } from "./setup.ts";

const never = new AbortController().signal;

describe("answers", () => {
  let worker: TestWorker;
  beforeAll(async () => {
    worker = testWorker({ reply: ["Hello", ",", " wor", "ld", "!"] });
    await worker.backend.load(never);
  });
  afterAll(() => worker[Symbol.asyncDispose]());

  test("says what it is", () => {
    const { backend } = worker;
    expect(backend).toMatchObject({ id: "worker:test/scripted", provider: "local", state: "ready", inFlight: 0 });
    expect(backend.info).toMatchObject({ architecture: "llama", contextLength: 512, sequences: 4, threads: 1 });
    expect(backend.loadedAt).toBeCloseTo(Date.now() / 1000, -2);
  });

  test("a unary call", async () => {
    const context = contextOf();
    const response = await chat(worker.backend, ask("Hi"), context);
    const prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    // Control tokens are one token each, all else a token a byte.
    const promptTokens = prompt.replaceAll(/<\|im_(start|end)\|>/g, "x").length;
    expect(response).toMatchObject({
      object: "chat.completion",
      model: "the-name-the-client-used",
      choices: [{ index: 0, message: { content: "Hello, world!" }, finishReason: FinishReason.STOP }],
      usage: { promptTokens, completionTokens: 6, totalTokens: promptTokens + 6 },
      timings: { promptN: promptTokens - (response.usage?.promptTokensDetails?.cachedTokens ?? 0), predictedN: 6 },
    });
    expect(response.id).toMatch(/^chatcmpl-[0-9a-f]{32}$/);
    expect(response.systemFingerprint).toMatch(/^fp_[0-9a-f]{12}$/);
    expect(response.created).toBeCloseTo(Date.now() / 1000, -2);
    expect(context.record).toMatchObject({ promptTokens, completionTokens: 6 });
    expect(context.record.queueMs).toBeGreaterThanOrEqual(0);
    expect(context.record.retries).toBeUndefined();
  });

  test("a stream: role, text, reason; one id, one time, no usage unless asked for", async () => {
    const chunks = await collect(stream(worker.backend, ask("Hi")));
    expect(chunks.map((chunk) => chunk.choices[0]?.delta?.content)).toEqual([
      "",
      "Hello",
      ",",
      " wor",
      "ld",
      "!",
      undefined,
    ]);
    expect(chunks[0]?.choices[0]?.delta?.role).toBe(3);
    expect(chunks.slice(1).every((chunk) => chunk.choices[0]?.delta?.role === undefined)).toBe(true);
    expect(chunks.map((chunk) => chunk.choices[0]?.finishReason)).toEqual([
      ...Array(6).fill(undefined),
      FinishReason.STOP,
    ]);
    expect(new Set(chunks.map(({ id, object, created, model }) => `${id} ${object} ${created} ${model}`)).size).toBe(1);
    expect(chunks.every((chunk) => chunk.usage === undefined)).toBe(true);
    expect(chunks.map((chunk) => chunk.timings !== undefined)).toEqual([...Array(6).fill(false), true]);
  });

  test("a stream with the usage: a last chunk without choices", async () => {
    const chunks = await collect(stream(worker.backend, ask("Hi", { streamOptions: { includeUsage: true } })));
    const last = chunks.at(-1);
    expect(last?.choices).toEqual([]);
    expect(last?.usage).toMatchObject({ completionTokens: 6 });
    expect(last?.timings?.predictedN).toBe(6);
    expect(chunks.at(-2)?.choices[0]?.finishReason).toBe(FinishReason.STOP);
    expect(chunks.at(-2)?.timings).toBeUndefined();
  });

  test("an equal prompt is cached but for one token, within a tenant and a salt", async () => {
    const cached = async (tenant: string, rest = {}) => {
      const { usage } = await chat(worker.backend, ask("the same words", rest), contextOf({ tenant }));
      return usage?.promptTokensDetails?.cachedTokens ?? 0;
    };
    expect(await cached("a")).toBe(0);
    const all = await cached("a");
    expect(all).toBeGreaterThan(30);
    expect(await cached("b")).toBe(0);
    expect(await cached("a", { cacheSalt: "x" })).toBe(0);
    expect(await cached("a", { cachePrompt: false })).toBe(0);
    expect(await cached("a", { cacheSalt: "x" })).toBe(all);
  });

  test.each([
    { what: "across tokens", stop: ["o, w"], text: "Hell", tokens: 3 },
    { what: "the first to be complete", stop: ["world", "lo"], text: "Hel", tokens: 1 },
    { what: "that begins but doesn't come", stop: ["ld?"], text: "Hello, world!", tokens: 6 },
    { what: "at the very end", stop: ["!"], text: "Hello, world", tokens: 5 },
  ])("a stop string $what", async ({ stop, text, tokens }) => {
    const response = await chat(worker.backend, ask("Hi", { stop }));
    expect(textOf(response)).toBe(text);
    expect(response.choices[0]?.finishReason).toBe(FinishReason.STOP);
    expect(response.usage?.completionTokens).toBe(tokens);
    const chunks = await collect(stream(worker.backend, ask("Hi", { stop })));
    expect(textOf(chunks)).toBe(text);
    expect(chunks.every((chunk) => chunk.choices[0]?.delta?.content !== "" || chunk === chunks[0])).toBe(true);
  });

  test.each([
    { rest: { maxTokens: 2 }, text: "Hello,", tokens: 2 },
    { rest: { maxTokens: 5, maxCompletionTokens: 1 }, text: "Hello", tokens: 1 },
    { rest: { maxTokens: 0 }, text: "", tokens: 0 },
    // What a stop string held back is let go where the text ends otherwise.
    { rest: { maxTokens: 2, stop: [", w"] }, text: "Hello,", tokens: 2 },
  ])("a length: $rest", async ({ rest, text, tokens }) => {
    const response = await chat(worker.backend, ask("Hi", rest));
    expect(textOf(response)).toBe(text);
    expect(response.choices[0]?.finishReason).toBe(FinishReason.LENGTH);
    expect(response.usage?.completionTokens).toBe(tokens);
    const chunks = await collect(stream(worker.backend, ask("Hi", rest)));
    expect(textOf(chunks)).toBe(text);
    expect(chunks.at(-1)?.choices[0]?.finishReason).toBe(FinishReason.LENGTH);
  });

  test("ignoring the end goes on to the maximum", async () => {
    const response = await chat(worker.backend, ask("Hi", { ignoreEos: true, maxTokens: 20 }));
    expect(response.usage?.completionTokens).toBe(20);
    expect(response.choices[0]?.finishReason).toBe(FinishReason.LENGTH);
    expect(textOf(response)).toMatch(/^Hello, world!/);
  });

  test("a bias bans a token", async () => {
    const { backend } = worker;
    expect(textOf(await chat(backend, ask("Hi", { maxTokens: 1 })))).toBe("Hello");
    // The reply's pieces come after the 256 bytes: "Hello" is the first, "ld" the third ("," is a byte).
    const biased = await chat(backend, ask("Hi", { maxTokens: 1, logitBias: { "256": -100 } }));
    expect(textOf(biased)).not.toBe("Hello");
  });

  test("a stop token ends the answer and isn't part of it", async () => {
    const response = await chat(worker.backend, ask("Hi", { stopTokenIds: [258] }));
    expect(textOf(response)).toBe("Hello, wor");
    expect(response.choices[0]?.finishReason).toBe(FinishReason.STOP);
  });

  test("a prompt that is too long is refused with both counts", async () => {
    const error = await failure(chat(worker.backend, ask("x".repeat(600))));
    expect(error).toMatchObject({
      kind: "context_too_long",
      param: "messages",
      code: "context_length_exceeded",
      contextLength: 512,
    });
    expect(error.message).toBe(
      `This model's maximum context length is 512 tokens. However, your messages resulted in ${error.promptTokens} tokens.`,
    );
    expect(error.promptTokens).toBeGreaterThan(600);
    const streamed = await failure(collect(stream(worker.backend, ask("x".repeat(600)))));
    expect(streamed.message).toBe(error.message);
  });

  test.each([
    {
      rest: { typicalP: 0.5 },
      kind: "unsupported",
      param: "typical_p",
      message: "`typical_p` is not supported yet by this model",
    },
    { rest: { grammar: 'root ::= "x' }, kind: "invalid_request", param: "grammar" },
    {
      rest: { tools: [{ tool: { case: "custom", value: { custom: { name: "c" } } } }] },
      kind: "unsupported",
      param: "tools[0].custom",
    },
    { rest: { chatTemplateKwargs: "[1]" }, kind: "invalid_request", param: "chat_template_kwargs" },
    { rest: { logitBias: { "99999": 1 } }, kind: "invalid_request", param: "logit_bias" },
  ])("refuses $rest by name", async ({ rest, kind, param, message }) => {
    const error = await failure(chat(worker.backend, ask("Hi", rest as never)));
    expect(error).toMatchObject({ kind, param });
    if (message !== undefined) expect(error.message).toBe(message);
  });

  test("many at once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        index % 2 === 0
          ? chat(worker.backend, ask(`number ${index}`)).then(textOf)
          : collect(stream(worker.backend, ask(`number ${index}`))).then(textOf),
      ),
    );
    expect(new Set(answers)).toEqual(new Set(["Hello, world!"]));
    expect(worker.backend.inFlight).toBe(0);
  });

  test("a method that the worker doesn't know is unimplemented", async () => {
    const { EmbeddingService } = await import("../../../gen/loqui/v1/embedding_pb.ts");
    const { create } = await import("@bufbuild/protobuf");
    const method = EmbeddingService.method.createEmbeddings;
    const answers = worker.backend.call(method, create(method.input, { model: "x" }), contextOf());
    expect(await failure(collect(answers))).toMatchObject({ kind: "unimplemented" });
  });

  test("a deadline that has passed", async () => {
    const error = await failure(chat(worker.backend, ask("Hi"), contextOf({ timeoutMs: 0 })));
    expect(error).toMatchObject({ kind: "timeout" });
  });
});

describe("text", () => {
  test("never breaks a character that several tokens make", async () => {
    const bytes = (...values: number[]) => Uint8Array.from(values);
    const reply = ["a", bytes(0xf0), bytes(0x9f, 0x98), bytes(0x80), "é", bytes(0xe6, 0x97), bytes(0xa5), "."];
    await using worker = testWorker({ reply });
    const chunks = await collect(stream(worker.backend, ask("Hi")));
    expect(textOf(chunks)).toBe("a😀é日.");
    expect(chunks.map((chunk) => chunk.choices[0]?.delta?.content).filter(Boolean)).toEqual([
      "a",
      "😀",
      "é",
      "日",
      ".",
    ]);
    // Cut in the middle of a character: what is open is shown as such.
    expect(textOf(await chat(worker.backend, ask("Hi", { maxTokens: 3 })))).toBe("a\ufffd");
  });

  test("the model's defaults hold where the request says nothing", async () => {
    await using worker = testWorker(undefined, { defaults: { max_tokens: 2 } });
    expect(textOf(await chat(worker.backend, ask("Hi")))).toBe("Hello,");
    expect(textOf(await chat(worker.backend, ask("Hi", { maxTokens: 3 })))).toBe("Hello, wor");
  });

  test("ends with length when the context is full", async () => {
    await using worker = testWorker({ reply: ["on ", "and ", "off "], loop: true }, { parameters: { n_ctx: 64 } });
    const response = await chat(worker.backend, ask("Hi"));
    expect(response.usage?.totalTokens).toBe(64);
    expect(response.choices[0]?.finishReason).toBe(FinishReason.LENGTH);
  });
});

describe("cancelling and limits", () => {
  let worker: TestWorker;
  const endless = { reply: ["on ", "and ", "off "], loop: true };
  beforeAll(async () => {
    worker = testWorker(endless, { parameters: { n_ctx: 16_384, sequences: 1, max_queue: 1 } });
    await worker.backend.load(never);
  });
  afterAll(() => worker[Symbol.asyncDispose]());

  async function isFree(): Promise<void> {
    const response = await chat(worker.backend, ask("Hi", { maxTokens: 1 }), contextOf({ timeoutMs: 5_000 }));
    expect(response.usage?.completionTokens).toBe(1);
    expect(worker.backend.inFlight).toBe(0);
  }

  test("leaving the loop frees the sequence", async () => {
    for await (const chunk of stream(worker.backend, ask("Hi"))) if (chunk.choices[0]?.delta?.content) break;
    await isFree();
  });

  test("aborting frees the sequence and throws the reason", async () => {
    const controller = new AbortController();
    const reason = new LoquiError("cancelled", "the client left");
    let chunks = 0;
    const reading = (async () => {
      for await (const _ of stream(worker.backend, ask("Hi"), contextOf({ signal: controller.signal }))) {
        if (++chunks === 5) controller.abort(reason);
      }
    })();
    expect(await failure(reading)).toBe(reason);
    await isFree();
  });

  test("a deadline ends it in the worker too", async () => {
    const error = await failure(collect(stream(worker.backend, ask("Hi"), contextOf({ timeoutMs: 100 }))));
    expect(error.kind).toBe("timeout");
    await isFree();
  });

  test("a full queue is overloaded", async () => {
    const controllers = [new AbortController(), new AbortController()];
    const running = controllers.map(({ signal }) => collect(stream(worker.backend, ask("Hi"), contextOf({ signal }))));
    for (const run of running) run.catch(() => {});
    await until("both are in flight", () => worker.backend.inFlight === 2);
    await new Promise((done) => setTimeout(done, 50));
    const error = await failure(chat(worker.backend, ask("Hi")));
    expect(error).toMatchObject({ kind: "overloaded" });
    expect(error.retryAfterMs).toBeGreaterThanOrEqual(1_000);
    for (const controller of controllers) controller.abort(new LoquiError("cancelled", "enough"));
    await Promise.allSettled(running);
    await isFree();
  });

  test("a reader that is slow gets everything", async () => {
    const chunks = stream(worker.backend, ask("Hi", { maxTokens: 3_000 }));
    let tokens = 0;
    for await (const chunk of chunks) {
      if (tokens === 0) await new Promise((done) => setTimeout(done, 500));
      if (chunk.choices[0]?.delta?.content) tokens += 1;
    }
    expect(tokens).toBe(3_000);
  });
});

describe("the life of a worker", () => {
  test("a call loads the model; unloading returns it; a later call loads it again", async () => {
    await using worker = testWorker();
    const { backend } = worker;
    expect(backend).toMatchObject({ state: "available", info: undefined, loadedAt: undefined, pid: undefined });
    const answer = chat(backend, ask("Hi"));
    await until("it loads", () => backend.state === "loading");
    expect(backend.inFlight).toBe(1);
    expect(textOf(await answer)).toBe("Hello, world!");
    const { pid } = backend;
    await backend.unload({ force: false, signal: never });
    expect(backend).toMatchObject({ state: "available", info: undefined, pid: undefined, lastError: undefined });
    expect(() => process.kill(pid ?? 0, 0)).toThrow("ESRCH");
    expect(textOf(await chat(backend, ask("Hi")))).toBe("Hello, world!");
    expect(backend.pid).not.toBe(pid);
  });

  test("unloading waits for what is in flight and refuses what comes", async () => {
    await using worker = testWorker({ reply: ["on ", "and "], loop: true }, { parameters: { n_ctx: 8_192 } });
    const { backend } = worker;
    await backend.load(never);
    const running = collect(stream(backend, ask("Hi", { maxTokens: 2_000 })));
    await until("it is in flight", () => backend.inFlight === 1);
    const unloaded = backend.unload({ force: false, signal: never });
    expect(backend.state).toBe("unloading");
    expect(await failure(chat(backend, ask("Hi")))).toMatchObject({ kind: "model_unavailable" });
    expect(await failure(backend.load(never))).toMatchObject({ kind: "model_unavailable" });
    expect((await running).at(-1)?.choices[0]?.finishReason).toBe(FinishReason.LENGTH);
    await unloaded;
    expect(backend.state).toBe("available");
  });

  test.each([
    { what: "by force", force: true, drainMs: 60_000 },
    { what: "when the drain time is over", force: false, drainMs: 50 },
  ])("unloading $what ends what is in flight with an error", async ({ force, drainMs }) => {
    await using worker = testWorker({ reply: ["on ", "and "], loop: true }, { drainMs, parameters: { n_ctx: 32_768 } });
    const { backend } = worker;
    await backend.load(never);
    const running = collect(stream(backend, ask("Hi")));
    running.catch(() => {});
    await until("it is in flight", () => backend.inFlight === 1);
    await backend.unload({ force, signal: never });
    expect(await failure(running)).toMatchObject({
      kind: "model_unavailable",
      message: "the model test/scripted is not available: it was unloaded",
    });
  });

  test("unloading twice is one unloading, whatever comes between", async () => {
    await using worker = testWorker({ reply: ["ok"] }, { drainMs: 60_000 });
    const { backend } = worker;
    await backend.load(never);
    const first = backend.unload({ force: true, signal: never });
    const second = backend.unload({ force: false, signal: never });
    await Promise.race([first, second]);
    const loads = Promise.all([backend.load(never), backend.load(never)]);
    await Promise.all([first, second, loads]);
    expect(backend.state).toBe("ready");
    expect(worker.log.filter((line) => line.msg === "loading the model").length).toBe(2);
    expect(textOf(await chat(backend, ask("Hi")))).toBe("ok");
  });

  test("an unloading that waits is ended by one that forces, and harms no later worker", async () => {
    await using worker = testWorker(
      { reply: ["on ", "and "], loop: true },
      { drainMs: 60_000, parameters: { n_ctx: 32_768 } },
    );
    const { backend } = worker;
    await backend.load(never);
    const running = collect(stream(backend, ask("Hi")));
    running.catch(() => {});
    await until("it is in flight", () => backend.inFlight === 1);
    const patient = backend.unload({ force: false, signal: never });
    const forced = backend.unload({ force: true, signal: never });
    await Promise.all([patient, forced]);
    expect(await failure(running)).toMatchObject({ kind: "model_unavailable" });
    expect(textOf(await chat(backend, ask("Hi", { maxTokens: 2 })))).toBe("on and ");
  });

  test("unloading what is not loaded does nothing, and a call beside it is answered", async () => {
    await using worker = testWorker();
    const { backend } = worker;
    const unloaded = backend.unload({ force: false, signal: never });
    const answer = chat(backend, ask("Hi"));
    await unloaded;
    expect(textOf(await answer)).toBe("Hello, world!");
  });

  test("waiting for a load with a signal that is aborted leaves no unhandled rejection", async () => {
    await using worker = testWorker();
    const { backend } = worker;
    await backend.load(never);
    const unloaded = backend.unload({ force: false, signal: never });
    await expect(backend.load(AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
    await unloaded;
  });

  test("a file that is no model fails at once, and says so", async () => {
    await using worker = testWorker((path) => writeFileSync(path, "this is no GGUF file at all"));
    const { backend } = worker;
    const error = await failure(backend.load(never));
    expect(error.kind).toBe("model_unavailable");
    expect(backend.state).toBe("failed");
    expect(backend.lastError).toBe(error.message);
    expect(error.message).not.toContain("/");
    const refused = await failure(chat(backend, ask("Hi")));
    expect(refused.kind).toBe("model_unavailable");
    expect(refused.message).toContain(error.message);
    expect(worker.log.filter((line) => line.msg === "loading the model").length).toBe(1);
    // Asked again, it tries again.
    await failure(backend.load(never));
    expect(worker.log.filter((line) => line.msg === "loading the model").length).toBe(2);
  });

  test.each([
    ["custom", "the model test/scripted needs the engine custom, which is not there yet"],
    ["onnxruntime", "the model test/scripted is of type chat, which onnxruntime doesn't run yet"],
  ] as const)("an engine that can't run it fails at once: %s", async (engine, message) => {
    await using worker = testWorker(undefined, { engine });
    expect((await failure(worker.backend.load(never))).message).toBe(message);
    expect(worker.backend.state).toBe("failed");
  });

  test("a broken template fails the load", async () => {
    await using worker = testWorker({ reply: ["x"], template: "{% for x in %}" });
    expect((await failure(worker.backend.load(never))).message).toMatch(/^the model's chat template can't be parsed/);
  });

  test("loading has its time", async () => {
    await using worker = testWorker(undefined, { loadTimeoutMs: 1 });
    expect((await failure(worker.backend.load(never))).message).toBe("the model did not load in 1 ms");
    expect(worker.backend.state).toBe("failed");
  });

  test("disposing while it loads leaves nothing", async () => {
    const worker = testWorker();
    const loading = worker.backend.load(never);
    loading.catch(() => {});
    await until("it loads", () => worker.log.length > 0);
    await worker[Symbol.asyncDispose]();
    expect(worker.backend.state).toBe("available");
    expect((await failure(loading)).kind).toBe("model_unavailable");
    expect((await failure(worker.backend.load(never))).kind).toBe("shutting_down");
    expect((await failure(chat(worker.backend, ask("Hi")))).kind).toBe("shutting_down");
  });

  test("waiting for a model that loads ends with the deadline", async () => {
    await using worker = testWorker();
    const signal = AbortSignal.abort(new LoquiError("timeout", "late"));
    expect((await failure(worker.backend.load(signal))).kind).toBe("timeout");
  });
});
