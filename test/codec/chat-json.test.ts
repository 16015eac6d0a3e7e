import { readFileSync } from "node:fs";
import { create, type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, test } from "vitest";
import {
  ApplyTemplateResponseSchema,
  ChatCompletionChunkSchema,
  CountTokensResponseSchema,
  CreateChatCompletionRequestSchema,
  CreateChatCompletionResponseSchema,
  CreateCompletionRequestSchema,
  CreateCompletionResponseSchema,
  DetokenizeRequestSchema,
  DetokenizeResponseSchema,
  TokenizeRequestSchema,
  TokenizeResponseSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { jsonCodec } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";

const read = (name: string) => readFileSync(new URL(`./fixtures/chat/${name}`, import.meta.url), "utf8");

const request = jsonCodec(CreateChatCompletionRequestSchema);
const response = jsonCodec(CreateChatCompletionResponseSchema);
const chunk = jsonCodec(ChatCompletionChunkSchema);
const completionRequest = jsonCodec(CreateCompletionRequestSchema);
const validator = createValidator();

// biome-ignore lint/suspicious/noExplicitAny: what JSON.parse gives
type Json = any;

/**
 * OpenAI's JSON and, in `<name>.message.json`, the fields it stands for, in
 * ProtoJSON: an independent reading by protobuf-es. The third column changes the
 * parsed JSON to what is printed where that is not what was read.
 */
const requests: [string, DescMessage, ((json: Json) => void)?][] = [
  ["request-text.json", CreateChatCompletionRequestSchema],
  ["request-tools.json", CreateChatCompletionRequestSchema, dropNulls],
  ["request-vision.json", CreateChatCompletionRequestSchema],
  ["request-audio.json", CreateChatCompletionRequestSchema],
  ["request-json-schema.json", CreateChatCompletionRequestSchema],
  ["request-functions.json", CreateChatCompletionRequestSchema, dropNulls],
  ["request-openai-only.json", CreateChatCompletionRequestSchema],
  ["request-local.json", CreateChatCompletionRequestSchema],
  ["completion-request.json", CreateCompletionRequestSchema],
];

const responses: typeof requests = [
  ["response-text.json", CreateChatCompletionResponseSchema],
  ["response-tool-calls.json", CreateChatCompletionResponseSchema],
  ["response-logprobs.json", CreateChatCompletionResponseSchema],
  ["response-citations.json", CreateChatCompletionResponseSchema],
  ["response-audio.json", CreateChatCompletionResponseSchema],
  ["response-refusal.json", CreateChatCompletionResponseSchema],
  ["response-function-call.json", CreateChatCompletionResponseSchema],
  ["response-llama-server.json", CreateChatCompletionResponseSchema, completeMessage],
  ["stream-text.jsonl", ChatCompletionChunkSchema, dropStreamNulls],
  ["stream-tool-calls.jsonl", ChatCompletionChunkSchema, dropStreamNulls],
  ["stream-llama-server.jsonl", ChatCompletionChunkSchema, completeChunk],
  ["completion-response.json", CreateCompletionResponseSchema],
  ["completion-response-logprobs.json", CreateCompletionResponseSchema],
  ["completion-stream.jsonl", CreateCompletionResponseSchema],
];

describe("real requests", () => {
  test.each(requests)("%s", (name, desc, reprint) => {
    const message = readAndPrint(name, desc, "strict", reprint);
    expect(validator.validate(desc, message)).toMatchObject({ kind: "valid" });
  });
});

describe("real responses", () => {
  test.each(responses)("%s", (name, desc, reprint) => {
    readAndPrint(name, desc, "upstream", reprint);
  });
});

function readAndPrint(name: string, desc: DescMessage, mode: "strict" | "upstream", reprint?: (json: Json) => void) {
  const codec = jsonCodec(desc);
  const texts = name.endsWith(".jsonl") ? read(name).trimEnd().split("\n") : [read(name)];
  const expected = [JSON.parse(read(name.replace(/\.jsonl?$/, ".message.json")))].flat();
  expect(expected).toHaveLength(texts.length);
  for (const [i, text] of texts.entries()) {
    const { message, ignored } = codec.decode(parseJson(text), mode);
    expect(message).toEqual(fromJson(desc, expected[i] as JsonValue));
    expect(ignored).toEqual([]);
    const json = JSON.parse(text);
    reprint?.(json);
    expect(JSON.parse(codec.encode(message))).toEqual(json);
  }
  return codec.decode(parseJson(texts[0] ?? ""), mode).message;
}

/** A request has no nulls: null means absent. */
function dropNulls(json: Json): void {
  for (const message of json.messages) if (message.content === null) delete message.content;
}

/** A delta has no nulls, and a chunk no usage that was not asked for. */
function dropStreamNulls(json: Json): void {
  if (json.usage === null) delete json.usage;
  for (const { delta } of json.choices) {
    for (const [name, value] of Object.entries(delta)) if (value === null) delete delta[name];
  }
}

/** llama-server leaves out members that OpenAI's schema requires, and has one name for reasoning. */
function completeMessage(json: Json): void {
  for (const choice of json.choices) {
    choice.logprobs = null;
    choice.message.refusal = null;
    choice.message.reasoning = choice.message.reasoning_content;
  }
}

function completeChunk(json: Json): void {
  dropStreamNulls(json);
  for (const choice of json.choices) {
    choice.logprobs = null;
    if (choice.delta.reasoning_content) choice.delta.reasoning = choice.delta.reasoning_content;
  }
}

describe("exact text", () => {
  test("a JSON Schema keeps its source text: order, spaces, large numbers", () => {
    const source = read("request-tools.json");
    const { message } = request.decode(parseJson(source), "strict");
    const parameters = message.tools[0]?.tool.case === "function" ? message.tools[0].tool.value.parameters : undefined;
    expect(parameters).toMatch(
      /^\{\n {10}"type": "object",[\s\S]*"city": [\s\S]*"10": [\s\S]*18446744073709551615 \}[\s\S]*\n {8}\}$/,
    );
    expect(source).toContain(`"parameters": ${parameters}`);
    expect(request.encode(message)).toContain(`"parameters":${parameters}`);
  });

  test("a seed keeps all its digits", () => {
    const { message } = request.decode(parseJson(read("request-text.json")), "strict");
    expect(message.seed).toBe(9007199254740993n);
    expect(request.encode(message)).toContain('"seed":9007199254740993,');
  });

  test("the chunks of a stream", () => {
    const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m" };
    const print = (rest: object) => chunk.encode(create(ChatCompletionChunkSchema, { ...head, ...rest }));
    const open = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[';
    expect(print({ choices: [{ delta: { role: 3, content: "" } }] })).toBe(
      `${open}{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"logprobs":null}]}`,
    );
    expect(print({ choices: [{ delta: { reasoningContent: "Hm" } }] })).toBe(
      `${open}{"index":0,"delta":{"reasoning_content":"Hm","reasoning":"Hm"},"finish_reason":null,"logprobs":null}]}`,
    );
    expect(print({ choices: [{ index: 1, delta: {}, finishReason: 1 }] })).toBe(
      `${open}{"index":1,"delta":{},"finish_reason":"stop","logprobs":null}]}`,
    );
    expect(print({ usage: { promptTokens: 1, totalTokens: 1 } })).toBe(
      `${open}],"usage":{"prompt_tokens":1,"completion_tokens":0,"total_tokens":1}}`,
    );
  });

  test("an answer without anything", () => {
    const empty = create(CreateChatCompletionResponseSchema, { choices: [{ message: { role: 3 } }] });
    expect(JSON.parse(response.encode(empty)).choices).toEqual([
      {
        index: 0,
        message: { role: "assistant", content: null, refusal: null },
        finish_reason: null,
        logprobs: null,
      },
    ]);
  });
});

describe("unions", () => {
  const chat = (members: string) => `{"model":"m","messages":[{"role":"user","content":"a"}],${members}}`;

  test.each([
    ["tool_choice", '"none"', { mode: "TOOL_CHOICE_MODE_NONE" }],
    ["tool_choice", '"required"', { mode: "TOOL_CHOICE_MODE_REQUIRED" }],
    ["tool_choice", '{"type":"function","function":{"name":"f"}}', { selection: { function: { name: "f" } } }],
    ["tool_choice", '{"type":"custom","custom":{"name":"c"}}', { selection: { custom: { name: "c" } } }],
    [
      "tool_choice",
      '{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"c"}}]}}',
      {
        selection: {
          allowedTools: {
            mode: "TOOL_CHOICE_MODE_AUTO",
            tools: [{ function: { name: "f" } }, { custom: { name: "c" } }],
          },
        },
      },
    ],
    ["function_call", '"auto"', { mode: "TOOL_CHOICE_MODE_AUTO" }],
    ["function_call", '{"name":"f"}', { function: { name: "f" } }],
    ["response_format", '{"type":"text"}', { text: {} }],
    ["response_format", '{"type":"json_object"}', { jsonObject: {} }],
    ["response_format", '{"type":"json_object","schema":{"b":1,"a":2}}', { jsonObject: { schema: '{"b":1,"a":2}' } }],
    [
      "response_format",
      '{"type":"json_schema","json_schema":{"name":"n"}}',
      { jsonSchema: { jsonSchema: { name: "n" } } },
    ],
    ["audio", '{"voice":{"id":"voice_1"},"format":"pcm16"}', { voice: { custom: { id: "voice_1" } }, format: 6 }],
    [
      "prediction",
      '{"type":"content","content":[{"type":"text","text":"a"}]}',
      { content: { parts: { parts: [{ text: "a" }] } } },
    ],
    ["structured_outputs", '{"json":{"type":"object"}}', { json: '{"type":"object"}' }],
    ["structured_outputs", '{"json":"{}"}', { json: '"{}"' }],
  ])("%s %s", (name, json, expected) => {
    const source = chat(`"${name}":${json}`);
    const { message, ignored } = request.decode(parseJson(source), "strict");
    expect(message).toEqual(
      fromJson(CreateChatCompletionRequestSchema, {
        model: "m",
        messages: [{ role: "CHAT_ROLE_USER", content: { text: "a" } }],
        [name]: expected,
      } as JsonValue),
    );
    expect(ignored).toEqual([]);
    expect(JSON.parse(request.encode(message))).toEqual(JSON.parse(source));
    expect(validator.validate(CreateChatCompletionRequestSchema, message).kind).toBe("valid");
  });

  test.each([
    ['"a"', { promptText: "a" }],
    ['["a"]', { promptTexts: { texts: ["a"] } }],
    ['["a","b"]', { promptTexts: { texts: ["a", "b"] } }],
    ["[1,2,50256]", { promptTokens: { ids: [1, 2, 50256] } }],
    ["[[1],[2,3]]", { promptTokenLists: { lists: [{ ids: [1] }, { ids: [2, 3] }] } }],
  ])("prompt %s", (json, expected) => {
    const source = `{"model":"m","prompt":${json}}`;
    const { message } = completionRequest.decode(parseJson(source), "strict");
    expect(message).toEqual(fromJson(CreateCompletionRequestSchema, { model: "m", ...expected }));
    expect(completionRequest.encode(message)).toBe(source);
    expect(validator.validate(CreateCompletionRequestSchema, message).kind).toBe("valid");
  });

  test("a missing type is guessed where one member tells it", () => {
    const source = '{"model":"m","messages":[{"role":"user","content":[{"image_url":{"url":"data:,"}}]}]}';
    const { message } = request.decode(parseJson(source), "strict");
    expect(JSON.parse(request.encode(message)).messages[0].content).toEqual([
      { type: "image_url", image_url: { url: "data:," } },
    ]);
  });
});

describe("other names", () => {
  test.each([
    ['"stop":"a"', '"stop":"a"'],
    ['"stop":["a"]', '"stop":"a"'],
    ['"stop":["a","b"]', '"stop":["a","b"]'],
    ['"repetition_penalty":1.1', '"repeat_penalty":1.1'],
    ['"n_predict":7', '"max_tokens":7'],
    ['"reasoning_budget_tokens":0', '"thinking_budget_tokens":0'],
    ['"thinking_token_budget":-1', '"thinking_budget_tokens":-1'],
    ['"guided_grammar":"root ::= \\"a\\""', '"grammar":"root ::= \\"a\\""'],
    ['"guided_json":{"type":"object"}', '"json_schema":{"type":"object"}'],
    ['"seed":"12"', '"seed":12'],
    ['"user":null,"tools":null,"stop":null,"logit_bias":null,"response_format":null,"n":1', '"n":1'],
  ])("%s is printed as %s", (read, printed) => {
    const head = '{"model":"m","messages":[{"role":"user","content":"a"}],';
    const { message, ignored } = request.decode(parseJson(`${head}${read}}`), "strict");
    expect(ignored).toEqual([]);
    expect(request.encode(message)).toBe(`${head}${printed}}`);
  });

  test("reasoning in a message and in an upstream's answer", () => {
    const source = '{"model":"m","messages":[{"role":"assistant","content":"a","reasoning":"b"}]}';
    expect(request.decode(parseJson(source), "strict").message.messages[0]?.reasoningContent).toBe("b");
    const answer =
      '{"choices":[{"message":{"role":"assistant","content":"a","reasoning":"b","reasoning_content":"b"}}]}';
    const { message, ignored } = response.decode(parseJson(answer), "upstream");
    expect(message.choices[0]?.message?.reasoningContent).toBe("b");
    expect(ignored).toEqual([]);
  });
});

describe("members that the schema doesn't know", () => {
  const source =
    '{"model":"m","mirostat":2,"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}],"prefix":true},{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"big":18446744073709551615}}]}],"lora":[{"id":0,"scale":0.5}]}';

  test("are kept, listed, and printed again", () => {
    const { message, ignored } = request.decode(parseJson(source), "lenient");
    expect(JSON.parse(message.extra ?? "")).toEqual({ mirostat: 2, lora: [{ id: 0, scale: 0.5 }] });
    expect(message.messages[0]?.extra).toBe('{"prefix":true}');
    expect(message.messages[1]?.toolCalls[0]?.extra).toBe('{"extra_content":{"big":18446744073709551615}}');
    expect(ignored).toEqual([
      "mirostat",
      "messages[0].content[0].cache_control",
      "messages[0].prefix",
      "messages[1].tool_calls[0].extra_content",
      "lora",
    ]);
    expect(JSON.parse(request.encode(message))).toEqual(JSON.parse(source));
    expect(request.encode(message)).toContain('"big":18446744073709551615');
  });

  test("are refused in strict mode", () => {
    expect(thrownBy(() => request.decode(parseJson(source), "strict"))).toMatchObject({
      param: "mirostat",
      message:
        "unknown parameters: mirostat, messages[0].content[0].cache_control, messages[0].prefix, messages[1].tool_calls[0].extra_content, lora",
    });
  });

  test("of an upstream's answer are kept", () => {
    const { message } = response.decode(parseJson(read("response-openrouter.json")), "upstream");
    expect(message.extra).toBe('{"provider":"Groq"}');
    expect(JSON.parse(message.usage?.extra ?? "")).toEqual({ cost: 0.0000012, is_byok: false });
    expect(JSON.parse(response.encode(message))).toEqual(JSON.parse(read("response-openrouter.json")));
    expect(response.encode(message)).toContain('"index": 18446744073709551615');
  });

  test("an unknown value of an upstream's enum is no failure", () => {
    const answer =
      '{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"eos"}],"service_tier":"warp"}';
    const { message } = response.decode(parseJson(answer), "upstream");
    expect(message.choices[0]?.finishReason).toBeUndefined();
    expect(message.choices[0]?.message?.content).toBe("a");
  });
});

describe("tokens", () => {
  test.each([
    [TokenizeRequestSchema, '{"model":"m","content":"á","add_special":true,"with_pieces":true}', undefined],
    [
      TokenizeRequestSchema,
      '{"model":"m","prompt":"a","add_special_tokens":false}',
      '{"model":"m","content":"a","add_special":false}',
    ],
    [
      TokenizeRequestSchema,
      '{"model":"m","messages":[{"role":"user","content":"a"}],"return_token_strs":true}',
      undefined,
    ],
    [TokenizeResponseSchema, '{"tokens":[123,456,0],"count":3,"max_model_len":4096}', undefined],
    [TokenizeResponseSchema, '{"tokens":[],"count":0}', undefined],
    [TokenizeResponseSchema, '{"tokens":[{"id":0,"piece":"Hello"},{"id":198,"piece":[195]}],"count":2}', undefined],
    [TokenizeResponseSchema, '{"tokens":[1,2],"count":2,"token_strs":["a","b"]}', undefined],
    [DetokenizeRequestSchema, '{"model":"m","tokens":[123,456]}', undefined],
    [DetokenizeResponseSchema, '{"content":"a","prompt":"a"}', undefined],
    [DetokenizeResponseSchema, '{"prompt":"a"}', '{"content":"a","prompt":"a"}'],
    [CountTokensResponseSchema, '{"object":"response.input_tokens","input_tokens":11}', undefined],
    [ApplyTemplateResponseSchema, '{"prompt":"<|im_start|>user"}', undefined],
  ] as [DescMessage, string, string | undefined][])("%s %s", (desc, source, printed = source) => {
    const codec = jsonCodec(desc);
    const { message, ignored } = codec.decode(parseJson(source), "strict");
    expect(ignored).toEqual([]);
    expect(codec.encode(message)).toBe(printed);
  });
});

function thrownBy(run: () => unknown): { param?: unknown; message?: unknown } {
  try {
    run();
  } catch (error) {
    return error as { param?: unknown; message?: unknown };
  }
  return { message: "nothing was thrown" };
}
