import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { EmbeddingService } from "../../gen/loqui/v1/embedding_pb.ts";
import { DeleteModelResponseSchema, ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { RerankService } from "../../gen/loqui/v1/rerank_pb.ts";
import { SpeechService } from "../../gen/loqui/v1/speech_pb.ts";
import { createOpenApiDocument, type OpenApiDocument } from "../../src/rest/openapi.ts";
import { createRouteTable } from "../../src/rest/routes.ts";
import { implement } from "../../src/services/handlers.ts";
import { compileProto } from "../support/compile-proto.ts";
import { createOpenApiValidator, type OpenApiValidator } from "../support/openapi-validator.ts";
import { ask, type RestServer, startRestServer } from "./rest-server.ts";

let server: RestServer;
let document: OpenApiDocument;
let validator: OpenApiValidator;

beforeAll(async () => {
  server = await startRestServer({
    implementations: [
      implement(ModelService, {
        deleteModel: async ({ model }) =>
          create(DeleteModelResponseSchema, { id: model, object: "model", deleted: true }),
      }),
      ...[ChatService, EmbeddingService, RerankService, SpeechService].map((service) => implement(service, {})),
    ],
    info: { title: "loqui", version: "0.1.0", description: "For the test." },
  });
  document = (await ask(server, "HTTP/1.1", { path: "/openapi.json" })).json() as OpenApiDocument;
  validator = createOpenApiValidator(document);
});
afterAll(() => server[Symbol.asyncDispose]());

interface OperationObject {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description: string;
  readonly parameters: readonly { $ref?: string; name?: string; in?: string; required?: boolean }[];
  readonly requestBody?: { required?: boolean; content: Record<string, { schema: object }> };
  readonly responses: Record<string, { description: string; content: Record<string, { schema: object }> }>;
}

function operations(): [path: string, httpMethod: string, operation: OperationObject][] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]): [string, string, OperationObject] => [
      path,
      method,
      operation as OperationObject,
    ]),
  );
}

/** Each `$ref` of the document, with where it stands. */
function* references(value: unknown, at = ""): Iterable<[at: string, ref: string]> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (key === "$ref" && typeof inner === "string") yield [at, inner];
    else yield* references(inner, `${at}/${key}`);
  }
}

