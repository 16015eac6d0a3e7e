/** What goes wrong arrives as the typed exception of OpenAI's SDK for Node that its users catch. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type OpenAI from "openai";
import {
  APIConnectionTimeoutError,
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  type ClientOptions,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
  UnprocessableEntityError,
} from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatKeyEntry } from "../../src/config/keys-file.ts";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";
import { signalWorker } from "../support/processes.ts";
import { usualScripts } from "../support/running-loqui.ts";

const keys = {
  caller: "loqui_a-key-that-may-call-0123456789",
  reader: "loqui_a-key-that-may-read-0123456789",
  patient: "loqui_a-key-that-has-to-wait-0123456789",
};
const messages = [{ role: "user" as const, content: "Hi!" }];

let folder: string;
let server: OpenAiServer;
const client = (options: ClientOptions = {}) => server.client.withOptions(options);
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "loqui-keys-"));
  const file = join(folder, "keys.yaml");
  writeFileSync(
    file,
    [
      formatKeyEntry({ id: "caller", scopes: ["inference"] }, keys.caller),
      formatKeyEntry({ id: "reader", scopes: ["models:read"] }, keys.reader),
      formatKeyEntry({ id: "patient", scopes: ["inference"], requests_per_minute: 1 }, keys.patient),
    ].join(""),
  );
  const scripts = { ...usualScripts, fragile: usualScripts.endless };
  server = await startWithOpenAi(scripts, { LOQUI_API_KEYS_FILE: file }, keys.caller);
});
afterAll(async () => {
  expect(await server.validating.settle()).toBeGreaterThan(10);
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("by status", () => {
  const ask = (more: object = {}) => ({ model: "hello", messages, ...more });

  it.each([
    [AuthenticationError, { apiKey: "wrong" }, ask(), { status: 401, code: "invalid_api_key" }],
    [PermissionDeniedError, { apiKey: keys.reader }, ask(), { status: 403, code: "insufficient_scope" }],
    [NotFoundError, {}, ask({ model: "gpt-4o" }), { status: 404, code: "model_not_found", param: "model" }],
    [BadRequestError, {}, ask({ messages: [] }), { status: 400, param: "messages" }],
    [BadRequestError, {}, ask({ max_tokens: -2 }), { status: 400, param: "max_tokens" }],
    [BadRequestError, {}, ask({ response_format: { type: "sound" } }), { status: 400, param: "response_format.type" }],
    [BadRequestError, {}, ask({ model: "small", stop: ["a", "b", "c", "d", ""] }), { status: 400 }],
  ])("%o for %j", async (type, options, request, expected) => {
    const error = await failure(client(options).chat.completions.create(request));
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject(expected);
    expect((error as APIError).requestID).toMatch(/\S/);
  });

  it("a stream that is refused is the same: nothing of it began", async () => {
    const error = await failure(client().chat.completions.create(ask({ model: "gpt-4o", stream: true }) as never));
    expect(error).toBeInstanceOf(NotFoundError);
    const helper = client().chat.completions.stream(ask({ temperature: 9 }));
    expect(await failure(helper.finalChatCompletion())).toBeInstanceOf(BadRequestError);
  });

  it("RateLimitError says when to come back", async () => {
    const impatient = client({ apiKey: keys.patient });
    await impatient.chat.completions.create(ask());
    const error = await failure(impatient.chat.completions.create(ask()));
    expect(error).toBeInstanceOf(RateLimitError);
    const { headers } = error as RateLimitError;
    expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
    expect(headers.get("x-ratelimit-limit-requests")).toBe("1");
    expect(headers.get("x-ratelimit-remaining-requests")).toBe("0");
  });
});

describe("what ends an answer before its end", () => {
  it("a signal: APIUserAbortError, whole and streamed", async () => {
    const controller = new AbortController();
    const whole = client().chat.completions.create({ model: "endless", messages }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    expect(await failure(whole)).toBeInstanceOf(APIUserAbortError);
    const stream = await client().chat.completions.create({ model: "endless", messages, stream: true });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 5) stream.controller.abort();
    expect(chunks).toBeGreaterThanOrEqual(5);
  });

  it("the client's own time: APIConnectionTimeoutError, and its places are free", async () => {
    const hasty = client({ timeout: 200 });
    for (let i = 0; i < 5; i++) {
      const error = await failure(
        hasty.chat.completions.create({ model: "endless", messages, ignore_eos: true } as never),
      );
      expect(error).toBeInstanceOf(APIConnectionTimeoutError);
    }
    const answer = await client().chat.completions.create({ model: "endless", messages, max_tokens: 2 });
    expect(answer.usage?.completion_tokens).toBe(2);
  });

  it("the model's death in mid-stream: APIError by its code; it is not sent again, and the next is answered", async () => {
    const own = client({ maxRetries: 2 });
    const error = await killing(own, messages);
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ code: "worker_crashed", type: "server_error" });
    const again = [{ role: "user" as const, content: "Are you back?" }];
    const answer = await own.chat.completions.create({ model: "fragile", messages: again, max_tokens: 2 });
    expect(answer.usage?.completion_tokens).toBe(2);
  });

  it("a request of which the model dies twice is UnprocessableEntityError, and never sent again by itself", async () => {
    let sent = 0;
    const own = client({
      maxRetries: 2,
      fetch: (input, init) => {
        sent += 1;
        return server.validating.fetch(input, init);
      },
    });
    const poison = [{ role: "user" as const, content: "poison" }];
    for (let i = 0; i < 2; i++) expect(await killing(own, poison)).toMatchObject({ code: "worker_crashed" });
    const third = await failure(own.chat.completions.create({ model: "fragile", messages: poison }));
    expect(third).toBeInstanceOf(UnprocessableEntityError);
    expect(third).toMatchObject({ code: "input_quarantined" });
    expect(sent).toBe(3);
  });

  /** A stream whose worker is killed at its first chunk. */
  async function killing(own: OpenAI, question: typeof messages): Promise<unknown> {
    const stream = await own.chat.completions.create({ model: "fragile", messages: question, stream: true });
    let killed = false;
    return failure(
      (async () => {
        for await (const _ of stream) {
          if (!killed) signalWorker("fragile", "SIGSEGV");
          killed = true;
        }
      })(),
    );
  }
});
