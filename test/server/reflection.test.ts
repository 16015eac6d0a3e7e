import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { create, createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ServerReflectionResponse, ServerReflection as V1 } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as V1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { type GrpcJsClient, grpcJsClient } from "./grpc-js-client.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
let client: GrpcJsClient;

beforeAll(async () => {
  server = await startTestServer();
  client = grpcJsClient(server);
});
afterAll(async () => {
  client[Symbol.dispose]();
  await server.close({ force: true });
});

const services = [
  "loqui.v1.ChatService",
  "loqui.v1.EmbeddingService",
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
];

type Request = Parameters<typeof ask>[1];

/** One question, or several on one stream; the answers without their echo of the question. */
async function ask(
  version: "v1" | "v1alpha",
  ...requests: { case: string; value: unknown }[]
): Promise<ServerReflectionResponse["messageResponse"][]> {
  const method = version === "v1" ? V1.method.serverReflectionInfo : V1Alpha.method.serverReflectionInfo;
  const call = client.bidi(method) as unknown as ClientDuplexStream<unknown, ServerReflectionResponse>;
  const answers: ServerReflectionResponse[] = [];
  call.on("data", (answer) => answers.push(answer));
  for (const messageRequest of requests) call.write({ host: "here", messageRequest });
  call.end();
  await new Promise((resolve, reject) => call.on("end", resolve).on("error", reject));
  expect(answers.map((answer) => answer.originalRequest?.messageRequest)).toMatchObject(requests);
  expect(answers.every((answer) => answer.validHost === "here")).toBe(true);
  return answers.map((answer) => answer.messageResponse);
}

function filesOf(answer: ServerReflectionResponse["messageResponse"] | undefined): FileDescriptorProto[] {
  if (answer?.case !== "fileDescriptorResponse") throw new Error(`no files but ${JSON.stringify(answer)}`);
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

describe.each(["v1", "v1alpha"] as const)("%s", (version) => {
  test("lists the services", async () => {
    const [answer] = await ask(version, { case: "listServices", value: "" });
    expect(answer).toMatchObject({
      case: "listServicesResponse",
      value: { service: services.map((name) => ({ name })) },
    });
  });

  test.each([
    ["service", "loqui.v1.ChatService", "loqui/v1/chat.proto"],
    ["method", "loqui.v1.ChatService.StreamChatCompletion", "loqui/v1/chat.proto"],
    ["message", "loqui.v1.CreateChatCompletionRequest", "loqui/v1/chat.proto"],
    ["field", "loqui.v1.CreateChatCompletionRequest.model", "loqui/v1/chat.proto"],
    ["oneof", "loqui.v1.CreateEmbeddingsRequest.input", "loqui/v1/embedding.proto"],
    ["enum", "loqui.v1.ChatRole", "loqui/v1/chat.proto"],
    ["enum value", "loqui.v1.CHAT_ROLE_USER", "loqui/v1/chat.proto"],
    ["nested enum", "grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"],
    ["nested enum's value", "grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"],
    ["extension", "google.api.http", "google/api/annotations.proto"],
    ["imported message", "buf.validate.FieldRules", "buf/validate/validate.proto"],
    ["message of descriptor.proto", "google.protobuf.MethodOptions", "google/protobuf/descriptor.proto"],
    ["itself", `grpc.reflection.${version}.ServerReflection`, `grpc/reflection/${version}/reflection.proto`],
  ])("finds the file of a %s", async (_, symbol, file) => {
    const [answer] = await ask(version, { case: "fileContainingSymbol", value: symbol });
    expect(filesOf(answer)[0]?.name).toBe(file);
  });

  test("an answer holds all that the file imports, and a compiler accepts it", async () => {
    const [answer] = await ask(version, { case: "fileByFilename", value: "loqui/v1/chat.proto" });
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: filesOf(answer).reverse() }));
    expect(registry.getService("loqui.v1.ChatService")?.method.createChatCompletion?.output.typeName).toBe(
      "loqui.v1.CreateChatCompletionResponse",
    );
    expect(registry.getExtension("loqui.rest.v1.method")?.number).toBe(51001);
  });

  test("a stream gets each import once, but always the file it asks for", async () => {
    const value = "loqui/v1/chat.proto";
    const [first, second, third] = await ask(
      version,
      { case: "fileByFilename", value },
      { case: "fileByFilename", value },
      { case: "fileByFilename", value: "google/protobuf/descriptor.proto" },
    );
    expect(filesOf(first).length).toBeGreaterThan(3);
    expect(filesOf(second).map((file) => file.name)).toEqual([value]);
    expect(filesOf(third).map((file) => file.name)).toEqual(["google/protobuf/descriptor.proto"]);
  });

  test("extensions of a type: their numbers, and the file of one", async () => {
    const containingType = "google.protobuf.MethodOptions";
    const [numbers, file, none] = await ask(
      version,
      { case: "allExtensionNumbersOfType", value: containingType },
      { case: "fileContainingExtension", value: { containingType, extensionNumber: 72295728 } },
      { case: "fileContainingExtension", value: { containingType, extensionNumber: 3 } },
    );
    expect(numbers?.value).toMatchObject({ baseTypeName: containingType, extensionNumber: [51001, 72295728] });
    expect(filesOf(file)[0]?.name).toBe("google/api/annotations.proto");
    expect(none?.value).toMatchObject({ errorCode: 5, errorMessage: `extension 3 of ${containingType} not found` });
  });

  test.each<[string, Request, number, string]>([
    ["file", { case: "fileByFilename", value: "no.proto" }, 5, "file no.proto not found"],
    ["symbol", { case: "fileContainingSymbol", value: "a.B" }, 5, "symbol a.B not found"],
    ["name of a package", { case: "fileContainingSymbol", value: "loqui.v1" }, 5, "symbol loqui.v1 not found"],
    ["type", { case: "allExtensionNumbersOfType", value: "a.B" }, 5, "type a.B not found"],
  ])("an unknown %s is an error in the answer; the stream goes on", async (_, request, errorCode, errorMessage) => {
    const [answer, next] = await ask(version, request, { case: "listServices", value: "*" });
    expect(answer).toMatchObject({ case: "errorResponse", value: { errorCode, errorMessage } });
    expect(next?.case).toBe("listServicesResponse");
  });
});

