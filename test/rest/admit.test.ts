import { type DescMethod, getOption } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { method as methodOption } from "../../gen/loqui/rest/v1/annotations_pb.ts";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { EmbeddingService } from "../../gen/loqui/v1/embedding_pb.ts";
import { ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { RerankService } from "../../gen/loqui/v1/rerank_pb.ts";
import { SpeechService } from "../../gen/loqui/v1/speech_pb.ts";
import { LoquiError } from "../../src/errors.ts";
import { compileBindings } from "../../src/rest/bindings.ts";
import { compileProto } from "../support/compile-proto.ts";
import { ask, type RestServer, startRestServer } from "./rest-server.ts";

const registry = compileProto({
  "loqui/test/v1/admit.proto": `
    syntax = "proto3";
    package loqui.test.v1;
    import "google/api/annotations.proto";
    import "loqui/rest/v1/annotations.proto";
    message SayRequest { string text = 1; optional bool stream = 2; }
    message SayResponse { string text = 1; }
    service Speaker {
      rpc Say(SayRequest) returns (SayResponse) {
        option (google.api.http) = {post: "/say" body: "*"};
        option (loqui.rest.v1.method) = {error_format: ERROR_FORMAT_ANTHROPIC};
      }
      rpc StreamSay(SayRequest) returns (stream SayResponse) {
        option (loqui.rest.v1.method) = {variant_of: "Say" when: "stream=true" sse: {}};
      }
    }`,
});

let server: RestServer;
let asked: string[][] = [];
let refusal = new LoquiError("unauthenticated", "no entry");
beforeAll(async () => {
  const desc = registry.getService("loqui.test.v1.Speaker");
  if (desc === undefined) throw new Error("no Speaker");
  server = await startRestServer({
    implementations: [{ desc, handlers: {} }],
    async admit(_, response, methods: readonly DescMethod[]) {
      asked.push(methods.map((method) => method.name));
      response.setHeader("www-authenticate", "Bearer");
      throw refusal;
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

describe.each(["HTTP/1.1", "HTTP/2"] as const)("a refusal over %s", (version) => {
  it("has the shape of the method's errors; every method that shares the path was named", async () => {
    asked = [];
    refusal = new LoquiError("unauthenticated", "no entry");
    // Not JSON: it was never read.
    const answer = await ask(server, version, { path: "/say", body: "{", headers: { "content-type": "text/odd" } });
    expect(answer.status).toBe(401);
    expect(answer.headers["www-authenticate"]).toBe("Bearer");
    expect(answer.json()).toEqual({ type: "error", error: { type: "authentication_error", message: "no entry" } });
    expect(asked).toEqual([["StreamSay", "Say"]]);
    expect(server.records).toEqual([]);
  });

  it("has Retry-After where waiting helps", async () => {
    refusal = new LoquiError("rate_limited", "too fast", { retryAfterMs: 12_300 });
    const answer = await ask(server, version, { path: "/say", body: {} });
    expect(answer.status).toBe(429);
    expect(answer.headers["retry-after"]).toBe("13");
    expect(answer.json()).toEqual({ type: "error", error: { type: "rate_limit_error", message: "too fast" } });
  });

  it.each([
    ["GET", "/nowhere"],
    ["GET", "/say"],
    ["OPTIONS", "/say"],
    ["GET", "/openapi.json"],
  ])("comes before all that %s %s would say", async (method, path) => {
    asked = [];
    refusal = new LoquiError("unauthenticated", "no entry");
    const answer = await ask(server, version, { method, path });
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ error: { code: "invalid_api_key" } });
    expect(asked).toEqual([[]]);
  });
});

it("methods that share a path need the same scope: a key is asked for before the body tells them apart", () => {
  for (const { targets } of compileBindings([
    ChatService,
    EmbeddingService,
    ModelService,
    RerankService,
    SpeechService,
  ])) {
    const scopes = targets.map(({ method }) => getOption(method, methodOption).scope);
    expect(new Set(scopes).size).toBe(1);
  }
});
