import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  Health,
  HealthCheckResponse_ServingStatusSchema,
  type HealthCheckResponse_ServingStatus as Status,
} from "../../gen/grpc/health/v1/health_pb.ts";
import { type GrpcJsClient, grpcError, grpcJsClient } from "./grpc-js-client.ts";
import { startTestServer, type TestServer, until } from "./test-server.ts";

const { check, watch, list } = Health.method;
let server: TestServer;
let client: GrpcJsClient;

beforeEach(async () => {
  server = await startTestServer({ limits: { drainMs: 10_000 } });
  client = grpcJsClient(server);
});
afterEach(async () => {
  client[Symbol.dispose]();
  await server.close({ force: true });
});

function nameOf(status: Status): string | undefined {
  return HealthCheckResponse_ServingStatusSchema.value[status]?.name;
}

function watchStatuses(service: string) {
  const statuses: (string | undefined)[] = [];
  const call = client.serverStream(watch, { service });
  call.on("data", ({ status }) => statuses.push(nameOf(status)));
  const error = new Promise((resolve) => call.on("error", resolve));
  return { statuses, error, call };
}

async function statusOf(service: string): Promise<string | undefined> {
  return nameOf((await client.unary(check, { service })).message.status);
}

test.each(["", "loqui.v1.ChatService", "loqui.v1.EmbeddingService", "grpc.health.v1.Health"])(
  "Check %j follows the server",
  async (service) => {
    expect(await statusOf(service)).toBe("SERVING");
    server.health.setNotReady("no model is loaded");
    expect(await statusOf(service)).toBe("NOT_SERVING");
    server.health.setReady();
    expect(await statusOf(service)).toBe("SERVING");
  },
);

test("a model has a status of its own", async () => {
  expect(await grpcError(client.unary(check, { service: "loqui/tiny-chat" }))).toMatchObject({
    code: 5,
    details: "loqui/tiny-chat is neither a service nor a model here",
  });
  server.health.set("loqui/tiny-chat", true);
  expect(await statusOf("loqui/tiny-chat")).toBe("SERVING");
  server.health.set("loqui/tiny-chat", false);
  expect(await statusOf("loqui/tiny-chat")).toBe("NOT_SERVING");
  server.health.unset("loqui/tiny-chat");
  expect(await grpcError(client.unary(check, { service: "loqui/tiny-chat" }))).toMatchObject({ code: 5 });
});

test("Watch tells each change once", async () => {
  const { statuses, call, error } = watchStatuses("");
  await until(() => statuses.length === 1);
  server.health.setReady();
  server.health.set("other", true);
  server.health.setNotReady("busy");
  await until(() => statuses.length === 2);
  server.health.setReady();
  await until(() => statuses.length === 3);
  expect(statuses).toEqual(["SERVING", "NOT_SERVING", "SERVING"]);
  call.cancel();
  expect(await error).toMatchObject({ code: 1 });
});

test("Watch of an unknown name says so and goes on", async () => {
  const { statuses, call, error } = watchStatuses("later");
  await until(() => statuses.length === 1);
  server.health.set("later", true);
  await until(() => statuses.length === 2);
  server.health.unset("later");
  await until(() => statuses.length === 3);
  expect(statuses).toEqual(["SERVICE_UNKNOWN", "SERVING", "SERVICE_UNKNOWN"]);
  call.cancel();
  await error;
});

test.each(["", "later", "loqui/tiny-chat"])("Watch %j ends with UNAVAILABLE when the server does", async (service) => {
  server.health.set("loqui/tiny-chat", true);
  const { statuses, error } = watchStatuses(service);
  await until(() => statuses.length === 1);
  const started = performance.now();
  await server.close();
  expect(await error).toMatchObject({ code: 14 });
  expect(statuses.at(-1)).toBe(service === "later" ? "SERVICE_UNKNOWN" : "NOT_SERVING");
  // It does not make the server wait out its drain time.
  expect(performance.now() - started).toBeLessThan(5_000);
});

test("nothing is ready again after the end has begun", async () => {
  const closing = server.close();
  server.health.setReady();
  server.health.set("m", true);
  expect(server.health.reason).toBe("shutting down");
  await closing;
});

test("List has every name", async () => {
  server.health.set("loqui/tiny-chat", false);
  const { statuses } = (await client.unary(list, {})).message;
  expect(Object.fromEntries(Object.entries(statuses).map(([name, { status }]) => [name, nameOf(status)]))).toEqual({
    "": "SERVING",
    "grpc.health.v1.Health": "SERVING",
    "loqui.v1.ChatService": "SERVING",
    "loqui.v1.EmbeddingService": "SERVING",
    "loqui/tiny-chat": "NOT_SERVING",
  });
});

test("Watch over Connect", async () => {
  const health = createClient(Health, createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" }));
  const statuses: (string | undefined)[] = [];
  for await (const { status } of health.watch({})) {
    statuses.push(nameOf(status));
    if (statuses.length === 2) break;
    server.health.setNotReady("busy");
  }
  expect(statuses).toEqual(["SERVING", "NOT_SERVING"]);
});