describe("buf curl", () => {
  const root = resolve(import.meta.dirname, "../..");
  const call = async (...args: string[]) => {
    const options = { cwd: root, encoding: "utf8" as const };
    return (await promisify(execFile)(resolve(root, "node_modules/.bin/buf"), ["curl", ...args], options)).stdout;
  };
  const request = JSON.stringify({
    model: "echo",
    messages: [{ role: "CHAT_ROLE_USER", content: { text: "hello" } }],
  });

  test.each(["grpc", "grpcweb", "connect"])("by reflection over %s", async (protocol) => {
    const flags = ["--protocol", protocol, "--http2-prior-knowledge"];
    const unary = await call(...flags, "-d", request, `${server.url}/loqui.v1.ChatService/CreateChatCompletion`);
    expect(JSON.parse(unary)).toMatchObject({ choices: [{ message: { content: "hello" } }] });
    const counting = request.replace("echo", "count").replace("hello", "3");
    const stream = await call(...flags, "-d", counting, `${server.url}/loqui.v1.ChatService/StreamChatCompletion`);
    expect(stream.match(/"content": ?"\d "/g)).toHaveLength(3);
  });

  test.each(["grpc-v1", "grpc-v1alpha"])("lists services and methods by %s", async (reflection) => {
    const flags = ["--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", reflection];
    expect((await call(...flags, "--list-services", server.url)).trim().split("\n")).toEqual([...services].sort());
    expect((await call(...flags, "--list-methods", server.url)).split("\n")).toContain("grpc.health.v1.Health/Watch");
  });

  test("an error has its detail", async () => {
    const flags = ["--protocol", "grpc", "--http2-prior-knowledge"];
    const failing = request.replace("echo", "too-long");
    const error = await call(...flags, "-d", failing, `${server.url}/loqui.v1.ChatService/CreateChatCompletion`).then(
      () => undefined,
      (failure: { stderr: string }) => JSON.parse(failure.stderr),
    );
    expect(error).toMatchObject({
      code: "invalid_argument",
      message: "the prompt has 9 tokens: 4 fit",
      details: [{ type: "loqui.v1.ErrorDetail", value: expect.any(String) }],
    });
  });
});
