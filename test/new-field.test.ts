/**
 * The promise of the architecture: a new scalar field in a request is one line
 * of .proto, and it is there on all four protocols and in /openapi.json. This
 * test adds that line to a copy of the schema and runs the server on it.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { create, createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ChatRole, type ChatService } from "../gen/loqui/v1/chat_pb.ts";
import { createRestHandler } from "../src/rest/handler.ts";
import { createServer, type Server } from "../src/server/server.ts";
import { implement, type ServiceImplementation } from "../src/services/handlers.ts";
import { createLog } from "../src/telemetry/log.ts";
import { transports } from "./support/transports.ts";

let server: Server;
let service: typeof ChatService;

beforeAll(async () => {
  service = withNewField() as typeof ChatService;
  server = await createServer({
    host: "127.0.0.1",
    port: 0,
    services: [echoService(service)],
    rest: (dispatcher) => createRestHandler({ dispatcher }),
    about: { name: "loqui", version: "test" },
    onRecord: () => {},
    log: createLog({ level: "silent" }),
  });
});
afterAll(() => server.close());

/** ChatService of a schema whose chat request has the field `mood`. */
function withNewField(): DescService {
  const folder = mkdtempSync(join(tmpdir(), "loqui-new-field-"));
  try {
    const root = resolve(import.meta.dirname, "..");
    for (const name of ["buf.yaml", "proto"]) cpSync(join(root, name), join(folder, name), { recursive: true });
    const path = join(folder, "proto/loqui/v1/chat.proto");
    const line = "  optional uint32 mood = 4711 [(buf.validate.field).uint32.lte = 10];\n";
    const head = "message CreateChatCompletionRequest {\n";
    writeFileSync(path, readFileSync(path, "utf8").replace(head, `${head}  // How cheerful the answer is.\n${line}`));
    const image = join(folder, "image.binpb");
    execFileSync("npx", ["buf", "build", folder, "--as-file-descriptor-set", "--output", image], { cwd: root });
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(image)));
    const found = registry.getService("loqui.v1.ChatService");
    if (found === undefined) throw new Error("the image has no ChatService");
    return found;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Answers with the field's value as the text. */
function echoService(desc: typeof ChatService): ServiceImplementation {
  const { input, output } = desc.method.createChatCompletion;
  return implement(desc, {
    async createChatCompletion(request) {
      const field = input.fields.find((candidate) => candidate.name === "mood");
      if (field === undefined) throw new Error("the field is not there");
      const content = `mood ${String(reflect(input, request).get(field))}`;
      return create(output, { id: "x", choices: [{ message: { content } }] });
    },
  });
}

const question = {
  model: "m",
  messages: [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Hi" } } }],
};

it.each(transports)("over %s", async (_, transportTo) => {
  const client = createClient(service, transportTo(server.url));
  const answer = await client.createChatCompletion({ ...question, mood: 7 } as typeof question);
  expect(answer.choices[0]?.message?.content).toBe("mood 7");
  await expect(client.createChatCompletion({ ...question, mood: 11 } as typeof question)).rejects.toThrow(/mood: 11/);
});

it("over REST", async () => {
  const ask = async (mood: number) => {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }], mood }),
    });
    return { ignored: response.headers.get("x-loqui-ignored"), body: await response.json() };
  };
  const answer = await ask(7);
  expect(answer).toMatchObject({ ignored: null, body: { choices: [{ message: { content: "mood 7" } }] } });
  expect((await ask(11)).body).toMatchObject({ error: { param: "mood", code: "uint32.lte" } });
});

interface Schema {
  readonly properties?: Readonly<Record<string, unknown>>;
}

it("in /openapi.json", async () => {
  const response = await fetch(`${server.url}/openapi.json`);
  const document = (await response.json()) as { components: { schemas: Record<string, Schema> } };
  const found = Object.values(document.components.schemas).flatMap((schema) => schema.properties?.mood ?? []);
  expect(found).toEqual([expect.objectContaining({ type: ["integer", "null"], minimum: 0, maximum: 10 })]);
});
