import type { DescService } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { EmbeddingService } from "../../gen/loqui/v1/embedding_pb.ts";
import { ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { RerankService } from "../../gen/loqui/v1/rerank_pb.ts";
import { SpeechService } from "../../gen/loqui/v1/speech_pb.ts";
import { LoquiError } from "../../src/errors.ts";
import { createRouteTable, type RouteTable } from "../../src/rest/routes.ts";
import { compileProto } from "../support/compile-proto.ts";

const loqui = createRouteTable([ModelService, ChatService, EmbeddingService, RerankService, SpeechService]);

/** What a request line leads to, in one line. */
function lookUp(table: RouteTable, httpMethod: string, path: string): string {
  const match = table.match(httpMethod, path);
  if (match.kind === "not_found") return "not found";
  if (match.kind === "method_not_allowed") return `allow ${match.allow.join(" ")}`;
  const values = match.variables.map(({ fieldPath, text }) => `${fieldPath}=${text}`);
  return [match.binding.targets.at(-1)?.method.name, ...values].join(" ");
}

describe("loqui.v1", () => {
  test.each([
    ["GET", "/v1/models", "ListModels"],
    ["HEAD", "/v1/models", "ListModels"],
    ["GET", "/v1/models/gpt", "GetModel model=gpt"],
    ["GET", "/v1/models/Qwen/Qwen3-4B", "GetModel model=Qwen/Qwen3-4B"],
    ["GET", "/v1/models/Qwen%2FQwen3-4B", "GetModel model=Qwen/Qwen3-4B"],
    ["GET", "/v1/models/a%2fb%20c", "GetModel model=a/b c"],
    ["GET", "/v1/models/%F0%9F%A6%99", "GetModel model=🦙"],
    ["GET", "/v1/models/llama3.1:latest", "GetModel model=llama3.1:latest"],
    ["GET", "/v1/models/a/b:load", "GetModel model=a/b:load"],
    ["GET", "/v1/models/a/b:metrics", "GetModelMetrics model=a/b"],
    ["GET", "/v1/models/a/b%3Ametrics", "GetModel model=a/b:metrics"],
    ["GET", "/v1/models/llama3.1:latest:metrics", "GetModelMetrics model=llama3.1:latest"],
    ["GET", "/v1/models:watch", "WatchModels"],
    ["POST", "/v1/models/a/b:load", "LoadModel model=a/b"],
    ["POST", "/v1/models/llama3.1:latest:load", "LoadModel model=llama3.1:latest"],
    ["POST", "/v1/models/llama3.1:latest", "allow DELETE GET HEAD OPTIONS PATCH"],
    ["POST", "/v1/models/a:unload", "UnloadModel model=a"],
    ["POST", "/v1/models/a:pull", "PullModel model=a"],
    ["POST", "/v1/models:validate", "ValidateModel"],
    ["DELETE", "/v1/models/llama3.1:latest", "DeleteModel model=llama3.1:latest"],
    ["PATCH", "/v1/models/x/y", "UpdateModel model=x/y"],
    ["PUT", "/v1/models/x:load", "allow DELETE GET HEAD OPTIONS PATCH POST"],
    ["DELETE", "/v1/models:validate", "allow OPTIONS POST"],
    ["PATCH", "/v1/models", "allow GET HEAD OPTIONS"],
    ["POST", "/v1/chat/completions", "CreateChatCompletion"],
    ["POST", "/v1/ch%61t/completions", "CreateChatCompletion"],
    ["GET", "/v1/chat/completions", "allow OPTIONS POST"],
    ["OPTIONS", "/v1/chat/completions", "allow OPTIONS POST"],
    ["POST", "/v1/chat/completions/input_tokens", "CountTokens"],
    ["POST", "/embed", "Embed"],
    ["POST", "/embed_sparse", "EmbedSparse"],
    ["POST", "/similarity", "Similarity"],
    ["POST", "/rerank", "Rerank"],
    ["POST", "/v2/rerank", "Rerank"],
    ["GET", "/v1/models/", "not found"],
    ["GET", "/v1/models/a/", "not found"],
    ["GET", "/v1/models//a", "not found"],
    ["GET", "/v1/models/:metrics", "GetModel model=:metrics"],
    ["GET", "/v1/models:load", "not found"],
    ["GET", "/v1", "not found"],
    ["GET", "/", "not found"],
    ["GET", "", "not found"],
    ["OPTIONS", "*", "not found"],
    ["POST", "/v1/chat/completions/", "not found"],
    ["POST", "/V1/chat/completions", "not found"],
  ])("%s %s → %s", (httpMethod, path, expected) => {
    expect(lookUp(loqui, httpMethod, path)).toBe(expected);
  });

  test("refuses percent-encoding that is none", () => {
    expect(() => loqui.match("GET", "/v1/models/%zz")).toThrow(
      new LoquiError("invalid_request", 'the path segment "%zz" is not valid percent-encoding'),
    );
    expect(() => loqui.match("GET", "/v1/models/%ff")).toThrow(LoquiError);
  });
});

const head = `
syntax = "proto3";
package loqui.test.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "loqui/rest/v1/annotations.proto";
`;
const messages = `
message Empty {}
message Book { string name = 1; }
enum Mode { MODE_UNSPECIFIED = 0; MODE_FAST = 1 [(loqui.rest.v1.json_value) = "fast"]; }
message Request {
  string name = 1;
  Book book = 2;
  repeated string tags = 3;
  bool stream = 4;
  Mode mode = 5;
}
`;

function rpc(name: string, options: string, signature = "(Request) returns (Empty)"): string {
  return `rpc ${name}${signature} { ${options} }`;
}
const http = (rule: string) => `option (google.api.http) = {${rule}};`;
const rest = (options: string) => `option (loqui.rest.v1.method) = {${options}};`;

describe("precedence and captures", () => {
  const registry = compileProto({
    "loqui/test/v1/library.proto": `${head}${messages}
      service Library {
        ${rpc("Latest", http('get: "/books/latest"'))}
        ${rpc("One", http('get: "/books/{name}"'))}
        ${rpc("Any", http('get: "/books/{name=**}"'))}
        ${rpc("Nested", http('get: "/{book.name=shelves/*/books/*}"'))}
        ${rpc("Purge", http('custom: {kind: "PURGE" path: "/books/{name}"}'))}
        ${rpc("Wild", http('custom: {kind: "*" path: "/anything/{name}"} additional_bindings {put: "/anything/{name}"}'))}
        ${rpc("Deep", http('get: "/a/*/c"'))}
        ${rpc("Back", http('get: "/a/{name=b/**}"'))}
        ${rpc("Unbound", "")}
      }`,
  });
  const service = registry.getService("loqui.test.v1.Library") as DescService;
  const table = createRouteTable([service]);

  test.each([
    ["GET", "/books/latest", "Latest"],
    ["GET", "/books/x", "One name=x"],
    ["GET", "/books/x%2Fy", "One name=x/y"],
    ["GET", "/books/x/y", "Any name=x/y"],
    ["GET", "/books/latest/y", "Any name=latest/y"],
    ["GET", "/shelves/1/books/2", "Nested book.name=shelves/1/books/2"],
    ["GET", "/shelves/a%2Fb/books/c%20d", "Nested book.name=shelves/a%2Fb/books/c d"],
    ["PURGE", "/books/x", "Purge name=x"],
    ["PUT", "/books/x", "allow GET HEAD OPTIONS PURGE"],
    ["LOCK", "/anything/x", "Wild name=x"],
    ["PUT", "/anything/x", "Wild name=x"],
    ["GET", "/a/x/c", "Deep"],
    ["GET", "/a/b/c", "Back name=b/c"],
    ["GET", "/a/b", "not found"],
    ["GET", "/a/b/d/e", "Back name=b/d/e"],
    ["GET", "/a/x/d", "not found"],
  ])("%s %s → %s", (httpMethod, path, expected) => {
    expect(lookUp(table, httpMethod, path)).toBe(expected);
  });

  test("methods without a path are not reached", () => {
    expect(table.bindings.map(({ targets }) => targets[0]?.method.name)).not.toContain("Unbound");
  });
});

describe("refused at boot", () => {
  const stream = "(Request) returns (stream Empty)";
  const cases: Record<string, [rpcs: string, message: string]> = {
    Duplicate: [
      rpc("A", http('get: "/a/{name}"')) + rpc("B", http('get: "/a/*"')),
      "GET /a/* is claimed twice, by rpc loqui.test.v1.Duplicate.A and rpc loqui.test.v1.Duplicate.B",
    ],
    Template: [
      rpc("A", http('get: "/a/**/b"')),
      'loqui.test.v1.Template.A: path template "/a/**/b", position 6: nothing may follow ** but a verb',
    ],
    NoField: [
      rpc("A", http('get: "/a/{title}"')),
      "loqui.test.v1.NoField.A: path variable title: loqui.test.v1.Request has no such field",
    ],
    NotScalar: [
      rpc("A", http('get: "/a/{book}"')),
      "loqui.test.v1.NotScalar.A: path variable book: book is message, not a single value",
    ],
    ListVariable: [
      rpc("A", http('get: "/a/{tags}"')),
      "loqui.test.v1.ListVariable.A: path variable tags: tags is list, not a single value",
    ],
    NoBodyField: [
      rpc("A", http('post: "/a" body: "text"')),
      "loqui.test.v1.NoBodyField.A: body: loqui.test.v1.Request has no field text",
    ],
    NoResponseField: [
      rpc("A", http('get: "/a" response_body: "text"')),
      "loqui.test.v1.NoResponseField.A: response_body: loqui.test.v1.Empty has no field text",
    ],
    ListResponse: [
      rpc("A", http('get: "/a" response_body: "tags"'), "(Request) returns (Request)"),
      "loqui.test.v1.ListResponse.A: response_body: tags is not a message; wrap it and flatten the wrapper",
    ],
    NestedBindings: [
      rpc("A", http('get: "/a" additional_bindings {get: "/b" additional_bindings {get: "/c"}}')),
      "loqui.test.v1.NestedBindings.A: additional_bindings in additional_bindings",
    ],
    NoPath: [rpc("A", http('body: "*"')), "loqui.test.v1.NoPath.A: google.api.http without a path"],
    Kind: [
      rpc("A", http('custom: {kind: "get" path: "/a"}')),
      'loqui.test.v1.Kind.A: custom HTTP method "get" is neither * nor in upper case',
    ],
    PlainStream: [
      rpc("A", http('get: "/a"'), stream),
      "loqui.test.v1.PlainStream.A: a stream of messages needs `sse` to be reached by REST",
    ],
    UnarySse: [
      rpc("A", http('get: "/a"') + rest("sse: {}")),
      "loqui.test.v1.UnarySse.A: `sse` on a method that doesn't stream",
    ],
    ClientStream: [
      rpc("A", http('post: "/a" body: "*"'), "(stream Request) returns (Empty)"),
      "loqui.test.v1.ClientStream.A: a stream of requests has no REST form",
    ],
    BareVariant: [
      rpc("A", http('get: "/a"')) + rpc("B", rest('variant_of: "A"')),
      "loqui.test.v1.BareVariant.B: `variant_of` without `when`",
    ],
    BareWhen: [rpc("A", rest('when: "stream=true"')), "loqui.test.v1.BareWhen.A: `when` without `variant_of`"],
    UnknownPrimary: [
      rpc("B", rest('variant_of: "A" when: "stream=true"')),
      "loqui.test.v1.UnknownPrimary.B: variant of A, which loqui.test.v1.UnknownPrimary doesn't have",
    ],
    PathlessPrimary: [
      rpc("A", "") + rpc("B", rest('variant_of: "A" when: "stream=true"')),
      "loqui.test.v1.PathlessPrimary.B: variant of A, which has no path",
    ],
    VariantPath: [
      rpc("A", http('get: "/a"')) + rpc("B", http('get: "/b"') + rest('variant_of: "A" when: "stream=true"')),
      "loqui.test.v1.VariantPath.B: a variant has the path of another method and none of its own",
    ],
    BadWhen: [
      rpc("A", http('get: "/a"')) + rpc("B", rest('variant_of: "A" when: "stream is true"')),
      'loqui.test.v1.BadWhen.B: when: "stream is true" is neither name=value nor has(name)',
    ],
    WhenField: [
      rpc("A", http('get: "/a"')) + rpc("B", rest('variant_of: "A" when: "has(title)"')),
      "loqui.test.v1.WhenField.B: when: loqui.test.v1.Request has no field title",
    ],
    WhenBool: [
      rpc("A", http('get: "/a"')) + rpc("B", rest('variant_of: "A" when: "stream=yes"')),
      "loqui.test.v1.WhenBool.B: when: stream is true or false, not yes",
    ],
    WhenEnum: [
      rpc("A", http('get: "/a"')) + rpc("B", rest('variant_of: "A" when: "mode=MODE_FAST"')),
      "loqui.test.v1.WhenEnum.B: when: loqui.test.v1.Mode has no value MODE_FAST",
    ],
    WhenMessage: [
      rpc("A", http('get: "/a"')) + rpc("B", rest('variant_of: "A" when: "book=x"')),
      "loqui.test.v1.WhenMessage.B: when: book is not a scalar",
    ],
    MultipartBody: [
      rpc("A", http('post: "/a" body: "book"') + rest("multipart: true")),
      'loqui.test.v1.MultipartBody.A: `multipart` needs body: "*"',
    ],
  };
  const registry = compileProto({
    "loqui/test/v1/wrong.proto": `${head}${messages}${Object.entries(cases)
      .map(([name, [rpcs]]) => `service ${name} {${rpcs}}`)
      .join("\n")}`,
  });

  test.each(Object.entries(cases))("%s", (name, [, message]) => {
    const service = registry.getService(`loqui.test.v1.${name}`) as DescService;
    expect(() => createRouteTable([service])).toThrow(new Error(message));
  });
});
