import { create, type DescService, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LoquiError } from "../../src/errors.ts";
import type { RequestContext } from "../../src/request-context.ts";
import type { ServiceImplementation } from "../../src/services/handlers.ts";
import { compileProto } from "../support/compile-proto.ts";
import { ask, type HttpVersion, open, type RestServer, startRestServer } from "./rest-server.ts";

// What google.api.http and our options can say beyond what loqui.v1 does.
const registry = compileProto({
  "loqui/test/v1/library.proto": `
    syntax = "proto3";
    package loqui.test.v1;
    import "google/api/annotations.proto";
    import "google/api/httpbody.proto";
    import "loqui/rest/v1/annotations.proto";

    message Book {
      string name = 1;
      string text = 2 [(loqui.rest.v1.field).emit_empty = true];
    }
    message PutBookRequest {
      Book book = 1;
      string shelf = 2;
      repeated uint32 pages = 3;
      Book like = 4;
      repeated string words = 5;
    }
    message PutBookResponse {
      Book book = 1;
      string note = 2;
    }
    message ScanResponse {
      oneof result {
        option (loqui.rest.v1.oneof) = {style: STYLE_UNTAGGED flatten: true};
        Book book = 1;
        google.api.HttpBody image = 2;
      }
    }

    service Library {
      rpc PutBook(PutBookRequest) returns (PutBookResponse) {
        option (google.api.http) = {
          put: "/{book.name=shelves/*/books/*}" body: "book" response_body: "book"
          additional_bindings {custom: {kind: "COPY" path: "/copies/{shelf}"}}
          additional_bindings {post: "/words" body: "words"}
        };
        option (loqui.rest.v1.method) = {error_format: ERROR_FORMAT_ANTHROPIC};
      }
      rpc Scan(PutBookRequest) returns (ScanResponse) { option (google.api.http) = {get: "/scan/{shelf}"}; }
      rpc Image(PutBookRequest) returns (google.api.HttpBody) { option (google.api.http) = {get: "/image"}; }
      rpc Find(PutBookRequest) returns (Book) { option (google.api.http) = {get: "/find"}; }
      rpc FindWords(PutBookRequest) returns (Book) {
        option (loqui.rest.v1.method) = {variant_of: "Find" when: "has(words)"};
      }
      rpc FindPage(PutBookRequest) returns (Book) {
        option (loqui.rest.v1.method) = {variant_of: "Find" when: "shelf=top"};
      }
      rpc Film(PutBookRequest) returns (stream google.api.HttpBody) { option (google.api.http) = {get: "/film"}; }
      rpc Follow(PutBookRequest) returns (stream Book) {
        option (google.api.http) = {get: "/follow"};
        option (loqui.rest.v1.method) = {sse: {named_events: true} error_format: ERROR_FORMAT_ANTHROPIC};
      }
    }`,
});

function messageOf(name: string) {
  const desc = registry.getMessage(name);
  if (desc === undefined) throw new Error(`no ${name}`);
  return desc;
}
const responseDesc = messageOf("loqui.test.v1.PutBookResponse");
const scanDesc = messageOf("loqui.test.v1.ScanResponse");
const bodyDesc = messageOf("google.api.HttpBody");
const bookDesc = messageOf("loqui.test.v1.Book");
const init = (fields: object) => fields as MessageInitShape<typeof bodyDesc>;

interface PutBook {
  readonly book?: { name: string; text: string };
  readonly shelf: string;
  readonly pages: number[];
  readonly like?: { name: string };
  readonly words: string[];
}

let server: RestServer;
let last: PutBook;
let failure: Error | undefined;
let film: (context: RequestContext) => AsyncIterable<Message>;

