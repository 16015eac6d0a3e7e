import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { type RunningLoqui, startWithScripts, usualScripts } from "../support/running-loqui.ts";

/** The message of an error quoted all of a long name, which no HTTP/2 client takes in a header. */
describe("an error that quotes something long arrives", () => {
  const long = "x".repeat(70_000);
  let running: RunningLoqui;
  beforeAll(async () => {
    running = await startWithScripts(usualScripts);
  });
  afterAll(() => running[Symbol.asyncDispose]());

  async function failure(call: Promise<unknown>): Promise<ConnectError> {
    return call.then(
      () => Promise.reject(new Error("it did not fail")),
      (reason) => ConnectError.from(reason),
    );
  }

  test("gRPC: a message", async () => {
    const client = createClient(Health, createGrpcTransport({ baseUrl: running.url }));
    const error = await failure(client.check({ service: long }));
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toMatch(/x…$/);
    expect(error.rawMessage.length).toBe(1024);
  });

  test("gRPC: a path", async () => {
    const client = createClient(ChatService, createGrpcTransport({ baseUrl: running.url }));
    const messages = [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Hi" } } }];
    const error = await failure(client.createChatCompletion({ model: "hello", messages, logitBias: { [long]: 1 } }));
    expect(error.code).toBe(Code.InvalidArgument);
  });

  test("REST: the same", async () => {
    const response = await fetch(`${running.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "hello", messages: [{ role: "user", content: "Hi" }], logit_bias: { [long]: 1 } }),
    });
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { param: string; message: string } };
    expect(error.param).toMatch(/^logit_bias\["x+…"\]$/);
    expect(error.message.length).toBeLessThanOrEqual(1024);
  });
});
