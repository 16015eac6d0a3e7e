/** OpenAI's SDK for Node reads structured answers by its helpers for zod. */
import type OpenAI from "openai";
import { LengthFinishReasonError } from "openai/error";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { agentScripts } from "../support/agent-scripts.ts";
import { type OpenAiServer, startWithOpenAi } from "../support/openai-server.ts";

let server: OpenAiServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startWithOpenAi({
    person: agentScripts.person,
    /** Has something else in mind. */
    stubborn: { reply: ["I", " won't", " say"], loop: true, contextLength: 2_048 },
  });
  ({ client } = server);
});
afterAll(async () => {
  expect(await server.validating.settle()).toBeGreaterThan(12);
  await server[Symbol.asyncDispose]();
});

const messages = [{ role: "user" as const, content: "Who wrote the first program?" }];
const Person = z.object({ name: z.string(), age: z.number().int().min(0).max(130), tags: z.array(z.string()) });
const ada = { name: "Ada", age: 36, tags: ["first"] };

describe("parse", () => {
  it("answers with the object", async () => {
    const answer = await client.chat.completions.parse({
      model: "person",
      messages,
      response_format: zodResponseFormat(Person, "person"),
    });
    expect(answer.choices[0]?.message.parsed).toEqual(ada);
    expect(answer.choices[0]?.finish_reason).toBe("stop");
  });

  const Tree: z.ZodType = z.object({
    value: z.enum(["leaf", "knot"]),
    get children() {
      return z.array(Tree).max(2);
    },
  });
  it.each([
    ["optional members are nullable ones", z.object({ a: z.string().max(9).nullable(), b: z.literal(7) })],
    ["a union", z.object({ kind: z.union([z.literal("a"), z.number().int().min(3).max(5), z.null()]) })],
    [
      "a union by a tag",
      z.object({
        shape: z.discriminatedUnion("type", [
          z.object({ type: z.literal("circle"), radius: z.number().min(0).max(9) }),
          z.object({ type: z.literal("square"), side: z.number().int().min(1).max(4) }),
        ]),
      }),
    ],
    ["formats", z.object({ day: z.iso.date(), id: z.uuid(), at: z.ipv4() })],
    [
      "a pattern and lengths",
      z.object({ code: z.string().regex(/^[A-Z]{3}-\d{2}$/), list: z.array(z.boolean()).length(2) }),
    ],
    ["a schema that refers to itself", Tree],
  ] as [string, z.ZodType][])("a model that wants to say something else keeps to it: %s", async (_, schema) => {
    for (const seed of [1, 2]) {
      const answer = await client.chat.completions.parse({
        model: "stubborn",
        messages,
        seed,
        response_format: zodResponseFormat(schema, "answer"),
      });
      // Parsed by zod itself: it throws where the text is not of the schema.
      expect(answer.choices[0]?.message.parsed).toBeTypeOf("object");
    }
  });

  it("an answer that is cut short is LengthFinishReasonError, not half an object", async () => {
    const answer = client.chat.completions.parse({
      model: "person",
      messages,
      max_completion_tokens: 3,
      response_format: zodResponseFormat(Person, "person"),
    });
    await expect(answer).rejects.toBeInstanceOf(LengthFinishReasonError);
  });
});

describe("stream", () => {
  it("has what is parsed so far, then the object", async () => {
    const stream = client.chat.completions.stream({
      model: "person",
      messages,
      response_format: zodResponseFormat(Person, "person"),
    });
    const parsed: unknown[] = [];
    stream.on("content.delta", (event) => parsed.push(event.parsed));
    const done = new Promise((resolve) => stream.on("content.done", (event) => resolve(event.parsed)));
    const { choices } = await stream.finalChatCompletion();
    expect(choices[0]?.message.parsed).toEqual(ada);
    expect(await done).toEqual(ada);
    expect(parsed).toContainEqual({ name: "Ada" });
    expect(parsed.at(-1)).toEqual(ada);
  });
});
