import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect } from "vitest";
import {
  type ChatCompletionChunk,
  ChatRole,
  ChatService,
  type CreateChatCompletionRequest,
  CreateChatCompletionRequestSchema,
  type CreateChatCompletionResponse,
} from "../../../gen/loqui/v1/chat_pb.ts";
import { allScopes } from "../../../src/access/scopes.ts";
import type { Backend } from "../../../src/backends/backend.ts";
import {
  createWorkerBackend,
  type WorkerBackend,
  type WorkerBackendOptions,
} from "../../../src/backends/worker/worker-backend.ts";
import { type ModelConfig, modelSchema } from "../../../src/config/models-file.ts";
import { LoquiError } from "../../../src/errors.ts";
import type { RequestContext } from "../../../src/request-context.ts";
import { type Script, writeScriptedModel } from "../../support/scripted-model.ts";

/** A line of the backend's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly pid?: number;
  readonly [key: string]: unknown;
}

/** A worker backend with a scripted model, its files and its log. */
export interface TestWorker extends AsyncDisposable {
  readonly backend: WorkerBackend;
  readonly log: LogLine[];
  /** Called with each line of the log as it is written, in the same turn. */
  onLine: (line: LogLine) => void;
}

export interface TestWorkerOptions extends Partial<Omit<WorkerBackendOptions, "config" | "log">> {
  readonly parameters?: Partial<ModelConfig["parameters"]>;
  readonly defaults?: Partial<ModelConfig["defaults"]>;
  readonly id?: string;
  readonly engine?: ModelConfig["engine"];
}

const hello: Script = { reply: ["Hello", ",", " wor", "ld", "!"] };

/** A backend for a script, or for a file that `model` writes. Not loaded yet. */
export function testWorker(
  model: Script | ((path: string) => void) = hello,
  { parameters, defaults, id = "test/scripted", engine, ...options }: TestWorkerOptions = {},
): TestWorker {
  const folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
  const path = join(folder, "model.gguf");
  if (typeof model === "function") model(path);
  else writeScriptedModel(path, model);
  const log: LogLine[] = [];
  const worker: TestWorker = {
    log,
    onLine: () => {},
    backend: createWorkerBackend({
      config: configOf(path, id, { parameters, defaults, engine }),
      log: pino(
        { level: "debug", formatters: { level: (label) => ({ level: label }) } },
        {
          write(text: string) {
            const line = JSON.parse(text) as LogLine;
            log.push(line);
            worker.onLine(line);
          },
        },
      ),
      drainMs: 60_000,
      delayMs: (start) => (start <= 2 ? 0 : 50),
      ...options,
    }),
    async [Symbol.asyncDispose]() {
      await worker.backend[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
  return worker;
}

export function configOf(
  path: string,
  id: string,
  changes: { [K in "parameters" | "defaults" | "engine"]?: TestWorkerOptions[K] | undefined } = {},
): ModelConfig {
  const config = modelSchema.parse({ id, type: "chat", engine: "llama.cpp", source: { path } });
  return {
    ...config,
    engine: changes.engine ?? config.engine,
    parameters: { ...config.parameters, n_ctx: 512, threads: 1, stream_interval_ms: 0, ...changes.parameters },
    defaults: { ...config.defaults, ...changes.defaults },
  };
}

type RequestInit = MessageInitShape<typeof CreateChatCompletionRequestSchema>;

/** A request with one user message. */
export function ask(text: string, rest: RequestInit = {}): CreateChatCompletionRequest {
  return create(CreateChatCompletionRequestSchema, {
    model: "the-name-the-client-used",
    messages: [{ role: ChatRole.USER, content: { content: { case: "text", value: text } } }],
    temperature: 0,
    ...rest,
  });
}

/** A context as the dispatcher makes it. */
export function contextOf(options: { signal?: AbortSignal; timeoutMs?: number; tenant?: string } = {}): RequestContext {
  const { signal = new AbortController().signal, timeoutMs, tenant = "" } = options;
  const method = "loqui.v1.ChatService/CreateChatCompletion";
  return {
    requestId: "test-request",
    protocol: "rest",
    method,
    tenant,
    scopes: allScopes,
    metadata: { request: new Headers(), response: new Headers(), trailer: new Headers() },
    signal,
    ...(timeoutMs !== undefined && { deadline: performance.now() + timeoutMs }),
    record: { requestId: "test-request", protocol: "rest", method, receivedAt: Date.now() },
  };
}

/** The unary call. */
export async function chat(
  backend: Backend,
  request: CreateChatCompletionRequest,
  context = contextOf(),
): Promise<CreateChatCompletionResponse> {
  for await (const response of backend.call(ChatService.method.createChatCompletion, request, context)) return response;
  throw new Error("nothing was answered");
}

/** The streaming call. */
export function stream(
  backend: Backend,
  request: CreateChatCompletionRequest,
  context = contextOf(),
): AsyncIterable<ChatCompletionChunk> {
  return backend.call(ChatService.method.streamChatCompletion, request, context);
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** The text of an answer. */
export function textOf(answer: CreateChatCompletionResponse | readonly ChatCompletionChunk[]): string {
  if ("choices" in answer) return answer.choices.map((choice) => choice.message?.content ?? "").join("");
  return answer.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");
}

/** The LoquiError that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<LoquiError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LoquiError);
  return error as LoquiError;
}

/** Waits for a condition, ten seconds at most. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1_000; turn++) {
    if (condition()) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error(`waited in vain until ${what}`);
}
