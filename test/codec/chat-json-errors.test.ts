import { type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { field as rules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { describe, expect, test } from "vitest";
import {
  ChatService,
  CreateChatCompletionRequestSchema,
  CreateCompletionRequestSchema,
} from "../../gen/loqui/v1/chat_pb.ts";
import { EmbeddingService } from "../../gen/loqui/v1/embedding_pb.ts";
import { ModelService } from "../../gen/loqui/v1/model_pb.ts";
import { RerankService } from "../../gen/loqui/v1/rerank_pb.ts";
import { SpeechService } from "../../gen/loqui/v1/speech_pb.ts";
import { jsonCodec, jsonPath } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";

const request = jsonCodec(CreateChatCompletionRequestSchema);
const completionRequest = jsonCodec(CreateCompletionRequestSchema);
const validator = createValidator();
const wholeNumbers = new Set([ScalarType.INT32, ScalarType.UINT32, ScalarType.INT64, ScalarType.UINT64]);

describe("wrong requests", () => {
  const head = '{"model":"m","messages":[{"role":"user","content":"a"}]';

  test.each([
    ["no object", "[]", undefined, "expected an object, got an array"],
    ["a number as model", '{"model":5}', "model", "expected a string, got a number"],
    [
      "one message outside of a list",
      '{"messages":{"role":"user","content":"a"}}',
      "messages",
      "expected an array, got an object",
    ],
    [
      "an unknown role",
      '{"messages":[{"role":"robot","content":"a"}]}',
      "messages[0].role",
      '"robot" is not one of system, user, assistant, tool, developer, function',
    ],
    [
      "content as a number",
      '{"messages":[{"role":"user","content":1}]}',
      "messages[0].content",
      "expected a string or an array, got a number",
    ],
    [
      "content as an object",
      '{"messages":[{"role":"user","content":{"text":"a"}}]}',
      "messages[0].content",
      "expected a string or an array, got an object",
    ],
    [
      "a string among the parts",
      '{"messages":[{"role":"user","content":["a"]}]}',
      "messages[0].content[0]",
      "expected an object, got a string",
    ],
    [
      "an unknown part",
      '{"messages":[{"role":"user","content":[{"type":"video_url","video_url":{"url":"a"}}]}]}',
      "messages[0].content[0].type",
      '"video_url" is not one of text, image_url, input_audio, file, refusal',
    ],
    [
      "a part without a type",
      '{"messages":[{"role":"user","content":[{"n":1}]}]}',
      "messages[0].content[0].type",
      "missing, expected one of text, image_url, input_audio, file, refusal",
    ],
    [
      "a part of two types",
      '{"messages":[{"role":"user","content":[{"text":"a","refusal":"b"}]}]}',
      "messages[0].content[0].type",
      "missing, expected one of text, image_url, input_audio, file, refusal",
    ],
    [
      "a part without its member",
      '{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}',
      "messages[0].content[0].image_url",
      'missing, with type "image_url"',
    ],
    [
      "sound that is not base64",
      '{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"?","format":"wav"}}]}]}',
      "messages[0].content[0].input_audio.data",
      "not valid base64",
    ],
    [
      "an unknown detail",
      '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"a","detail":"max"}}]}]}',
      "messages[0].content[0].image_url.detail",
      '"max" is not one of auto, low, high',
    ],
    ["temperature as text", `${head},"temperature":"hot"}`, "temperature", "expected a number, got a string"],
    ["n as a fraction", `${head},"n":1.5}`, "n", "1.5 is not an integer"],
    ["a negative n", `${head},"n":-1}`, "n", "-1 is below the minimum 0"],
    [
      "too few tokens",
      `${head},"max_tokens":-2147483649}`,
      "max_tokens",
      "-2147483649 is below the minimum -2147483648",
    ],
    [
      "a seed beyond 64 bits",
      `${head},"seed":9223372036854775808}`,
      "seed",
      "9223372036854775808 is above the maximum 9223372036854775807",
    ],
    ["a seed as a word", `${head},"seed":"random"}`, "seed", '"random" is not an integer of up to 20 digits'],
    [
      "two limits under two names",
      `${head},"max_tokens":1,"n_predict":2}`,
      "max_tokens",
      "given twice, with another value as n_predict",
    ],
    ["stop as a number", `${head},"stop":0}`, "stop", "expected a string, got a number"],
    ["a number among stops", `${head},"stop":["a",0]}`, "stop[1]", "expected a string, got a number"],
    ["a bias as text", `${head},"logit_bias":{"50256":"-100"}}`, "logit_bias.50256", "expected a number, got a string"],
    [
      "llama-server's list of biases",
      `${head},"logit_bias":[[15043,1.0]]}`,
      "logit_bias",
      "expected an object, got an array",
    ],
    ["a number as metadata", `${head},"metadata":{"a":1}}`, "metadata.a", "expected a string, got a number"],
    ["an unknown choice", `${head},"tool_choice":"any"}`, "tool_choice", '"any" is not one of none, auto, required'],
    [
      "a choice of nothing",
      `${head},"tool_choice":{"type":"function"}}`,
      "tool_choice.function",
      'missing, with type "function"',
    ],
    [
      "a boolean as choice",
      `${head},"tool_choice":true}`,
      "tool_choice",
      "expected a string or an object, got a boolean",
    ],
    [
      "an unknown tool",
      `${head},"tools":[{"type":"web_search"}]}`,
      "tools[0].type",
      '"web_search" is not one of function, custom',
    ],
    [
      "arguments as an object",
      '{"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":{}}}]}]}',
      "messages[0].tool_calls[0].function.arguments",
      "expected a string, got an object",
    ],
    [
      "an unknown format",
      `${head},"response_format":{"type":"xml"}}`,
      "response_format.type",
      '"xml" is not one of text, json_object, json_schema',
    ],
    [
      "a format without a type",
      `${head},"response_format":{"json_schema":{"name":"n"}}}`,
      "response_format.type",
      "missing, expected one of text, json_object, json_schema",
    ],
    [
      "a bare format",
      `${head},"response_format":"json_object"}`,
      "response_format",
      "expected an object, got a string",
    ],
    [
      "an unknown effort",
      `${head},"reasoning_effort":"extreme"}`,
      "reasoning_effort",
      '"extreme" is not one of none, minimal, low, medium, high, xhigh, max',
    ],
    [
      "a number as prompt cache retention",
      `${head},"prompt_cache_retention":24}`,
      "prompt_cache_retention",
      "expected a string, got a number",
    ],
  ])("%s", (_, json, param, text) => {
    const { param: gotParam, message: got } = thrownBy(() => request.decode(parseJson(json), "lenient"));
    expect([gotParam, got]).toEqual([param, `${param ?? "request"}: ${text}`]);
  });

  test.each([
    [
      "a prompt as a number",
      '{"model":"m","prompt":1}',
      "prompt",
      "expected a string, an array of strings, an array of numbers or an array of arrays, got a number",
    ],
    [
      "a prompt as an object",
      '{"model":"m","prompt":{"prompt_string":"a"}}',
      "prompt",
      "expected a string, an array of strings, an array of numbers or an array of arrays, got an object",
    ],
    [
      "texts and tokens in one prompt",
      '{"model":"m","prompt":[12,"a"]}',
      "prompt[1]",
      "expected an integer, got a string",
    ],
    ["a negative token", '{"model":"m","prompt":[[1],[-2]]}', "prompt[1][0]", "-2 is below the minimum 0"],
    [
      "logprobs as in chat",
      '{"model":"m","prompt":"a","logprobs":true}',
      "logprobs",
      "expected an integer, got a boolean",
    ],
  ])("%s", (_, json, param, text) => {
    const { param: gotParam, message: got } = thrownBy(() => completionRequest.decode(parseJson(json), "lenient"));
    expect([gotParam, got]).toEqual([param, `${param ?? "request"}: ${text}`]);
  });

  test.each([
    ['{"messages":[{"role":"user","content":"a"}]}', "model", "string.min_bytes"],
    ['{"model":"m"}', "messages", "repeated.min_items"],
    ['{"model":"m","messages":[{"content":"a"}]}', "messages[0].role", "enum.not_in"],
    ['{"model":"m","messages":[{"role":"user","content":[]}]}', "messages[0].content", "repeated.min_items"],
    [
      '{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":""}}]}]}',
      "messages[0].content[0].image_url.url",
      "string.min_bytes",
    ],
    [
      '{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA"}}]}]}',
      "messages[0].content[0].input_audio.format",
      "enum.not_in",
    ],
    [`${head},"temperature":2.1}`, "temperature", "double.gte_lte"],
    [`${head},"top_p":-0.1}`, "top_p", "double.gte_lte"],
    [`${head},"frequency_penalty":-2.5}`, "frequency_penalty", "double.gte_lte"],
    [`${head},"presence_penalty":3}`, "presence_penalty", "double.gte_lte"],
    [`${head},"n":0}`, "n", "uint32.gte_lte"],
    [`${head},"n":129}`, "n", "uint32.gte_lte"],
    [`${head},"top_logprobs":21}`, "top_logprobs", "uint32.lte"],
    [`${head},"stop":""}`, "stop[0]", "string.min_bytes"],
    [`${head},"stop":${JSON.stringify(Array(17).fill("a"))}}`, "stop", "repeated.max_items"],
    [`${head},"logit_bias":{"hello":1}}`, "logit_bias.hello", "string.pattern"],
    [`${head},"logit_bias":{"1":101}}`, "logit_bias.1", "double.gte_lte"],
    [`${head},"metadata":{"a":"${"b".repeat(513)}"}}`, "metadata.a", "string.max_len"],
    [`${head},"top_k":-2}`, "top_k", "int32.gte_lte"],
    [`${head},"repeat_penalty":0}`, "repeat_penalty", "double.gte_lte"],
    [`${head},"modalities":["text","text"]}`, "modalities", "repeated.unique"],
    [`${head},"response_format":{"type":"json_schema"}}`, "response_format.json_schema", "required"],
    [
      `${head},"response_format":{"type":"json_schema","json_schema":{}}}`,
      "response_format.json_schema.name",
      "string.min_bytes",
    ],
    [`${head},"tools":[{"type":"function","function":{}}]}`, "tools[0].function.name", "string.min_bytes"],
    [
      `${head},"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"none","tools":[{"type":"function","function":{"name":"f"}}]}}}`,
      "tool_choice.allowed_tools.mode",
      "enum.in",
    ],
    [`${head},"function_call":"required"}`, "function_call", "enum.in"],
    [`${head},"structured_outputs":{"regex":"a","grammar":"b"}}`, "structured_outputs", "message.oneof"],
    [`${head},"safety_identifier":"${"a".repeat(65)}"}`, "safety_identifier", "string.max_len"],
    [`${head},"cache_salt":""}`, "cache_salt", "string.min_bytes"],
  ])("%s breaks a rule", (json, path, rule) => {
    const { message } = request.decode(parseJson(json), "lenient");
    const { violations } = validator.validate(CreateChatCompletionRequestSchema, message);
    expect(violations?.map((violation) => [jsonPath(violation.field), violation.ruleId])).toEqual([[path, rule]]);
  });
});

/** Whole numbers are bounded by their type; all else needs rules. */
test("every field of every request has its bounds", () => {
  const unbounded: string[] = [];
  const seen = new Set<DescMessage>();
  const visit = (desc: DescMessage): void => {
    if (seen.has(desc)) return;
    seen.add(desc);
    for (const field of desc.fields) {
      const scalar = field.fieldKind === "scalar" ? field.scalar : undefined;
      const free = field.fieldKind === "message" || scalar === ScalarType.BOOL || (scalar && wholeNumbers.has(scalar));
      if (!free && getOption(field, rules).type.case === undefined) unbounded.push(`${desc.name}.${field.name}`);
      if (field.message) visit(field.message);
    }
  };
  for (const service of [ChatService, EmbeddingService, ModelService, RerankService, SpeechService]) {
    for (const method of service.methods) visit(method.input);
  }
  expect(unbounded).toEqual([]);
  expect(seen.size).toBeGreaterThan(80);
});

function thrownBy(run: () => unknown): { param?: unknown; message?: unknown } {
  try {
    run();
  } catch (error) {
    return error as { param?: unknown; message?: unknown };
  }
  return { message: "nothing was thrown" };
}