function resolve(ref: string): unknown {
  let value: unknown = document;
  for (const token of ref.replace(/^#\//, "").split("/")) {
    value = (value as Record<string, unknown> | undefined)?.[token.replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return value;
}

/** The pointer of each schema that is not a component. */
function* schemaPointers(value: unknown, at = ""): Iterable<string> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    const pointer = `${at}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (key === "schema") yield pointer;
    else yield* schemaPointers(inner, pointer);
  }
}

describe("the document", () => {
  test("says what it is", () => {
    expect(document.openapi).toBe("3.1.0");
    expect(document.info).toEqual({ title: "loqui", version: "0.1.0", description: "For the test." });
    expect(document.tags.map(({ name }) => name)).toEqual([
      "ModelService",
      "ChatService",
      "EmbeddingService",
      "RerankService",
      "SpeechService",
    ]);
  });

  test("has every route", () => {
    const routes = server.handler.routeTable.bindings.map(({ httpMethod, template }) => [
      template.source.replace(/=\*\*\}/g, "}"),
      httpMethod.toLowerCase(),
    ]);
    expect(
      operations()
        .map(([path, method]) => [path, method])
        .toSorted(),
    ).toEqual(routes.toSorted());
  });

  test("every $ref leads somewhere", () => {
    const dangling = [...references(document)].filter(([, ref]) => resolve(ref) === undefined);
    expect(dangling).toEqual([]);
  });

  test("every component is referred to, or stands for a method's message", () => {
    const used = new Set([...references(document)].map(([, ref]) => ref));
    const unused = Object.keys(document.components.schemas).filter((name) => !used.has(`#/components/schemas/${name}`));
    const messages = server.handler.routeTable.bindings
      .flatMap(({ targets }) => targets.flatMap(({ method }) => [`${method.input.name}Input`, method.output.name]))
      .concat("AnthropicError");
    expect(unused.filter((name) => !messages.includes(name))).toEqual([]);
  });

  test("every schema compiles", () => {
    for (const name of Object.keys(document.components.schemas)) validator.schemaAt(`/components/schemas/${name}`);
    const inline = [...schemaPointers(document.paths, "/paths"), ...schemaPointers(document.components, "/components")];
    expect(inline.length).toBeGreaterThan(100);
    for (const pointer of inline) validator.schemaAt(pointer);
  });

  test("every operation is described and has an id of its own", () => {
    const ids = operations().map(([, , { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [path, , { summary, description, tags, responses }] of operations()) {
      expect(summary, path).toMatch(/^[A-Z][^\n]{5,}$/);
      expect(description, path).toContain(summary.slice(0, 20));
      expect(tags).toHaveLength(1);
      expect(Object.keys(responses)).toEqual(["200", "default"]);
      expect(Object.keys(responses["200"]?.content ?? {}).length, path).toBeGreaterThan(0);
    }
  });

  test("path parameters are those of the path", () => {
    for (const [path, , { parameters }] of operations()) {
      const named = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
      const declared = parameters.filter((parameter) => parameter.in === "path");
      expect(
        declared.map(({ name }) => name),
        path,
      ).toEqual(named);
      expect(declared.every(({ required }) => required)).toBe(true);
      const names = parameters.map((parameter) => parameter.$ref ?? `${parameter.in} ${parameter.name}`);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  test("every message and member of loqui.v1 is described", () => {
    const bare = Object.entries(document.components.schemas).filter(([, schema]) => schema.description === undefined);
    expect(bare.map(([name]) => name)).toEqual([]);
  });
});

describe("an operation", () => {
  const operation = (path: string, method: string) =>
    (document.paths[path] as Record<string, OperationObject> | undefined)?.[method] as OperationObject;

  test("with a streaming variant has both media types", () => {
    const { responses, requestBody, description } = operation("/v1/chat/completions", "post");
    expect(responses["200"]?.content).toEqual({
      "application/json": { schema: { $ref: "#/components/schemas/CreateChatCompletionResponse" } },
      "text/event-stream": { schema: { $ref: "#/components/schemas/ChatCompletionChunk" } },
    });
    expect(responses.default?.content).toEqual({
      "application/json": { schema: { $ref: "#/components/schemas/Error" } },
    });
    expect(requestBody).toEqual({
      required: true,
      content: { "application/json": { schema: { $ref: "#/components/schemas/CreateChatCompletionRequestInput" } } },
    });
    expect(description).toContain("With `stream=true`: ");
  });

  test("with a variant of other messages takes and gives either", () => {
    const { responses, requestBody } = operation("/v1/rerank", "post");
    expect(requestBody?.content["application/json"]?.schema).toEqual({
      anyOf: [
        { $ref: "#/components/schemas/RerankRequestInput" },
        { $ref: "#/components/schemas/RerankTextsRequestInput" },
      ],
    });
    expect(responses["200"]?.content["application/json"]?.schema).toEqual({
      anyOf: [{ $ref: "#/components/schemas/RerankResponse" }, { $ref: "#/components/schemas/RerankTextsResponse" }],
    });
  });

  test("with files takes a form", () => {
    const { responses, requestBody } = operation("/v1/audio/transcriptions", "post");
    const form = requestBody?.content["multipart/form-data"]?.schema;
    expect(form).toMatchObject({
      type: "object",
      properties: {
        file: { type: "string", contentMediaType: "application/octet-stream" },
        model: { type: "string" },
        stream: { type: "boolean" },
        "timestamp_granularities[]": { type: "array" },
      },
      required: ["file", "model"],
    });
    expect(Object.keys(responses["200"]?.content ?? {}).toSorted()).toEqual([
      "*/*",
      "application/json",
      "text/event-stream",
    ]);
  });

  test("that answers with bytes only has no JSON", () => {
    const { content } = operation("/v1/audio/speech", "post").responses["200"] ?? {};
    expect(Object.keys(content ?? {}).toSorted()).toEqual(["*/*", "text/event-stream"]);
  });

  test("leaves out of the body what the path says", () => {
    const { requestBody } = operation("/v1/models/{model}", "patch");
    const schema = requestBody?.content["application/json"]?.schema as { properties: object; required?: string[] };
    expect(Object.keys(schema.properties)).toContain("pinned");
    expect(Object.keys(schema.properties)).not.toContain("model");
    expect(schema.required ?? []).not.toContain("model");
    expect(requestBody?.required).toBeUndefined();
  });

  test("of a query has its parameters", () => {
    const { parameters, requestBody } = operation("/v1/models/{model}:unload", "post");
    expect(requestBody).toBeUndefined();
    expect(parameters).toContainEqual({
      name: "force",
      in: "query",
      description: expect.stringContaining("Whether requests in flight are ended at once."),
      schema: { type: "boolean" },
    });
  });
});

describe("over HTTP", () => {
  test("is kept by its etag", async () => {
    const first = await ask(server, "HTTP/2", { path: "/openapi.json?x=1" });
    expect(first.headers).toMatchObject({ "content-type": "application/json", "cache-control": "no-cache" });
    const { etag = "" } = first.headers;
    expect(etag).toMatch(/^"[\w-]{22}"$/);
    for (const header of [etag, `"x", W/${etag}`, "*"]) {
      const again = await ask(server, "HTTP/1.1", { path: "/openapi.json", headers: { "if-none-match": header } });
      expect([again.status, again.text(), again.headers.etag]).toEqual([304, "", etag]);
    }
    const head = await ask(server, "HTTP/1.1", { method: "HEAD", path: "/openapi.json" });
    expect([head.status, head.text(), head.headers["content-length"]]).toEqual([200, "", String(first.body().length)]);
  });

  test("takes GET and HEAD only", async () => {
    const post = await ask(server, "HTTP/1.1", { path: "/openapi.json", body: {} });
    expect([post.status, post.headers.allow]).toEqual([405, "GET, HEAD, OPTIONS"]);
    const options = await ask(server, "HTTP/1.1", { method: "OPTIONS", path: "/openapi.json" });
    expect([options.status, options.headers.allow]).toEqual([204, "GET, HEAD, OPTIONS"]);
  });
});

describe("the validator", () => {
  const seen = { method: "DELETE", path: "/v1/models/a/b?x=1", status: 200, contentType: "application/json" };

  test("accepts what the server answers", async () => {
    const deleted = await ask(server, "HTTP/1.1", { method: "DELETE", path: "/v1/models/a/b" });
    validator.check({ ...seen, body: deleted.body() });
    const failed = await ask(server, "HTTP/1.1", { path: "/v1/models/a:metrics" });
    validator.check({
      method: "GET",
      path: "/v1/models/a:metrics",
      status: 501,
      contentType: "application/json",
      body: failed.body(),
    });
  });

  test.each([
    [{ body: '{"id":"a","object":"model"}' }, /must have required property 'deleted'/],
    [{ body: '{"id":1,"deleted":true}' }, /\/id must be string/],
    [{ contentType: "text/plain", body: "" }, /text\/plain is not a media type of the operation/],
    [{ status: 204, body: "" }, /not a status of the operation/],
    [{ status: 500, body: "{}" }, /must have required property 'error'/],
    [{ method: "PUT", body: "" }, /no such operation/],
    [
      { method: "GET", path: "/v1/models:watch", contentType: "text/event-stream", body: 'data: {"type":"x"}\n\n' },
      /must match/,
    ],
  ])("refuses %j", (change, message) => {
    expect(() => validator.check({ ...seen, ...change })).toThrow(message);
  });
});

describe("what loqui.v1 doesn't use", () => {
  const registry = compileProto({
    "loqui/test/v1/library.proto": `
      syntax = "proto3";
      package loqui.test.v1;
      import "google/api/annotations.proto";
      import "google/api/httpbody.proto";
      import "loqui/rest/v1/annotations.proto";
      message Book { string name = 1; string text = 2; }
      message Put { Book book = 1; string shelf = 2; uint32 copies = 3; Book like = 4; }
      message Kept { Book book = 1; }
      service Library {
        rpc PutBook(Put) returns (Kept) {
          option deprecated = true;
          option (google.api.http) = {
            put: "/{book.name=shelves/*/books/*}/*" body: "book" response_body: "book"
            additional_bindings {custom: {kind: "COPY" path: "/x"}}
          };
          option (loqui.rest.v1.method) = {error_format: ERROR_FORMAT_ANTHROPIC};
        }
        rpc Scan(Put) returns (google.api.HttpBody) { option (google.api.http) = {get: "/scan"}; }
      }`,
  });
  const service = registry.getService("loqui.test.v1.Library");
  if (service === undefined) throw new Error("no service");
  const routeTable = createRouteTable([service]);
  const { paths } = createOpenApiDocument({ services: [service], routeTable, info: { comments: new Map() } });

  test("is described too", () => {
    expect(Object.keys(paths)).toEqual(["/{book.name}/{wildcard1}", "/scan"]);
    expect(paths["/{book.name}/{wildcard1}"]?.put).toMatchObject({
      operationId: "putBook",
      deprecated: true,
      parameters: [
        {
          name: "book.name",
          in: "path",
          required: true,
          schema: { type: "string", pattern: "^shelves/[^/]+/books/[^/]+$" },
        },
        { name: "wildcard1", in: "path", required: true, schema: { type: "string" } },
        { name: "shelf", in: "query", schema: { type: "string" } },
        { name: "copies", in: "query", schema: { type: "integer" } },
        {
          name: "like",
          in: "query",
          content: { "application/json": { schema: { $ref: "#/components/schemas/BookInput" } } },
        },
        {},
        {},
        {},
      ],
      requestBody: { content: { "application/json": { schema: { $ref: "#/components/schemas/BookInput" } } } },
      responses: {
        "200": { content: { "application/json": { schema: { $ref: "#/components/schemas/Book" } } } },
        default: { content: { "application/json": { schema: { $ref: "#/components/schemas/AnthropicError" } } } },
      },
    });
    expect(paths["/scan"]?.get).toMatchObject({ responses: { "200": { content: { "*/*": {} } } } });
  });
});
