/** A client leaves, or its time is over: its slot is free again, and what waited never runs. */
import { Code, type ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";
import { endless, endlessParameters, grpcClient, modelOf, post, question, until } from "./support.ts";

let running: RunningLoqui;
beforeAll(async () => {
  // One sequence: nobody is answered while another holds it, and an endless answer takes minutes.
  // Small batches: so does a prompt that fills the context.
  running = await startWithScripts({ endless }, {}, { endless: { ...endlessParameters, batch_size: 8, threads: 1 } });
});
afterAll(() => running[Symbol.asyncDispose]());
// The worker tells its load once a second: what a test waits for must not be of the one before.
beforeEach(() =>
  until(
    "the worker is idle",
    async () => (await metric("loqui_sequences_busy")) === 0 && (await metric("loqui_queue_requests")) === 0,
  ),
);

const body = { model: "endless" };
const longPrompt = "x".repeat(100_000);

/** A call that can be left, and what becomes of it. */
interface Leaving {
  leave(): void;
  readonly outcome: Promise<unknown>;
}

const callers: [protocol: string, call: (content: string, stream: boolean) => Leaving][] = [
  [
    "REST",
    (content, stream) => {
      const controller = new AbortController();
      const messages = [{ role: "user", content }];
      const outcome = post(running.url, { ...body, stream, messages }, { signal: controller.signal })
        .then((response) => response.text())
        .catch((error: Error) => error.name);
      return { leave: () => controller.abort(), outcome };
    },
  ],
  [
    "gRPC",
    (content, stream) => {
      const controller = new AbortController();
      const client = grpcClient(running.url);
      const { signal } = controller;
      const request = question("endless", content);
      const answer = stream
        ? Array.fromAsync(client.streamChatCompletion(request, { signal }))
        : client.createChatCompletion(request, { signal });
      return { leave: () => controller.abort(), outcome: answer.catch((error: Error) => error.name) };
    },
  ],
];

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${running.url}/metrics`)).text();
  const value = new RegExp(`^${name}\\{model="endless"\\} (\\S+)$`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`no metric ${name}`);
  return Number(value);
}

async function inFlight(count: number): Promise<void> {
  await until(`${count} are in flight`, async () => (await modelOf(running.url, "endless")).in_flight === count);
}

let contents = 0;
/** A long message that nobody has sent before. */
function newContent(): string {
  contents += 1;
  return `${contents}${"q".repeat(300)}`;
}

/** Whether a message is in the KV cache, which holds one sequence: what was decoded last. */
async function decoded(content: string): Promise<boolean> {
  const answer = await post(running.url, { model: "endless", max_tokens: 1, messages: [{ role: "user", content }] });
  expect(answer.status).toBe(200);
  const { usage } = (await answer.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } } };
  return usage.prompt_tokens_details.cached_tokens > 100;
}

/** Another request is answered: the sequence is free. */
async function slotIsFree(): Promise<void> {
  const answer = await post(running.url, { model: "endless", max_tokens: 2 });
  expect(answer.status).toBe(200);
  expect((await modelOf(running.url, "endless")).in_flight).toBe(0);
}

describe.each(callers)("a client of %s that leaves", (_, call) => {
  it.each([
    { when: "in prefill", content: longPrompt, stream: true },
    { when: "in prefill, without a stream", content: longPrompt, stream: false },
    { when: "in decode", content: "Hi!", stream: true },
    { when: "in decode, without a stream", content: "Hi!", stream: false },
  ])("$when frees its slot", async ({ content, stream }) => {
    const { leave, outcome } = call(content, stream);
    await inFlight(1);
    await until("the worker has begun", async () => (await metric("loqui_sequences_busy")) === 1);
    leave();
    await outcome;
    await slotIsFree();
  });

  it.each([
    { how: "streaming", stream: true },
    { how: "unary", stream: false },
  ])("while queued ($how) never decodes", async ({ stream }) => {
    const holder = call("Hi!", true);
    await inFlight(1);
    const content = newContent();
    const queued = call(content, stream);
    await until("it waits in the worker", async () => (await metric("loqui_queue_requests")) === 1);
    queued.leave();
    await queued.outcome;
    await inFlight(1);
    holder.leave();
    await holder.outcome;
    expect(await decoded(content)).toBe(false);
  });
});

it.each([
  {
    header: "x-request-timeout",
    send: (content: string) =>
      post(
        running.url,
        { ...body, messages: [{ role: "user", content }] },
        { headers: { "x-request-timeout": "1.5" } },
      ),
  },
  {
    header: "connect-timeout-ms",
    send: (content: string) =>
      fetch(`${running.url}/loqui.v1.ChatService/CreateChatCompletion`, {
        method: "POST",
        headers: { "content-type": "application/json", "connect-timeout-ms": "1500" },
        body: JSON.stringify({ ...body, messages: [{ role: "CHAT_ROLE_USER", content: { text: content } }] }),
      }),
  },
  {
    header: "grpc-timeout",
    send: (content: string) =>
      grpcClient(running.url)
        .createChatCompletion(question("endless", content), { timeoutMs: 1_500 })
        .catch((error: ConnectError) => error),
  },
])("a request whose $header passes while it is queued never decodes", async ({ header, send }) => {
  const [, callRest] = callers[0] ?? [];
  const holder = callRest?.("Hi!", true);
  await inFlight(1);
  const content = newContent();
  const answer = send(content);
  await until("it waits in the worker", async () => (await metric("loqui_queue_requests")) === 1);
  const answered = await answer;
  if (answered instanceof Response) expect(answered.status).toBe(504);
  else expect(answered).toMatchObject({ code: Code.DeadlineExceeded });
  await until("the worker has dropped it", async () => (await metric("loqui_queue_requests")) === 0);
  expect((await modelOf(running.url, "endless")).in_flight, header).toBe(1);
  holder?.leave();
  await holder?.outcome;
  expect(await decoded(content)).toBe(false);
});
