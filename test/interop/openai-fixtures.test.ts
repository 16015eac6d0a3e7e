/** What the codec makes of each endpoint's JSON, against OpenAI's own schemas: also for endpoints that do not answer yet. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { DescMessage } from "@bufbuild/protobuf";
import { beforeEach, expect, it } from "vitest";
import * as chat from "../../gen/loqui/v1/chat_pb.ts";
import * as embedding from "../../gen/loqui/v1/embedding_pb.ts";
import * as model from "../../gen/loqui/v1/model_pb.ts";
import * as speech from "../../gen/loqui/v1/speech_pb.ts";
import { jsonCodec } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";
import { openAiSchemas, withoutSchemas } from "../support/openai-schemas.ts";

const schemas = openAiSchemas();
const fixtures = join(import.meta.dirname, "../codec/fixtures");

/**
 * A fixture, the message it is, and OpenAI's schema of it. Fixtures that hold
 * what OpenAI does not have (a fractional logit bias, a language of speech) are
 * left out.
 */
const cases: [fixture: string, desc: DescMessage, schema: string][] = [
  ...["request-tools", "request-json-schema", "request-functions", "request-audio"].map(
    (name): [string, DescMessage, string] => [
      `chat/${name}.json`,
      chat.CreateChatCompletionRequestSchema,
      "CreateChatCompletionRequest",
    ],
  ),
  ...["text", "tool-calls", "logprobs", "audio", "citations", "refusal", "function-call"].map(
    (name): [string, DescMessage, string] => [
      `chat/response-${name}.json`,
      chat.CreateChatCompletionResponseSchema,
      "CreateChatCompletionResponse",
    ],
  ),
  ["chat/stream-text.jsonl", chat.ChatCompletionChunkSchema, "CreateChatCompletionStreamResponse"],
  ["chat/completion-request.json", chat.CreateCompletionRequestSchema, "CreateCompletionRequest"],
  ["chat/completion-response.json", chat.CreateCompletionResponseSchema, "CreateCompletionResponse"],
  ...["text", "texts", "tokens", "token-lists"].map((name): [string, DescMessage, string] => [
    `embedding/request-${name}.json`,
    embedding.CreateEmbeddingsRequestSchema,
    "CreateEmbeddingRequest",
  ]),
  ["embedding/response-float.json", embedding.CreateEmbeddingsResponseSchema, "CreateEmbeddingResponse"],
  ["model/list-openai.json", model.ListModelsResponseSchema, "ListModelsResponse"],
  ["model/delete.json", model.DeleteModelResponseSchema, "DeleteModelResponse"],
  ["speech/transcription-json.json", speech.CreateTranscriptionResponseSchema, "CreateTranscriptionResponseJson"],
  [
    "speech/transcription-verbose.json",
    speech.CreateTranscriptionResponseSchema,
    "CreateTranscriptionResponseVerboseJson",
  ],
  [
    "speech/transcription-verbose-words.json",
    speech.CreateTranscriptionResponseSchema,
    "CreateTranscriptionResponseVerboseJson",
  ],
  [
    "speech/transcription-diarized.json",
    speech.CreateTranscriptionResponseSchema,
    "CreateTranscriptionResponseDiarizedJson",
  ],
  ["speech/translation-json.json", speech.CreateTranslationResponseSchema, "CreateTranslationResponseJson"],
  ["speech/translation-verbose.json", speech.CreateTranslationResponseSchema, "CreateTranslationResponseVerboseJson"],
  ["speech/speech-request.json", speech.CreateSpeechRequestSchema, "CreateSpeechRequest"],
];

beforeEach(({ skip }) => skip(schemas === undefined, withoutSchemas));

it.each(cases)("%s", (fixture, desc, schema) => {
  const text = readFileSync(join(fixtures, fixture), "utf8").trim();
  const documents = fixture.endsWith(".jsonl") ? text.split("\n") : [text];
  const codec = jsonCodec(desc);
  for (const document of documents) {
    const again = codec.encode(codec.decode(parseJson(document), "lenient").message);
    expect(schemas?.errors(schema, JSON.parse(again)), again).toEqual([]);
  }
});
