/** @grpc/grpc-js with the protos loaded at run time, against the whole server. */
import { join, resolve } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { helloReply, type RunningLoqui, startWithScripts, usualScripts } from "../support/running-loqui.ts";

interface Chunk {
  choices: { delta?: { content?: string }; finish_reason?: string }[];
}
interface Answer {
  model: string;
  choices: { message: { content: string }; finish_reason: string }[];
  usage: { completion_tokens: number };
}
type Options = { deadline?: number };
interface ChatClient extends grpc.Client {
  CreateChatCompletion(
    request: object,
    metadata: grpc.Metadata,
    options: Options,
    done: (error: grpc.ServiceError | null, answer?: Answer) => void,
  ): grpc.ClientUnaryCall;
  StreamChatCompletion(request: object, metadata: grpc.Metadata, options: Options): grpc.ClientReadableStream<Chunk>;
}

const protos = resolve(import.meta.dirname, "../../proto");
let running: RunningLoqui;
let client: ChatClient;
beforeAll(async () => {
  running = await startWithScripts(usualScripts);
  const definition = loadSync("loqui/v1/chat.proto", {
    includeDirs: [protos, join(protos, "third_party")],
    keepCase: true,
    enums: String,
    longs: String,
  });
  const loaded = grpc.loadPackageDefinition(definition) as unknown as {
    loqui: { v1: { ChatService: new (address: string, credentials: grpc.ChannelCredentials) => ChatClient } };
  };
  client = new loaded.loqui.v1.ChatService(new URL(running.url).host, grpc.credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await running[Symbol.asyncDispose]();
});

function question(model: string, more: object = {}) {
  return { model, messages: [{ role: "CHAT_ROLE_USER", content: { text: "Hi!" } }], ...more };
}

function unary(request: object, metadata = new grpc.Metadata(), options: Options = {}): Promise<Answer> {
  return new Promise((done, fail) =>
    client.CreateChatCompletion(request, metadata, options, (error, answer) =>
      answer === undefined ? fail(error) : done(answer),
    ),
  );
}

async function failure(promise: Promise<unknown>): Promise<grpc.ServiceError> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof Error && "code" in error)) throw new Error("the call did not fail");
  return error as grpc.ServiceError;
}

/** The ErrorDetail in `grpc-status-details-bin`: google.rpc.Status with one Any. */
function detailOf(error: grpc.ServiceError) {
  const [bytes] = error.metadata.get("grpc-status-details-bin") as Buffer[];
  const at = bytes?.indexOf("loqui.v1.ErrorDetail") ?? -1;
  if (bytes === undefined || at < 0) throw new Error("the error has no detail");
  const value = bytes.subarray(at + "loqui.v1.ErrorDetail".length);
  expect(value[0]).toBe(0x12);
  return fromBinary(ErrorDetailSchema, value.subarray(2, 2 + (value[1] ?? 0)));
}

describe("grpc-js", () => {
  it("unary", async () => {
    const answer = await unary(question("hello"));
    expect(answer.model).toBe("hello");
    expect(answer.choices[0]).toMatchObject({
      message: { content: helloReply },
      finish_reason: "FINISH_REASON_STOP",
    });
  });

  it("streaming, with metadata", async () => {
    const metadata = new grpc.Metadata();
    metadata.set("x-request-id", "from-grpc-js");
    const stream = client.StreamChatCompletion(question("hello"), metadata, {});
    const header = new Promise<grpc.Metadata>((done) => stream.once("metadata", done));
    const chunks = (await Array.fromAsync(stream)) as Chunk[];
    expect(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("")).toBe(helloReply);
    expect((await header).get("x-request-id")).toEqual(["from-grpc-js"]);
  });

  it("cancel frees the slot", async () => {
    for (let i = 0; i < 12; i++) {
      const stream = client.StreamChatCompletion(question("endless"), new grpc.Metadata(), {});
      const ended = new Promise<grpc.StatusObject>((done) => stream.once("status", done));
      stream.once("data", () => stream.cancel());
      stream.on("error", () => {});
      expect((await ended).code).toBe(grpc.status.CANCELLED);
    }
    expect((await unary(question("endless", { max_tokens: 2 }))).usage.completion_tokens).toBe(2);
  });

  it("deadline", async () => {
    const error = await failure(unary(question("endless"), new grpc.Metadata(), { deadline: Date.now() + 300 }));
    expect(error.code).toBe(grpc.status.DEADLINE_EXCEEDED);
  });

  it("errors carry their structure", async () => {
    const error = await failure(unary(question("hello", { temperature: 3.5 })));
    expect(error.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(detailOf(error)).toMatchObject({ kind: "invalid_request", param: "temperature", code: "double.gte_lte" });
    const unknown = await failure(unary(question("helo")));
    expect(unknown.code).toBe(grpc.status.NOT_FOUND);
    expect(detailOf(unknown)).toMatchObject({ code: "model_not_found", param: "model" });
    const long = await failure(unary({ model: "small", messages: [{ role: 2, content: { text: "x".repeat(500) } }] }));
    expect(long.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(detailOf(long)).toMatchObject({ code: "context_length_exceeded", contextLength: 64 });
  });

  it("a unary call with stream: true is refused", async () => {
    const error = await failure(unary(question("hello", { stream: true })));
    expect(error.code).toBe(grpc.status.INVALID_ARGUMENT);
    expect(detailOf(error).param).toBe("stream");
  });
});
