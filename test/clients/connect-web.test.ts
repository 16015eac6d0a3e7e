/** The transports that browsers use, against the whole server. */
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { ErrorDetailSchema } from "../../gen/loqui/v1/error_pb.ts";
import { ModelService, ModelState } from "../../gen/loqui/v1/model_pb.ts";
import { helloReply, type RunningLoqui, startWithScripts, usualScripts } from "../support/running-loqui.ts";

let running: RunningLoqui;
beforeAll(async () => {
  running = await startWithScripts(usualScripts);
});
afterAll(() => running[Symbol.asyncDispose]());

const messages = [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Hi!" } } }];

describe.each<[string, (baseUrl: string) => Transport]>([
  ["Connect, JSON", (baseUrl) => createConnectTransport({ baseUrl })],
  ["Connect, binary", (baseUrl) => createConnectTransport({ baseUrl, useBinaryFormat: true })],
  ["Connect, GET", (baseUrl) => createConnectTransport({ baseUrl, useHttpGet: true })],
  ["gRPC-Web", (baseUrl) => createGrpcWebTransport({ baseUrl })],
])("%s", (_, transport) => {
  const chat = () => createClient(ChatService, transport(running.url));

  it("unary", async () => {
    const answer = await chat().createChatCompletion({ model: "hello", messages });
    expect(answer.choices[0]?.message?.content).toBe(helloReply);
  });

  it("streaming", async () => {
    let text = "";
    for await (const chunk of chat().streamChatCompletion({ model: "hello", messages })) {
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    expect(text).toBe(helloReply);
  });

  it("cancel", async () => {
    const controller = new AbortController();
    const read = async () => {
      for await (const _ of chat().streamChatCompletion(
        { model: "endless", messages },
        { signal: controller.signal },
      )) {
        controller.abort();
      }
    };
    await expect(read()).rejects.toMatchObject({ code: Code.Canceled });
  });

  it("deadline", async () => {
    const call = chat().createChatCompletion({ model: "endless", messages }, { timeoutMs: 300 });
    await expect(call).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  it("errors carry their structure", async () => {
    const error = await chat()
      .createChatCompletion({ model: "helo", messages })
      .catch((caught: unknown) => ConnectError.from(caught));
    expect(error).toMatchObject({ code: Code.NotFound });
    expect((error as ConnectError).findDetails(ErrorDetailSchema)).toMatchObject([{ code: "model_not_found" }]);
  });

  it("models", async () => {
    const models = createClient(ModelService, transport(running.url));
    const { data } = await models.listModels({});
    expect(data.map((model) => [model.id, model.state])).toEqual([
      ["hello", ModelState.READY],
      ["endless", ModelState.READY],
      ["small", ModelState.READY],
    ]);
  });
});
