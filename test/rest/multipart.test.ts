import { gzipSync } from "node:zlib";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type CreateTranscriptionRequest,
  CreateTranscriptionResponseSchema,
  SpeechService,
  TranscriptionEventSchema,
} from "../../gen/loqui/v1/speech_pb.ts";
import { implement } from "../../src/services/handlers.ts";
import { ask, type HttpVersion, type RestServer, raw, startRestServer } from "./rest-server.ts";

let server: RestServer;
let last: CreateTranscriptionRequest | undefined;

beforeAll(async () => {
  server = await startRestServer({
    implementations: [
      implement(SpeechService, {
        async createTranscription(request) {
          last = request;
          const text = `${request.file?.content.length} bytes`;
          return create(CreateTranscriptionResponseSchema, {
            result:
              request.prompt === "raw"
                ? { case: "raw", value: { contentType: "application/x-subrip", data: Buffer.from("1\n00:00 ü\n") } }
                : { case: "json", value: { text } },
          });
        },
        async *createTranscriptionStream(request) {
          last = request;
          yield create(TranscriptionEventSchema, { event: { case: "delta", value: { delta: "a" } } });
          yield create(TranscriptionEventSchema, { event: { case: "done", value: { text: "a" } } });
        },
      }),
    ],
    limits: {
      bodyBytes: 200_000,
      bodyTimeoutMs: 500,
      multipartParts: 12,
      multipartFiles: 2,
      multipartFieldBytes: 1000,
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

type Part = readonly [name: string, value: string | Buffer];

const boundary = "----loquiFormBoundary7MA4YWxkTrZu0gW";

function form(...parts: Part[]): Buffer {
  return Buffer.concat([
    ...parts.flatMap(([name, value]) => [
      Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="${name}"`),
      Buffer.from(
        typeof value === "string" ? "\r\n\r\n" : '; filename="C:\\speech\\hé.wav"\r\ncontent-type: audio/wav\r\n\r\n',
      ),
      Buffer.from(value as string),
      Buffer.from("\r\n"),
    ]),
    Buffer.from(`--${boundary}--\r\n`),
  ]);
}

const path = "/v1/audio/transcriptions";
const headers = { "content-type": `multipart/form-data; boundary=${boundary}` };
const audio = Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * 7) % 256));
const model: Part = ["model", "m"];
const file: Part = ["file", audio];

function invalid(message: string, code: string | null = null, param: string | null = null) {
  return { error: { message, type: "invalid_request_error", param, code } };
}

describe.each<HttpVersion>(["HTTP/1.1", "HTTP/2"])("%s", (version) => {
  test("a file and fields, in one piece or in many", async () => {
    const body = form(
      file,
      model,
      ["temperature", "0.5"],
      ["timestamp_granularities[]", "word"],
      ["timestamp_granularities[]", "segment"],
    );
    for (const chunked of [false, true]) {
      last = undefined;
      const response = await ask(server, version, { path, headers, body, chunked });
      expect(response.json()).toMatchObject({ text: "100000 bytes" });
      expect(last).toMatchObject({
        model: "m",
        temperature: 0.5,
        timestampGranularities: [1, 2],
        file: { filename: "hé.wav", contentType: "audio/wav" },
      });
      const content: Uint8Array = (last as CreateTranscriptionRequest | undefined)?.file?.content ?? new Uint8Array();
      expect(audio.equals(content)).toBe(true);
    }
  });

  test.each([
    ["before", form(["stream", "true"], model, file)],
    ["after", form(model, file, ["stream", "true"])],
  ])("`stream` %s the file chooses the variant", async (_, body) => {
    const response = await ask(server, version, { path, headers, body });
    expect(response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
    expect(response.text()).toMatch(
      /^data: \{"type":"transcript\.text\.delta","delta":"a"\}\n\ndata: \{"type":"transcript\.text\.done","text":"a"\}\n\ndata: \[DONE\]\n\n$/,
    );
    expect(last?.file?.content.length).toBe(100_000);
  });

  test("`stream=false` doesn't", async () => {
    const response = await ask(server, version, { path, headers, body: form(["stream", "false"], model, file) });
    expect(response.headers["content-type"]).toBe("application/json");
  });

  test("bytes with their own media type", async () => {
    const response = await ask(server, version, { path, headers, body: form(model, file, ["prompt", "raw"]) });
    expect(response.headers["content-type"]).toBe("application/x-subrip");
    expect(response.headers["content-length"]).toBe("11");
    expect(response.text()).toBe("1\n00:00 ü\n");
  });

  test("JSON is taken too, the file as base64", async () => {
    const response = await ask(server, version, { path, body: { model: "m", file: { content: "AAEC" } } });
    expect(response.json()).toMatchObject({ text: "3 bytes" });
  });

  test("a compressed form", async () => {
    const body = gzipSync(form(model, file));
    const response = await ask(server, version, { path, headers: { ...headers, "content-encoding": "gzip" }, body });
    expect(response.json()).toMatchObject({ text: "100000 bytes" });
  });

  test("unknown parts are ignored and named, or refused", async () => {
    const body = form(model, file, ["frobnicate", "true"]);
    const lenient = await ask(server, version, { path, headers, body });
    expect([lenient.status, lenient.headers["x-loqui-ignored"]]).toEqual([200, "frobnicate"]);
    const strict = await ask(server, version, { path, headers: { ...headers, "x-loqui-strict": "1" }, body });
    expect(strict.json()).toEqual(invalid("unknown parameter: frobnicate", "unknown_parameter", "frobnicate"));
  });

  test("a field that its type refuses", async () => {
    const response = await ask(server, version, { path, headers, body: form(model, file, ["temperature", "hot"]) });
    expect(response.status).toBe(400);
    expect(response.json()).toMatchObject({ error: { param: "temperature" } });
  });

  test("a missing file is a broken rule", async () => {
    const response = await ask(server, version, { path, headers, body: form(model) });
    expect(response.status).toBe(400);
    expect(response.json()).toMatchObject({ error: { param: "file", code: "required" } });
  });

  const fields = (count: number) => Array.from({ length: count }, (): Part => ["languages", "en"]);

  test.each([
    [
      "a large body",
      form(model, ["file", Buffer.alloc(300_000)]),
      /^the request body( of \d+ bytes)? is above the limit of 200000 bytes$/,
    ],
    [
      "a large field",
      form(model, ["prompt", "x".repeat(1001)], file),
      /^prompt is above the limit of 1000 bytes for a field$/,
    ],
    ["many parts", form(model, ...fields(12)), /^the form has more than 12 parts$/],
    [
      "many files",
      form(file, ["file", Buffer.alloc(1)], ["file", Buffer.alloc(1)]),
      /^the form has more than 2 files$/,
    ],
  ])("%s", async (_, body, message) => {
    for (const chunked of [false, true]) {
      const response = await ask(server, version, { path, headers, body, chunked });
      expect(response.status).toBe(413);
      const { error } = response.json() as { error: { message: string; code: string } };
      expect([error.message, error.code]).toEqual([expect.stringMatching(message), "request_too_large"]);
    }
  });

  test("exactly as many parts as allowed", async () => {
    const response = await ask(server, version, { path, headers, body: form(model, file, ...fields(10)) });
    expect(response.status).toBe(200);
  });

  const whole = form(model, ["file", Buffer.alloc(100, "a")]);
  test.each([
    ["no boundary", "multipart/form-data", whole],
    ["another boundary", "multipart/form-data; boundary=other", whole],
    ["no end", headers["content-type"], whole.subarray(0, whole.length - 6)],
    ["cut in the file", headers["content-type"], whole.subarray(0, whole.length - 60)],
    ["cut in the field", headers["content-type"], whole.subarray(0, 95)],
    ["cut in the header of a part", headers["content-type"], whole.subarray(0, 60)],
    ["cut in the boundary", headers["content-type"], whole.subarray(0, 10)],
    ["no multipart at all", headers["content-type"], Buffer.from("hello")],
    [
      "a part without a name",
      headers["content-type"],
      Buffer.from(whole.toString("latin1").replace(/; name="model"/, "")),
    ],
  ])("malformed: %s", async (_, type, body) => {
    const response = await ask(server, version, { path, headers: { "content-type": type }, body });
    expect(response.status).toBe(400);
    expect(response.json()).toMatchObject({
      error: { message: expect.stringMatching(/^the request body is not valid multipart\/form-data: ./) },
    });
  });

  test("cut anywhere: always an answer, never a success", async () => {
    for (let length = 1; length < whole.length - 6; length += 7) {
      const response = await ask(server, version, { path, headers, body: whole.subarray(0, length), chunked: true });
      expect([length, response.status]).toEqual([length, 400]);
    }
  });
});

test("a form that stops arriving is answered with 408", async () => {
  const answer = await raw(
    server,
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${headers["content-type"]}\r\ncontent-length: 100000\r\n\r\n`,
    form(model, file).subarray(0, 5000),
  );
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
});

test("a client that leaves in the middle of a form costs nothing but the form", async () => {
  const { connect } = await import("node:net");
  const socket = connect(server.ports["HTTP/1.1"], "127.0.0.1");
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${headers["content-type"]}\r\ncontent-length: 100000\r\n\r\n`,
  );
  socket.write(form(model, file).subarray(0, 5000));
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const response = await ask(server, "HTTP/1.1", { path, headers, body: form(model, file) });
  expect(response.status).toBe(200);
});
