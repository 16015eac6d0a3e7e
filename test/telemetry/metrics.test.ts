/** What /metrics shows of a real server after real calls. */
import { connect } from "node:net";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { signalWorker } from "../support/processes.ts";
import { type RunningLoqui, startWithScripts, usualScripts } from "../support/running-loqui.ts";
import { documentedMetrics } from "./documented-metrics.ts";
import { type Family, parseExposition } from "./exposition-parser.ts";

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts(usualScripts);
});
afterAll(() => running[Symbol.asyncDispose]());

const unary = "loqui.v1.ChatService/CreateChatCompletion";
const streaming = "loqui.v1.ChatService/StreamChatCompletion";

async function page(): Promise<Map<string, Family>> {
  const response = await fetch(`${running.url}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return parseExposition(await response.text(), false);
}

/** A sample's value; 0 where there is none yet. */
function sampleOf(families: Map<string, Family>, sample: string): number {
  const name = sample.replace(/\{.*/, "");
  const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ""));
  if (family === undefined) throw new Error(`there is no metric ${name}`);
  return family.samples.get(sample) ?? 0;
}

/** How much samples grow while something is done; waits up to five seconds for those that must. */
async function growth(samples: readonly string[], act: () => Promise<unknown>): Promise<number[]> {
  const before = await page();
  await act();
  let grown: number[] = [];
  for (let attempt = 0; attempt < 100; attempt++) {
    const after = await page();
    grown = samples.map((sample) => sampleOf(after, sample) - sampleOf(before, sample));
    if (grown.every((value) => value !== 0)) break;
    await new Promise((done) => setTimeout(done, 50));
  }
  return grown;
}

/** Waits until a sample has a value. */
async function reaches(sample: string, holds: (value: number) => boolean): Promise<void> {
  let value = Number.NaN;
  for (let attempt = 0; attempt < 200; attempt++) {
    value = sampleOf(await page(), sample);
    if (holds(value)) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${sample} stays ${value}`);
}

function post(body: object, path = "/v1/chat/completions", headers = {}): Promise<Response> {
  return fetch(running.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ messages: [{ role: "user", content: "Hi!" }], ...body }),
  });
}

function calls(protocol: string, method: string, model: string, outcome: string): string {
  return `loqui_requests_total{protocol="${protocol}",method="${method}",model="${model}",outcome="${outcome}"}`;
}

