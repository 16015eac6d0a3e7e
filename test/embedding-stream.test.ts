import { readFileSync } from "node:fs";
import { connect } from "node:http2";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  EmbeddingEncodingFormat,
  EmbeddingService,
  EmbeddingTruncate,
  type StreamEmbeddingsItemSchema,
  type StreamEmbeddingsOptionsSchema,
  StreamEmbeddingsRequestSchema,
  type StreamEmbeddingsResponse,
} from "../gen/loqui/v1/embedding_pb.ts";
import { bert, bytes, expected, texts, width } from "./support/bert-reference.ts";
import { onnxFixtures } from "./support/onnx-models.ts";
import { workerOf } from "./support/processes.ts";
import { startWithEncoders } from "./support/running-encoders.ts";
import type { RunningLoqui } from "./support/running-loqui.ts";

function expectClose(found: readonly number[], wanted: readonly number[]): void {
  expect(found.length).toBe(wanted.length);
  for (const [at, value] of wanted.entries()) expect(found[at]).toBeCloseTo(value, 4);
}

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithEncoders({
    bert: { encoder: "bert", layout: "mean" },
    heads: { encoder: "xlm-roberta", layout: "mean", heads: true },
  });
});
afterAll(() => running?.[Symbol.asyncDispose]());

type Item = MessageInitShape<typeof StreamEmbeddingsItemSchema>;
type Options = MessageInitShape<typeof StreamEmbeddingsOptionsSchema>;
type Request = MessageInitShape<typeof StreamEmbeddingsRequestSchema>;

const text = (value: string, id = ""): Item => ({ id, input: { case: "text", value } });
const optionsOf = (options: Options): Request => ({
  message: { case: "options", value: { model: "bert", ...options } },
});
const requestOf = (item: Item): Request => ({ message: { case: "item", value: item } });
/** A request as gRPC sends it. */
function enveloped(request: Request): Buffer {
  const bytes = toBinary(StreamEmbeddingsRequestSchema, create(StreamEmbeddingsRequestSchema, request));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

async function* requestsOf(
  items: Iterable<Item> | AsyncIterable<Item>,
  options: Options = {},
): AsyncGenerator<Request> {
  yield optionsOf(options);
  for await (const item of items) yield requestOf(item);
}

const grpcTo: (baseUrl: string) => Transport = (baseUrl) => createGrpcTransport({ baseUrl });
const over: readonly [string, (baseUrl: string) => Transport][] = [
  ["gRPC", grpcTo],
  ["Connect", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" })],
  ["Connect in JSON", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false })],
];
const clientOf = (transport = grpcTo) => createClient(EmbeddingService, transport(running.url));

async function embed(
  items: Iterable<Item> | AsyncIterable<Item>,
  options: Options = {},
  transport = grpcTo,
): Promise<StreamEmbeddingsResponse[]> {
  return Array.fromAsync(clientOf(transport).streamEmbeddings(requestsOf(items, options)));
}

function floats({ result }: StreamEmbeddingsResponse): number[] {
  if (result.case === "values") return result.value.values;
  if (result.case !== "packed") throw new Error(`${result.case}: ${JSON.stringify(result.value)}`);
  return readFloats(result.value);
}

function readFloats(bytes: Uint8Array): number[] {
  const buffer = Buffer.from(bytes);
  return Array.from({ length: buffer.length / 4 }, (_, at) => buffer.readFloatLE(4 * at));
}

function failure({ result }: StreamEmbeddingsResponse): object | undefined {
  return result.case === "error" ? { ...result.value.detail, message: result.value.message } : undefined;
}

/** What bge-m3's heads make of the texts. */
const heads = JSON.parse(readFileSync(join(onnxFixtures, "heads/reference.json"), "utf8"));

const short = texts.flatMap((value, index) => (value !== "" && bert.ids[index].length < 40 ? [index] : []));

