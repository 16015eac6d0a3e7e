import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Ajv2020 } from "ajv/dist/2020.js";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChatRole, ChatService } from "../../gen/loqui/v1/chat_pb.ts";
import { type RunningLoqui, startWithScripts } from "../support/running-loqui.ts";

const person = {
  type: "object",
  properties: {
    name: { type: "string", pattern: "^[A-Z][a-z]{2,8}$" },
    age: { type: "integer", minimum: 0, maximum: 130 },
    kind: { enum: ["friend", "foe"] },
  },
  required: ["name", "age", "kind"],
  additionalProperties: false,
};

/** A model that wants to say something else altogether. */
let running: RunningLoqui;
let client: OpenAI;
beforeAll(async () => {
  running = await startWithScripts({ stubborn: { reply: ["I", " won't", " say"], loop: true, contextLength: 512 } });
  client = new OpenAI({ baseURL: `${running.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => running[Symbol.asyncDispose]());

const ask = (more: object) =>
  client.chat.completions.create({ model: "stubborn", messages: [{ role: "user", content: "Go" }], ...more });
const contentOf = async (more: object) => {
  const { choices } = await ask(more);
  expect(choices[0]?.finish_reason).toBe("stop");
  return choices[0]?.message.content ?? "";
};

test("a grammar that can't go on is the client's fault, and its field is named", async () => {
  const { tokens } = (await (
    await fetch(`${running.url}/tokenize`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "stubborn", content: "b" }),
    })
  ).json()) as { tokens: [number] };
  const banned = { logit_bias: { [tokens[0]]: -100 } };
  const grammar = 'root ::= "ab"';
  await expect(ask({ ...banned, grammar })).rejects.toMatchObject({ status: 400, param: "grammar" });
  const call = ask({
    ...banned,
    tool_choice: "required",
    tools: [{ type: "function", function: { name: "b", parameters: { type: "object" } } }],
  });
  await expect(call).rejects.toMatchObject({ status: 400, param: "tools" });
  // Nobody else is harmed.
  expect(await contentOf({ grammar })).toBe("ab");
});

test("gRPC: a schema that is no JSON is the client's fault", async () => {
  const grpc = createClient(ChatService, createGrpcTransport({ baseUrl: running.url }));
  const messages = [{ role: ChatRole.USER, content: { content: { case: "text" as const, value: "Go" } } }];
  await expect(grpc.createChatCompletion({ model: "stubborn", messages, jsonSchema: '"abc' })).rejects.toThrow(
    "[invalid_argument] json_schema is not valid JSON",
  );
});

describe("an answer of a given form", () => {
  const valid = new Ajv2020().compile(person);
  const schema = { name: "person", strict: true, schema: person };

  test.each([1, 2, 3, 4, 5])("json_schema, seed %d", async (seed) => {
    const content = await contentOf({ seed, response_format: { type: "json_schema", json_schema: schema } });
    expect(valid(JSON.parse(content)), content).toBe(true);
  });

  test("streamed", async () => {
    const stream = client.chat.completions.stream({
      model: "stubborn",
      messages: [{ role: "user", content: "Go" }],
      response_format: { type: "json_schema", json_schema: schema },
    });
    const content = (await stream.finalContent()) ?? "";
    expect(valid(JSON.parse(content)), content).toBe(true);
  });

  test.each([
    ["guided_choice", { guided_choice: ["yes", "no"] }, /^(yes|no)$/],
    ["guided_regex", { guided_regex: "[0-9]{3}-[a-f]{2}" }, /^[0-9]{3}-[a-f]{2}$/],
    ["structured_outputs.choice", { structured_outputs: { choice: ["Å", "ß"] } }, /^(Å|ß)$/],
    ["structured_outputs.regex", { structured_outputs: { regex: "a|b" } }, /^[ab]$/],
    ["guided_json as a text", { guided_json: JSON.stringify({ enum: [true, null] }) }, /^(true|null)$/],
    ["grammar", { grammar: 'root ::= "x" digit{2,3} # two or three\ndigit ::= [0-9]\n' }, /^x[0-9]{2,3}$/],
    ["structured_outputs.grammar", { structured_outputs: { grammar: 'root ::= ("a" | "b")' } }, /^[ab]$/],
    ["json_schema, llama-server's", { json_schema: { const: { a: [1] } } }, /^\{\s*"a":\s*\[\s*1\s*\]\s*\}$/],
  ])("%s", async (_, more, expected) => {
    expect(await contentOf(more)).toMatch(expected);
  });

  test("json_object: what is said so far can always become an object", async () => {
    const { choices } = await ask({ response_format: { type: "json_object" }, max_tokens: 60 });
    expect(choices[0]?.message.content).toMatch(/^\{/);
  });

  test("tokens may be banned; where none is left, that request ends with an error and no other does", async () => {
    expect(await contentOf({ guided_regex: "[ab]", logit_bias: { 97: -100 } })).toBe("b");
    const bad = ask({ guided_regex: "a", logit_bias: { 97: -100 } });
    const good = contentOf({ guided_regex: "a" });
    await expect(bad).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining("in the form that was asked"),
    });
    expect(await good).toBe("a");
  });

  test.each([
    [{ response_format: { type: "json_schema", json_schema: { name: "a", schema: { not: {} } } } }, /^response_format/],
    [{ guided_regex: "(a" }, /^guided_regex/],
    [{ guided_regex: "a", guided_choice: ["a"] }, /^guided_choice$/],
    [{ guided_regex: "a", ignore_eos: true }, /^ignore_eos$/],
    [{ guided_regex: "a", min_tokens: 3 }, /^min_tokens$/],
    [{ grammar: 'root ::= "a" b' }, /^grammar$/],
    [{ structured_outputs: { grammar: "root ::=" }, grammar: 'root ::= "a"' }, /^structured_outputs.grammar$/],
  ])("%j is refused by name", async (more, param) => {
    const error = await ask(more).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error).toMatchObject({ status: 400, param: expect.stringMatching(param) });
  });
});