describe("calls", () => {
  it("an answer counts, with its tokens and times", async () => {
    const [requests, duration, queue, first, perToken, prompt, generated] = await growth(
      [
        calls("rest", unary, "hello", "ok"),
        `loqui_request_duration_seconds_count{method="${unary}",model="hello"}`,
        'loqui_queue_time_seconds_count{model="hello"}',
        'loqui_time_to_first_token_seconds_count{model="hello"}',
        'loqui_time_per_output_token_seconds_count{model="hello"}',
        'loqui_prompt_tokens_total{model="hello"}',
        'loqui_generated_tokens_total{model="hello"}',
      ],
      async () => {
        const answer = await (await post({ model: "hello" })).json();
        expect(answer).toMatchObject({ usage: { completion_tokens: 11 } });
      },
    );
    expect([requests, duration, queue, first, perToken, generated]).toEqual([1, 1, 1, 1, 1, 11]);
    expect(prompt).toBeGreaterThan(3);
  });

  it("a prompt that is asked again counts as cached", async () => {
    await (await post({ model: "small", messages: [{ role: "user", content: "again" }] })).text();
    const [prompt = 0, cached = 0] = await growth(
      ['loqui_prompt_tokens_total{model="small"}', 'loqui_cached_tokens_total{model="small"}'],
      async () => (await post({ model: "small", messages: [{ role: "user", content: "again" }] })).text(),
    );
    expect(cached).toBe(prompt - 1);
  });

  it("a stream's first token is measured, and while it runs it is in flight", async () => {
    const client = createClient(ChatService, createGrpcTransport({ baseUrl: running.url }));
    const messages = [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Hi!" } } }];
    const [cancelled, first] = await growth(
      [calls("grpc", streaming, "endless", "cancelled"), 'loqui_time_to_first_token_seconds_count{model="endless"}'],
      async () => {
        const leave = new AbortController();
        const chunks = client.streamChatCompletion({ model: "endless", messages }, { signal: leave.signal });
        for await (const _ of chunks) {
          const now = await page();
          expect(sampleOf(now, 'loqui_requests_in_flight{model="endless"}')).toBe(1);
          expect(sampleOf(now, 'loqui_streams_open{http_version="2"}')).toBe(1);
          expect(sampleOf(now, "loqui_connections_open")).toBeGreaterThanOrEqual(2);
          break;
        }
        leave.abort();
      },
    );
    expect([cancelled, first]).toEqual([1, 1]);
    await reaches('loqui_requests_in_flight{model="endless"}', (value) => value === 0);
  });

  it.each([
    ["of a rule", { model: "hello", temperature: 9 }, "", "invalid_request"],
    [
      "of the context",
      { model: "small", messages: [{ role: "user", content: "x".repeat(80) }] },
      "small",
      "context_too_long",
    ],
    ["of an unknown model, which is no label", { model: "hellooo" }, "", "model_not_found"],
    ["of what a model can not do", { model: "hello", web_search_options: {} }, "hello", "unsupported"],
  ])("an error %s", async (_, body, model, outcome) => {
    const [errors] = await growth([calls("rest", unary, model, outcome)], async () => (await post(body)).text());
    expect(errors).toBe(1);
    expect([...(await page()).values()].some(({ samples }) => [...samples.keys()].join().includes("hellooo"))).toBe(
      false,
    );
  });

  it("a queue is seen while it is there", async () => {
    const controller = new AbortController();
    const streams = Array.from({ length: 6 }, () =>
      fetch(`${running.url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "endless", messages: [{ role: "user", content: "wait" }], stream: true }),
        signal: controller.signal,
      }).catch(() => undefined),
    );
    await reaches('loqui_queue_requests{model="endless"}', (value) => value === 2);
    const now = await page();
    expect(sampleOf(now, 'loqui_sequences_busy{model="endless"}')).toBe(4);
    expect(sampleOf(now, 'loqui_sequences{model="endless"}')).toBe(4);
    expect(sampleOf(now, 'loqui_queue_tokens{model="endless"}')).toBeGreaterThan(2);
    controller.abort();
    await Promise.all(streams);
    await reaches('loqui_queue_requests{model="endless"}', (value) => value === 0);
    await reaches('loqui_sequences_busy{model="endless"}', (value) => value === 0);
  });
});

describe("what is refused before it is a call", () => {
  const refused = (protocol: string, reason: string) =>
    `loqui_rejected_total{protocol="${protocol}",reason="${reason}"}`;
  const connectPath = `/${unary}`;

  it.each<[string, string, string, string, Record<string, string>, string]>([
    ["an unknown path", "rest", "not_found", "/nothing", {}, "{}"],
    ["JSON that is none", "rest", "invalid_request", "/v1/chat/completions", {}, "{"],
    [
      "another media type",
      "rest",
      "unsupported_media_type",
      "/v1/chat/completions",
      { "content-type": "text/csv" },
      "x",
    ],
    ["a foreign page", "rest", "origin_refused", "/v1/models", { origin: "https://evil.example" }, "{}"],
    ["Connect: JSON that is none", "connect", "invalid_request", connectPath, {}, "{"],
    ["Connect: a foreign page", "connect", "origin_refused", connectPath, { origin: "https://evil.example" }, "{}"],
    [
      "Connect: another media type",
      "connect",
      "unsupported_media_type",
      connectPath,
      { "content-type": "text/csv" },
      "x",
    ],
    [
      "gRPC-Web: an unknown method",
      "grpc-web",
      "unimplemented",
      "/a.B/C",
      { "content-type": "application/grpc-web" },
      "",
    ],
    [
      "gRPC: a message that is none",
      "grpc",
      "invalid_request",
      connectPath,
      { "content-type": "application/grpc" },
      "\0\0\0\0\x01\xff",
    ],
  ])("%s", async (_, protocol, reason, path, headers, body) => {
    const [count] = await growth([refused(protocol, reason)], async () => {
      const response = await fetch(running.url + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: Buffer.from(body, "latin1"),
      });
      await response.text();
    });
    expect(count).toBe(1);
  });
});

describe("models and their processes", () => {
  it("a killed worker is a crash and a restart; the model loads again", async () => {
    await reaches('loqui_worker_resident_memory_bytes{model="hello"}', (value) => value > 1e6);
    const [crashes, restarts, loads] = await growth(
      [
        'loqui_worker_crashes_total{model="hello"}',
        'loqui_worker_restarts_total{model="hello"}',
        'loqui_model_loads_total{model="hello"}',
      ],
      async () => {
        signalWorker("hello", "SIGKILL");
      },
    );
    expect([crashes, restarts, loads]).toEqual([1, 1, 1]);
    await reaches('loqui_model_state{model="hello",state="ready"}', (value) => value === 1);
    expect((await post({ model: "hello" })).status).toBe(200);
  });

  it("an unloaded model is available, and has no process", async () => {
    const { unloadModel } = createClient(ModelService, createGrpcTransport({ baseUrl: running.url }));
    await unloadModel({ model: "small" });
    const now = await page();
    expect(sampleOf(now, 'loqui_model_state{model="small",state="available"}')).toBe(1);
    expect(sampleOf(now, 'loqui_model_state{model="small",state="ready"}')).toBe(0);
    expect(
      now.get("loqui_worker_resident_memory_bytes")?.samples.has('loqui_worker_resident_memory_bytes{model="small"}'),
    ).toBe(false);
  });

  it("GetModelMetrics tells the same, over REST and gRPC", async () => {
    await (await post({ model: "hello" })).text();
    const response = await fetch(`${running.url}/v1/models/hello:metrics`);
    expect(response.status).toBe(200);
    const json = (await response.json()) as Record<string, unknown>;
    const now = await page();
    expect(json).toMatchObject({
      object: "model.metrics",
      model: "hello",
      state: "ready",
      in_flight: 0,
      queued: 0,
      sequences: 4,
      prompt_tokens_total: sampleOf(now, 'loqui_prompt_tokens_total{model="hello"}'),
      completion_tokens_total: sampleOf(now, 'loqui_generated_tokens_total{model="hello"}'),
      crashes_total: sampleOf(now, 'loqui_worker_crashes_total{model="hello"}'),
      loads_total: sampleOf(now, 'loqui_model_loads_total{model="hello"}'),
      cancelled_total: 0,
    });
    expect(json.time_to_first_token).toMatchObject({ count: expect.any(Number), p50: expect.any(Number) });
    const client = createClient(ModelService, createGrpcTransport({ baseUrl: running.url }));
    expect(await client.getModelMetrics({ model: "hello" })).toMatchObject({ model: "hello", cancelledTotal: 0n });
    await expect(client.getModelMetrics({ model: "nobody" })).rejects.toMatchObject({ code: Code.NotFound });
  });
});

describe("the page", () => {
  it("is OpenMetrics for those that ask for it, and Prometheus' text again afterwards", async () => {
    const response = await fetch(`${running.url}/metrics`, {
      headers: { accept: "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1" },
    });
    expect(response.headers.get("content-type")).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
    const families = parseExposition(await response.text(), true);
    expect(families.get("loqui_requests")?.type).toBe("counter");
    expect((await page()).get("loqui_requests_total")?.type).toBe("counter");
  });

  it("can't be posted to", async () => {
    expect((await post({}, "/metrics")).status).toBe(405);
  });

  it("every metric stands in docs/metrics.md with its type and labels, and no other", async () => {
    const families = await page();
    const documented = documentedMetrics();
    expect([...documented.keys()].sort()).toEqual([...families.keys()].sort());
    for (const [name, { type, samples }] of families) {
      expect([name, documented.get(name)?.type]).toEqual([name, type]);
      for (const sample of samples.keys()) {
        const labels = [...sample.matchAll(/(\w+)="/g)].map(([, label]) => label).filter((label) => label !== "le");
        expect([name, labels.sort()]).toEqual([name, [...(documented.get(name)?.labels ?? [])].sort()]);
      }
    }
  });

  it("tells of the process", async () => {
    const now = await page();
    expect(sampleOf(now, "process_open_fds")).toBeGreaterThan(5);
    expect(sampleOf(now, "process_max_fds")).toBeGreaterThan(100);
    expect(sampleOf(now, "process_resident_memory_bytes")).toBeGreaterThan(1e7);
    expect(sampleOf(now, "process_cpu_seconds_total")).toBeGreaterThan(0.1);
    expect(sampleOf(now, 'loqui_event_loop_delay_seconds{quantile="1"}')).toBeLessThan(60);
    const busy = sampleOf(now, "loqui_event_loop_utilization_ratio");
    expect(busy).toBeGreaterThanOrEqual(0);
    expect(busy).toBeLessThanOrEqual(1);
  });
});

it("LOQUI_METRICS=off: there is no page", async () => {
  await using off = await startWithScripts({}, { LOQUI_METRICS: "off" });
  expect((await fetch(`${off.url}/metrics`)).status).toBe(404);
});

it("LOQUI_METRICS=open: keys are asked for, but not here", async () => {
  await using open = await startWithScripts({}, { LOQUI_API_KEYS: "sk-open-0123456789abcdef", LOQUI_METRICS: "open" });
  expect((await fetch(`${open.url}/v1/models`)).status).toBe(401);
  expect((await fetch(`${open.url}/metrics`)).status).toBe(200);
});

describe("with API keys", () => {
  const key = "sk-metrics-test-0123456789abcdef";
  let guarded: RunningLoqui;
  beforeAll(async () => {
    guarded = await startWithScripts({}, { LOQUI_API_KEYS: key, LOQUI_REQUESTS_PER_MINUTE: "60" });
  });
  afterAll(() => guarded[Symbol.asyncDispose]());

  const authorization = `Bearer ${key}`;
  async function rejections(): Promise<ReadonlyMap<string, number>> {
    const response = await fetch(`${guarded.url}/metrics`, { headers: { authorization } });
    expect(response.status).toBe(200);
    return parseExposition(await response.text(), false).get("loqui_rejected_total")?.samples ?? new Map();
  }

  it.each<[string, string, string, () => Promise<unknown>]>([
    ["the page without a key", "rest", "unauthenticated", () => fetch(`${guarded.url}/metrics`)],
    ["REST without a key", "rest", "unauthenticated", () => fetch(`${guarded.url}/v1/models`)],
    [
      "gRPC without a key",
      "grpc",
      "unauthenticated",
      () =>
        createClient(ModelService, createGrpcTransport({ baseUrl: guarded.url }))
          .listModels({})
          .catch(() => undefined),
    ],
    ["a name that is not ours", "rest", "host_refused", () => send("GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n")],
    ["what is no HTTP", "", "bad_http", () => send("SSH-2.0-OpenSSH_9.2\r\n\r\n")],
  ])("%s", async (_, protocol, reason, act) => {
    const sample = `loqui_rejected_total{protocol="${protocol}",reason="${reason}"}`;
    const before = (await rejections()).get(sample) ?? 0;
    await act();
    let after = before;
    for (let attempt = 0; after === before && attempt < 20; attempt++) {
      await new Promise((done) => setTimeout(done, 20));
      after = (await rejections()).get(sample) ?? 0;
    }
    expect(after - before).toBe(1);
  });

  it("too many requests", async () => {
    let refusals = 0;
    for (let request = 0; request < 70; request++) {
      const { status } = await fetch(`${guarded.url}/v1/models`, { headers: { "x-api-key": key } });
      if (status === 429) refusals += 1;
    }
    expect(refusals).toBeGreaterThan(0);
    // The limit is the key's: it can't read the page either. What it shows is the same for all.
    const response = await fetch(`${guarded.url}/metrics`, { headers: { authorization } });
    expect(response.status).toBe(429);
  });

  /** Sends bytes and waits until the server has closed the connection or answered. */
  function send(text: string): Promise<void> {
    const { hostname, port } = new URL(guarded.url);
    return new Promise((done) => {
      const socket = connect(Number(port), hostname, () => socket.write(text));
      socket.once("data", () => socket.destroy());
      socket.on("error", () => {});
      socket.once("close", () => done());
    });
  }
});