describe.each(over)("over %s", (_, transport) => {
  it.each([EmbeddingEncodingFormat.FLOAT, EmbeddingEncodingFormat.BASE64])(
    "embeds each item as the reference has it (format %i)",
    async (encodingFormat) => {
      const items = short.map((index) => text(texts[index] ?? "", String(index)));
      const answers = await embed(items, { encodingFormat }, transport);
      expect(answers.map(({ id }) => Number(id)).sort((a, b) => a - b)).toEqual(short);
      for (const answer of answers) {
        expect(answer.result.case).toBe(encodingFormat === EmbeddingEncodingFormat.FLOAT ? "values" : "packed");
        expectClose(floats(answer), expected(Number(answer.id)));
        expect(answer.promptTokens).toBe(bert.ids[Number(answer.id)].length);
      }
    },
  );

  it.each([EmbeddingEncodingFormat.FLOAT, EmbeddingEncodingFormat.BASE64])(
    "answers with weights and vectors of tokens, where they are wanted (format %i)",
    async (encodingFormat) => {
      const { step, width: columns, texts: made } = heads;
      const indexes = short.filter((index) => index % step === 0 && index > 40).slice(0, 5);
      const items = indexes.map((index) => text(texts[index] ?? "", String(index)));
      const options = { model: "heads", encodingFormat };
      const both = await embed(items, { ...options, returnSparse: true, returnMultivector: true }, transport);
      expect(both).toHaveLength(5);
      for (const { id, sparse, multivector } of both) {
        const wanted = made[Number(id) / step];
        const bytes = Buffer.from(wanted.multivector, "base64");
        expect(sparse?.indices).toEqual(wanted.sparse.map(([token]: [number, number]) => token));
        const weights = wanted.sparse.map(([, weight]: [number, number]) => weight);
        expectClose(sparse?.values ?? [], weights);
        expect(multivector?.count).toBe(bytes.length / 4 / columns);
        expect(multivector?.packed === undefined).toBe(encodingFormat === EmbeddingEncodingFormat.FLOAT);
        const found =
          multivector?.packed === undefined
            ? multivector?.vectors.flatMap(({ values }) => values)
            : readFloats(multivector.packed);
        expectClose(found ?? [], readFloats(bytes));
      }
      const one = await embed([...items, text("")], { ...options, returnSparse: true }, transport);
      expect(one.map(({ result }) => result.case === "error").filter(Boolean)).toHaveLength(1);
      for (const { result, sparse, multivector } of one) {
        expect(sparse === undefined).toBe(result.case === "error");
        expect(multivector).toBeUndefined();
      }
    },
  );

  it("answers a bad item with an error, and the others", async () => {
    const tokens = (ids: number[], id: string): Item => ({ id, input: { case: "tokens", value: { ids } } });
    const items = [
      text("a", "good"),
      text("", "empty"),
      text("the ".repeat(100), "long"),
      text("word ".repeat(300_000), "large"),
      tokens([7, 420], "unknown token"),
      tokens([], "no tokens"),
      { id: "nothing" },
      text("b", "x".repeat(600)),
      tokens([2, 3], "good tokens"),
    ];
    const answers = new Map((await embed(items, {}, transport)).map((answer) => [answer.id, answer]));
    expect(answers.size).toBe(items.length);
    const errors = Object.fromEntries([...answers].map(([id, answer]) => [id, failure(answer)]));
    expect(errors).toEqual({
      good: undefined,
      "good tokens": undefined,
      empty: expect.objectContaining({ kind: "invalid_request", param: "text" }),
      long: expect.objectContaining({
        kind: "context_too_long",
        code: "context_length_exceeded",
        param: "text",
        promptTokens: 102,
        contextLength: 40,
        message: "This model's maximum context length is 40 tokens. However, text has 102 tokens.",
      }),
      large: expect.objectContaining({
        param: "text",
        message: "text: 1500000 bytes of text are above the maximum 1048576",
      }),
      "unknown token": expect.objectContaining({
        param: "tokens[1]",
        message: "tokens[1]: 420 is not in the vocabulary of 420 tokens",
      }),
      "no tokens": expect.objectContaining({ kind: "invalid_request", param: "tokens" }),
      nothing: expect.objectContaining({ kind: "invalid_request", param: "input" }),
      ["x".repeat(512)]: expect.objectContaining({ kind: "invalid_request", param: "id" }),
    });
  });

  it.each<[string, Iterable<Request>, Code, RegExp]>([
    ["no message", [], Code.InvalidArgument, /there is no message with options/],
    ["an item first", [requestOf(text("a"))], Code.InvalidArgument, /the first message must have them/],
    ["options twice", [optionsOf({}), optionsOf({})], Code.InvalidArgument, /only the first message may have them/],
    ["an unknown model", [optionsOf({ model: "none" })], Code.NotFound, /`none` does not exist/],
    ["too many dimensions", [optionsOf({ dimensions: 17 })], Code.InvalidArgument, /17 is above the 16/],
    ["no dimensions", [optionsOf({ dimensions: 0 })], Code.InvalidArgument, /dimensions/],
    ["an unknown prompt", [optionsOf({ promptName: "q" })], Code.InvalidArgument, /prompt_name: the model has no/],
    ["an instruction", [optionsOf({ instruction: "Find." })], Code.FailedPrecondition, /instruction/],
    [
      "weights of tokens",
      [optionsOf({ returnSparse: true })],
      Code.FailedPrecondition,
      /return_sparse: the model makes/,
    ],
    ["vectors of tokens", [optionsOf({ returnMultivector: true })], Code.FailedPrecondition, /return_multivector/],
    ["two prompts", [optionsOf({ instruction: "a", promptName: "b" })], Code.InvalidArgument, /only one of/],
  ])("ends the call for %s", async (_, requests, code, message) => {
    async function* sent() {
      yield* requests;
    }
    const error = await Array.fromAsync(clientOf(transport).streamEmbeddings(sent())).catch((caught) => caught);
    expect(error).toBeInstanceOf(ConnectError);
    expect(error).toMatchObject({ code, rawMessage: expect.stringMatching(message) });
  });
});