beforeAll(async () => {
  const handlers = {
    async putBook(request: PutBook) {
      last = request;
      if (failure !== undefined) throw failure;
      return create(responseDesc, init({ book: request.book, note: "kept" }));
    },
    async scan({ shelf }: PutBook) {
      const image = { contentType: "image/png", data: Buffer.from([137, 80, 78, 71]) };
      const result =
        shelf === "image"
          ? { case: "image", value: create(bodyDesc, init(image)) }
          : { case: "book", value: create(bookDesc, init({ name: "b" })) };
      return create(scanDesc, init({ result }));
    },
    image: async () => create(bodyDesc, init({ data: Buffer.from([0, 255]) })),
    find: async () => create(bookDesc, init({ name: "Find" })),
    findWords: async ({ words }: PutBook) => create(bookDesc, init({ name: `FindWords ${words.join(" ")}` })),
    findPage: async () => create(bookDesc, init({ name: "FindPage" })),
    film: (_: PutBook, context: RequestContext) => film(context),
    async *follow() {
      yield create(bookDesc, init({ name: "a" }));
      throw new LoquiError("overloaded", "full");
    },
  };
  const service = registry.getService("loqui.test.v1.Library") as DescService;
  server = await startRestServer({
    implementations: [{ desc: service, handlers: handlers as unknown as ServiceImplementation["handlers"] }],
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const book = { method: "PUT", path: "/shelves/1/books/2" };

describe.each<HttpVersion>(["HTTP/1.1", "HTTP/2"])("%s", (version) => {
  test("the body is a field, the path sets a part of it, the query the rest; the response is a field too", async () => {
    failure = undefined;
    const path = `${book.path}?shelf=s&pages=1&pages=2&like.name=x&nothing=1`;
    const response = await ask(server, version, { ...book, path, body: { text: "t", colour: "red" } });
    expect(response.text()).toBe('{"name":"shelves/1/books/2","text":"t"}');
    expect(response.headers["x-loqui-ignored"]).toBe("nothing,book.colour");
    expect(last).toMatchObject({ shelf: "s", pages: [1, 2], like: { name: "x" }, book: { text: "t" } });
  });

  test("a body field that is a list", async () => {
    await ask(server, version, { path: "/words?shelf=s", body: ["a", "b"] });
    expect(last).toMatchObject({ words: ["a", "b"], shelf: "s" });
  });

  test("an absent field of the response is its empty message", async () => {
    const response = await ask(server, version, { path: "/words", body: [] });
    expect(response.json()).toMatchObject({ note: "kept" });
    const copy = await ask(server, version, { method: "PUT", path: "/shelves/1/books/2", body: "", chunked: true });
    expect(copy.text()).toBe('{"name":"shelves/1/books/2","text":""}');
  });

  test("a wrong member of the body names its path in the request", async () => {
    const response = await ask(server, version, { ...book, body: { text: 1 } });
    expect(response.status).toBe(400);
    expect(response.json()).toMatchObject({ type: "error", error: { message: expect.stringContaining("book.text") } });
  });

  test.each([
    ["/find", "Find"],
    ["/find?shelf=bottom", "Find"],
    ["/find?shelf=top", "FindPage"],
    ["/find?shelf=top&words=a&words=b", "FindWords a b"],
  ])("the variant that the query chooses: %s", async (path, name) => {
    const response = await ask(server, version, { path });
    expect(response.json()).toMatchObject({ name });
  });

  test("a custom HTTP method", async () => {
    const response = await ask(server, version, { method: "COPY", path: "/copies/a%2Fb" });
    expect(response.status).toBe(200);
    expect(last.shelf).toBe("a/b");
  });

  test.each([
    [new LoquiError("invalid_request", "no"), 400, "invalid_request_error"],
    [new LoquiError("unauthenticated", "no"), 401, "authentication_error"],
    [new LoquiError("permission_denied", "no"), 403, "permission_error"],
    [new LoquiError("model_not_found", "no"), 404, "not_found_error"],
    [new LoquiError("too_large", "no"), 413, "request_too_large"],
    [new LoquiError("input_quarantined", "no"), 422, "invalid_request_error"],
    [new LoquiError("overloaded", "no"), 429, "rate_limit_error"],
    [new LoquiError("internal", "no"), 500, "api_error"],
    [new LoquiError("model_unavailable", "no"), 503, "overloaded_error"],
    [new LoquiError("timeout", "no"), 504, "timeout_error"],
  ])("Anthropic's errors: %s", async (error, status, type) => {
    failure = error;
    const response = await ask(server, version, { ...book, body: {} });
    failure = undefined;
    expect([response.status, response.text()]).toEqual([
      status,
      `{"type":"error","error":{"type":"${type}","message":"no"}}`,
    ]);
  });

  test("Anthropic's error in mid-stream", async () => {
    const response = await ask(server, version, { path: "/follow" });
    expect(response.text()).toBe(
      'data: {"name":"a","text":""}\n\nevent: error\ndata: {"type":"error","error":{"type":"rate_limit_error","message":"full"}}\n\n',
    );
  });

  test("a oneof answers with JSON or with bytes", async () => {
    const json = await ask(server, version, { path: "/scan/book" });
    expect([json.headers["content-type"], json.text()]).toEqual(["application/json", '{"name":"b","text":""}']);
    const bytes = await ask(server, version, { path: "/scan/image" });
    expect([bytes.headers["content-type"], bytes.body()]).toEqual(["image/png", Buffer.from([137, 80, 78, 71])]);
  });

  test("bytes without a media type", async () => {
    const response = await ask(server, version, { path: "/image" });
    expect(response.headers["content-type"]).toBe("application/octet-stream");
    expect(response.body()).toEqual(Buffer.from([0, 255]));
  });

  test("a stream of bytes", async () => {
    film = async function* () {
      yield create(bodyDesc, init({ contentType: "video/mp4", data: Buffer.from("one") }));
      yield create(bodyDesc, init({ contentType: "text/plain", data: Buffer.from(" two") }));
    };
    const response = await ask(server, version, { path: "/film" });
    expect([response.status, response.headers["content-type"], response.text()]).toEqual([200, "video/mp4", "one two"]);
  });

  test("a stream of bytes that fails is broken off: there is no other way to tell", async () => {
    film = async function* () {
      yield create(bodyDesc, init({ contentType: "video/mp4", data: Buffer.from("one") }));
      throw new LoquiError("worker_crashed", "died");
    };
    const response = await open(server, version, { path: "/film" }).catch((error: Error) => error);
    if (!(response instanceof Error)) expect(await response.ended).toBe("broken");
  });

  test("a stream of bytes that fails at once is an error", async () => {
    // biome-ignore lint/correctness/useYield: it fails before
    film = async function* () {
      throw new LoquiError("overloaded", "full");
    };
    const response = await ask(server, version, { path: "/film" });
    expect([response.status, response.headers["content-type"]]).toEqual([429, "application/json"]);
  });
});
