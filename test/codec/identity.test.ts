import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ChatRole, CreateChatCompletionRequestSchema } from "../../gen/loqui/v1/chat_pb.ts";
import { identityOf } from "../../src/codec/identity.ts";

const base = {
  model: "m",
  messages: [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Hi" } } }],
  logitBias: { "7": 1, "12": 2 },
  temperature: 0.5,
};

function request(more: object) {
  return create(CreateChatCompletionRequestSchema, { ...base, ...more });
}

function identity(more: object): string {
  return Buffer.from(identityOf(CreateChatCompletionRequestSchema, request(more))).toString("hex");
}

describe("the identity of a request", () => {
  it("is the request's own bytes where nothing is left out", () => {
    const message = request({});
    expect(identity({})).toBe(Buffer.from(toBinary(CreateChatCompletionRequestSchema, message)).toString("hex"));
  });

  it.each<[what: string, object]>([
    ["whether it streams", { stream: true }],
    ["options of the stream", { streamOptions: { includeUsage: true } }],
    ["whether it is stored", { store: true }],
    ["the end user", { user: "somebody" }],
    ["whether the prompt is cached", { cachePrompt: false }],
  ])("doesn't hold %s", (_, more) => {
    expect(identity(more)).toBe(identity({}));
  });

  it("leaves fields out in messages of the message too", () => {
    const part = { part: { case: "text" as const, value: { text: "Hi" } } };
    const parts = (promptCacheBreakpoint?: object) => ({
      messages: [
        {
          role: ChatRole.USER,
          content: {
            content: {
              case: "parts",
              value: { parts: [{ ...part, ...(promptCacheBreakpoint && { promptCacheBreakpoint }) }] },
            },
          },
        },
      ],
    });
    expect(identity(parts({}))).toBe(identity(parts()));
    expect(identity(parts())).not.toBe(identity({}));
  });

  it.each<[what: string, object]>([
    ["another model", { model: "n" }],
    ["another temperature", { temperature: 0.6 }],
    ["a seed", { seed: 1n }],
    ["other keys", { logitBias: { "7": 1, "13": 2 } }],
    ["other values", { logitBias: { "7": 1, "12": 3 } }],
  ])("holds %s", (_, more) => {
    expect(identity(more)).not.toBe(identity({}));
  });

  it("doesn't depend on the order of a map, nor on fields that the schema lacks", () => {
    const metadataOf = (keys: string[]) => Object.fromEntries(keys.map((key) => [key, "x"]));
    const kwargs = { logitBias: { "12": 2, "7": 1 } };
    expect(identity({ ...base, ...kwargs })).toBe(identity({}));
    expect(identity({ metadata: metadataOf(["b", "a"]) })).toBe(identity({ metadata: metadataOf(["a", "b"]) }));
    const known = toBinary(CreateChatCompletionRequestSchema, request({}));
    // Field 4,000, a varint.
    const message = fromBinary(
      CreateChatCompletionRequestSchema,
      Buffer.concat([known, Buffer.of(0x80, 0xfa, 0x01, 0x01)]),
    );
    expect(Buffer.from(identityOf(CreateChatCompletionRequestSchema, message)).toString("hex")).toBe(identity({}));
  });
});