it("honours the options", async () => {
  const [index = 0] = short;
  const [cut] = await embed([text(texts[index] ?? "")], { dimensions: 5 });
  if (cut !== undefined) expectClose(floats(cut), expected(index, 5));
  const [raw] = await embed([text(texts[index] ?? "")], { normalize: false });
  const wanted = Array.from({ length: width }, (_, at) => bytes.readFloatLE(4 * (index * width + at)));
  if (raw !== undefined) expectClose(floats(raw), wanted);
  const long = texts.indexOf("the ".repeat(200));
  const [truncated] = await embed([text(texts[long] ?? "")], { truncate: EmbeddingTruncate.END });
  if (truncated !== undefined) expectClose(floats(truncated), expected(long));
  expect([cut, raw, truncated]).not.toContain(undefined);
});

it("answers each item as it comes, before there is another", async () => {
  let answered = Promise.withResolvers<void>();
  async function* items() {
    for (let at = 0; at < 5; at += 1) {
      answered = Promise.withResolvers();
      yield text("hello", String(at));
      await answered.promise;
    }
  }
  const ids: string[] = [];
  for await (const { id } of clientOf().streamEmbeddings(requestsOf(items()))) {
    ids.push(id);
    answered.resolve();
  }
  expect(ids).toEqual(["0", "1", "2", "3", "4"]);
});

it("embeds thousands of texts, one answer for each", async () => {
  const count = 5_000;
  const items = Array.from({ length: count }, (_, at) => text(`text ${at % 97}`, String(at)));
  const answers = await embed(items, { encodingFormat: EmbeddingEncodingFormat.BASE64 });
  expect(new Set(answers.map(({ id }) => id)).size).toBe(count);
  expect(answers.every(({ result }) => result.case === "packed")).toBe(true);
});

it("takes in no more than its windows hold while none of its answers is read", async () => {
  // The answers' ids are long, so that few fit into what is written ahead of the client; here it opens no window for them.
  const filler = text("x".repeat(20_000), "y".repeat(512));
  const item = enveloped(requestOf(filler));
  const session = connect(running.url, { settings: { initialWindowSize: 0 } });
  const stream = session.request({
    ":method": "POST",
    ":path": "/loqui.v1.EmbeddingService/StreamEmbeddings",
    "content-type": "application/grpc",
  });
  stream.on("error", () => {});
  stream.write(enveloped(optionsOf({})));
  const feed = () => {
    while (stream.write(item));
  };
  stream.on("drain", feed);
  feed();
  const sent = () => session.socket.bytesWritten;
  let before = -1;
  for (let tries = 0; before !== sent() && tries < 50; tries += 1) {
    before = sent();
    await setTimeout(500);
  }
  const streamWindow = 1024 * 1024;
  const writtenAhead = (64 * 1024) / 512;
  // Of a stream's window the server gives back what it has read, so that the client sends a window more than that.
  expect(sent()).toBeGreaterThan(streamWindow);
  expect(sent()).toBeLessThan(streamWindow + (256 + writtenAhead) * item.length);
  session.destroy();
});

it("stops when its client leaves, and at its deadline", async () => {
  async function* endless() {
    for (let at = 0; ; at += 1) yield text(`text ${at}`, String(at));
  }
  const controller = new AbortController();
  const answers = clientOf().streamEmbeddings(requestsOf(endless()), { signal: controller.signal });
  let count = 0;
  const left = (async () => {
    for await (const { result } of answers) {
      expect(result.case).toBe("values");
      count += 1;
      if (count === 300) controller.abort();
    }
  })();
  await expect(left).rejects.toMatchObject({ code: Code.Canceled });
  const late = Array.fromAsync(clientOf().streamEmbeddings(requestsOf(endless()), { timeoutMs: 400 }));
  await expect(late).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  async function* silent() {
    yield text("a");
    await setTimeout(60_000, undefined, { ref: false });
  }
  const idle = Array.fromAsync(clientOf().streamEmbeddings(requestsOf(silent()), { timeoutMs: 400 }));
  await expect(idle).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  const inFlight = async () => {
    const page = (await (await fetch(`${running.url}/v1/models/bert`)).json()) as { state: string; in_flight: number };
    return [page.state, page.in_flight];
  };
  await expect.poll(inFlight, { timeout: 15_000 }).toEqual(["ready", 0]);
});

it("goes on with another worker when the worker dies", async () => {
  let killed = false;
  async function* items() {
    for (let at = 0; at < 2_000; at += 1) yield text(`text ${at % 89}`, String(at));
  }
  const answers: StreamEmbeddingsResponse[] = [];
  for await (const answer of clientOf().streamEmbeddings(requestsOf(items()))) {
    answers.push(answer);
    if (answers.length === 100 && !killed) {
      killed = true;
      process.kill(workerOf("bert") ?? 0, "SIGKILL");
    }
  }
  expect(new Set(answers.map(({ id }) => id)).size).toBe(2_000);
  expect(answers.filter(({ result }) => result.case !== "values")).toEqual([]);
});

it("is refused over HTTP/1.1, which answers when all is sent", async () => {
  const transport = (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "1.1" });
  await expect(embed([text("a")], {}, transport)).rejects.toThrow(/505|HTTP/);
});
