import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ChatCompletionChunkSchema,
  ChatService,
  CreateChatCompletionResponseSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { type ErrorDetail, ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { LoquiError } from "../../src/errors.ts";
import type { RequestContext } from "../../src/request-context.ts";
import { createRestHandler } from "../../src/rest/handler.ts";
import { implement } from "../../src/services/handlers.ts";
import { chatRequest, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;

/** Sends back what `x-echo` brought, in a header and a trailer. */
function echo({ metadata }: RequestContext): void {
  metadata.response.set("x-header", metadata.request.get("x-echo") ?? "none");
  metadata.trailer.set("x-trailer", metadata.request.get("x-echo") ?? "none");
}

/** What the server of another release might answer. */
const foreign: { type: string; value: Uint8Array }[] = [
  { type: ErrorDetailSchema.typeName, value: toBinary(ErrorDetailSchema, create(ErrorDetailSchema, { kind: "new" })) },
  { type: "some.other.Detail", value: Uint8Array.of(8, 1) },
];

beforeAll(async () => {
  const chat = implement(ChatService, {
    async createChatCompletion(request, context) {
      echo(context);
      if (request.model === "foreign") {
        throw new LoquiError("model_unavailable", "gone", { status: { code: Code.DataLoss, details: foreign } });
      }
      if (request.model === "late") throw new LoquiError("timeout", "too late");
      return create(CreateChatCompletionResponseSchema, { id: "a" });
    },
    async *streamChatCompletion(_, context) {
      echo(context);
      yield create(ChatCompletionChunkSchema, { id: "c" });
    },
  });
  server = await startTestServer({ services: [chat], rest: (dispatcher) => createRestHandler({ dispatcher }) });
});
afterAll(() => server.close({ force: true }));

const transports: [string, (baseUrl: string) => Transport][] = [
  ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl })],
  ["gRPC-Web", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" })],
  ["Connect", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" })],
];

describe.each(transports)("%s", (_, transport) => {
  const received = () => {
    const seen: Record<string, string | null> = {};
    return {
      seen,
      options: {
        headers: { "x-echo": "héé" },
        onHeader: (headers: Headers) => {
          seen.header = headers.get("x-header");
        },
        onTrailer: (trailers: Headers) => {
          seen.trailer = trailers.get("x-trailer");
        },
      },
    };
  };
  const client = () => createClient(ChatService, transport(server.url));

  test("a handler sees the client's headers and answers with headers and trailers", async () => {
    const { seen, options } = received();
    await client().createChatCompletion(chatRequest("m"), options);
    expect(seen).toEqual({ header: "héé", trailer: "héé" });
  });

  test("so does one that streams", async () => {
    const { seen, options } = received();
    await Array.fromAsync(client().streamChatCompletion(chatRequest("m"), options));
    expect(seen).toEqual({ header: "héé", trailer: "héé" });
  });

  test("they come with an error too", async () => {
    const error = await failure(client().createChatCompletion(chatRequest("late"), received().options));
    expect([error.metadata.get("x-header"), error.metadata.get("x-trailer")]).toEqual(["héé", "héé"]);
  });

  test("the status of another server is passed on as it is", async () => {
    const error = await failure(client().createChatCompletion(chatRequest("foreign")));
    expect(error).toMatchObject({ code: Code.DataLoss, rawMessage: "gone" });
    expect(error.details).toMatchObject(foreign);
    expect(error.findDetails(ErrorDetailSchema).map((detail: ErrorDetail) => detail.kind)).toEqual(["new"]);
  });

  test("an error of which the protocol's code says all has no details", async () => {
    const error = await failure(client().createChatCompletion(chatRequest("late")));
    expect(error).toMatchObject({ code: Code.DeadlineExceeded, rawMessage: "too late", details: [] });
  });
});

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof ConnectError)) throw new Error("the call did not fail");
  return error;
}

describe("REST", () => {
  const body = (model: string, more: object = {}) => ({
    method: "POST",
    headers: { "content-type": "application/json", "x-echo": "there" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "Hi" }], ...more }),
  });

  test.each([
    ["a message", "m", {}, 200],
    ["a stream", "m", { stream: true }, 200],
    ["an error", "late", {}, 504],
    ["a foreign status, by its kind", "foreign", {}, 503],
  ])("the headers come with %s", async (_, model, more, status) => {
    const response = await fetch(`${server.url}/v1/chat/completions`, body(model, more));
    expect(response.status).toBe(status);
    expect(response.headers.get("x-header")).toBe("there");
    await response.text();
  });
});

describe("an unknown method", () => {
  const call = (type: string, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/loqui.v1.ChatService/Nothing`, {
      method: "POST",
      headers: { "content-type": type, ...headers },
      body: "",
    });

  test.each([
    ["application/proto", {}],
    ["application/json", { "connect-protocol-version": "1" }],
  ])("is unimplemented in Connect's shape for %s", async (type, headers) => {
    const response = await call(type, headers);
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      code: "unimplemented",
      message: "loqui.v1.ChatService/Nothing is not implemented",
    });
  });

  test("is a bare 404 for a stream of Connect", async () => {
    const response = await call("application/connect+proto");
    expect([response.status, await response.text()]).toEqual([404, ""]);
  });

  test("is REST's where nothing says Connect", async () => {
    const response = await call("application/json");
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: "not_found" } });
  });
});
