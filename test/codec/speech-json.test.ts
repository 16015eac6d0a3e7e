import { readFileSync } from "node:fs";
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, test } from "vitest";
import {
  AudioResponseFormat,
  ChunkingMode,
  CreateSpeechRequestSchema,
  CreateTranscriptionRequestSchema,
  CreateTranscriptionResponseSchema,
  CreateTranslationRequestSchema,
  CreateTranslationResponseSchema,
  SpeechEventSchema,
  SpeechFormat,
  SpeechStreamFormat,
  TimestampGranularity,
  TranscriptionEventSchema,
  TranscriptionInclude,
  VadType,
} from "../../gen/loqui/v1/speech_pb.ts";
import { type FormFile, jsonCodec, jsonPath, tagOf } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";
import { LoquiError } from "../../src/errors.ts";

const fixture = (name: string) => readFileSync(new URL(`./fixtures/speech/${name}.json`, import.meta.url), "utf8");
const bytes = (text: string) => new TextEncoder().encode(text);

interface Case<D extends DescMessage> {
  readonly name: string;
  readonly desc: D;
  readonly expected: MessageInitShape<D>;
}

function given<D extends DescMessage>(name: string, desc: D, expected: MessageInitShape<D>): Case<D> {
  return { name, desc, expected };
}

const imagine = "Imagine the wildest idea that you've ever had.";
const tokens = {
  usage: {
    case: "tokens",
    value: {
      inputTokens: 14,
      inputTokenDetails: { textTokens: 0, audioTokens: 14 },
      outputTokens: 45,
      totalTokens: 59,
    },
  },
} as const;

function seconds(count: number) {
  return { usage: { case: "duration", value: { seconds: count } } } as const;
}

function segment(id: number, start: number, end: number, text: string) {
  return {
    id,
    start,
    end,
    text,
    tokens: [50364, 440, 7534, 307, 257, 50529],
    temperature: 0,
    avgLogprob: -0.2860786020755768,
    compressionRatio: 1.2363636493682861,
    noSpeechProb: 0.00985979475080967,
  };
}

const theBeach = [
  { word: "The", start: 0, end: 0.23999999463558197 },
  { word: "beach", start: 0.23999999463558197, end: 0.5 },
];

describe("bodies", () => {
  test.each<Case<DescMessage>>([
    given("transcription-json", CreateTranscriptionResponseSchema, {
      result: {
        case: "json",
        value: {
          text: imagine,
          logprobs: [
            { token: "Imagine", logprob: -0.0014, bytes: [73, 109, 97, 103, 105, 110, 101] },
            { token: " é", logprob: -9999, bytes: [32, 195, 169] },
          ],
          usage: tokens,
        },
      },
    }),
    given("transcription-json-languages", CreateTranscriptionResponseSchema, {
      result: {
        case: "json",
        value: { text: imagine, languages: { languages: [{ code: "en" }, { code: "fr" }] }, usage: seconds(9) },
      },
    }),
    given("transcription-json-no-language", CreateTranscriptionResponseSchema, {
      result: { case: "json", value: { text: "", languages: { languages: [] }, usage: seconds(0) } },
    }),
    given("transcription-verbose", CreateTranscriptionResponseSchema, {
      result: {
        case: "verbose",
        value: {
          task: "transcribe",
          language: "english",
          duration: 8.470000267028809,
          text: "The beach was a popular spot. Everyone was there.",
          segments: {
            segments: [
              segment(0, 0, 3.319999933242798, " The beach was a popular spot."),
              segment(1, 3.319999933242798, 8.4, " Everyone was there."),
            ],
          },
          words: { words: theBeach },
          usage: seconds(9),
        },
      },
    }),
    given("transcription-verbose-words", CreateTranscriptionResponseSchema, {
      result: {
        case: "verbose",
        value: {
          task: "transcribe",
          language: "english",
          duration: 8.470000267028809,
          text: "The beach",
          words: {
            words: [
              { word: "The", start: 0, end: 0.23999999463558197, probability: 0.9765625 },
              { word: "beach", start: 0.23999999463558197, end: 0.5 },
            ],
          },
          usage: seconds(9),
        },
      },
    }),
    given("transcription-verbose-silence", CreateTranscriptionResponseSchema, {
      result: {
        case: "verbose",
        value: { task: "transcribe", language: "english", duration: 2, segments: {}, usage: seconds(2) },
      },
    }),
    given("transcription-diarized", CreateTranscriptionResponseSchema, {
      result: {
        case: "diarized",
        value: {
          task: "transcribe",
          duration: 27.4,
          text: "Agent: Thanks for calling. Hi, I need help.",
          segments: [
            {
              type: "transcript.text.segment",
              id: "seg_001",
              start: 0,
              end: 4.7,
              text: "Thanks for calling.",
              speaker: "agent",
            },
            {
              type: "transcript.text.segment",
              id: "seg_002",
              start: 4.7,
              end: 11.8,
              text: "Hi, I need help.",
              speaker: "A",
            },
          ],
          usage: seconds(28),
        },
      },
    }),
    given("translation-json", CreateTranslationResponseSchema, {
      result: { case: "json", value: { text: "Hello, my name is Wolfgang and I come from Germany." } },
    }),
    given("translation-verbose", CreateTranslationResponseSchema, {
      result: {
        case: "verbose",
        value: {
          task: "translate",
          language: "english",
          duration: 5.2,
          text: "Hello, my name is Wolfgang.",
          segments: { segments: [segment(0, 0, 5.2, " Hello, my name is Wolfgang.")] },
          usage: seconds(6),
        },
      },
    }),
    given("transcription-request", CreateTranscriptionRequestSchema, {
      file: { content: bytes("RIFF....WAVE"), filename: "a.wav", contentType: "audio/wav" },
      model: "whisper-1",
      responseFormat: AudioResponseFormat.VERBOSE_JSON,
      temperature: 0,
      timestampGranularities: [TimestampGranularity.WORD, TimestampGranularity.SEGMENT],
      chunkingStrategy: {
        case: "chunkingVad",
        value: { type: VadType.SERVER_VAD, prefixPaddingMs: 300, silenceDurationMs: 200, threshold: 0.5 },
      },
    }),
    given("speech-request", CreateSpeechRequestSchema, {
      model: "gpt-4o-mini-tts",
      input: "The quick brown fox jumped over the lazy dog.",
      voice: { case: "voiceName", value: "alloy" },
      instructions: "Speak like a tired clerk.",
      responseFormat: SpeechFormat.OPUS,
      speed: 0.25,
      streamFormat: SpeechStreamFormat.SSE,
    }),
    given("speech-request-custom-voice", CreateSpeechRequestSchema, {
      model: "gpt-4o-mini-tts",
      input: "Hallo, wie geht's?",
      voice: { case: "customVoice", value: { id: "voice_1234" } },
      language: "de",
      sampleRate: 24000,
    }),
  ])("$name", ({ name, desc, expected }) => {
    const codec = jsonCodec(desc);
    const { message, ignored } = codec.decode(parseJson(fixture(name)), "strict");
    expect(message).toEqual(create(desc, expected));
    expect(ignored).toEqual([]);
    expect(JSON.parse(codec.encode(message))).toEqual(JSON.parse(fixture(name)));
    expect(createValidator().validate(desc, message).kind).toBe("valid");
  });
});

describe("events", () => {
  test.each<[string, DescMessage, string[]]>([
    [
      "transcription-events",
      TranscriptionEventSchema,
      [
        "transcript.text.delta",
        "transcript.text.delta",
        "transcript.text.delta",
        "transcript.text.segment",
        "transcript.text.done",
        "transcript.text.done",
      ],
    ],
    ["speech-events", SpeechEventSchema, ["speech.audio.delta", "speech.audio.done"]],
  ])("%s", (name, desc, tags) => {
    const codec = jsonCodec(desc);
    const events: unknown[] = JSON.parse(fixture(name));
    const messages = events.map((event) => codec.decode(parseJson(JSON.stringify(event)), "strict").message);
    expect(messages.map((message) => tagOf(desc, message))).toEqual(tags);
    expect(messages.map((message) => JSON.parse(codec.encode(message)))).toEqual(events);
  });

  test("the type comes first, and empty text is printed", () => {
    const codec = jsonCodec(TranscriptionEventSchema);
    const delta = create(TranscriptionEventSchema, { event: { case: "delta", value: {} } });
    expect(codec.encode(delta)).toBe('{"type":"transcript.text.delta","delta":""}');
    const done = create(TranscriptionEventSchema, { event: { case: "done", value: { usage: seconds(3) } } });
    expect(codec.encode(done)).toBe(
      '{"type":"transcript.text.done","text":"","usage":{"type":"duration","seconds":3}}',
    );
  });

  test("audio is bytes", () => {
    const event = jsonCodec(SpeechEventSchema).decode(
      parseJson(JSON.stringify(JSON.parse(fixture("speech-events"))[0])),
      "strict",
    );
    expect(event.message.event).toMatchObject({
      case: "delta",
      value: { audio: Uint8Array.of(250, 251, 252, 253, 254, 255) },
    });
  });

  test.each([
    [
      "an unknown type",
      '{"type":"transcript.text.gamma","delta":"a"}',
      "type",
      'type: "transcript.text.gamma" is not one of transcript.text.delta, transcript.text.segment, transcript.text.done',
    ],
    [
      "no type",
      '{"delta":"a"}',
      "type",
      "type: missing, expected one of transcript.text.delta, transcript.text.segment, transcript.text.done",
    ],
    [
      "a logprob without a number",
      '{"type":"transcript.text.delta","logprobs":[{"logprob":"low"}]}',
      "logprobs[0].logprob",
      "logprobs[0].logprob: expected a number, got a string",
    ],
  ])("refuses %s", (_, json, param, message) => {
    expect(thrownBy(() => jsonCodec(TranscriptionEventSchema).decode(parseJson(json), "lenient"))).toEqual({
      kind: "invalid_request",
      param,
      message,
    });
  });
});

describe("multipart forms", () => {
  const codec = jsonCodec(CreateTranscriptionRequestSchema);
  const file: FormFile = { content: bytes("RIFF....WAVE"), filename: "speech.wav", contentType: "audio/wav" };
  type Fields = [string, string | FormFile][];

  test("every field, as the SDKs name them, with stream after the file", () => {
    const fields: Fields = [
      ["file", file],
      ["model", "gpt-4o-transcribe"],
      ["language", "en"],
      ["languages[]", "en"],
      ["languages[]", "de"],
      ["keywords[]", "loqui"],
      ["prompt", "1234"],
      ["response_format", "verbose_json"],
      ["temperature", "0.2"],
      ["include[]", "logprobs"],
      ["timestamp_granularities[]", "word"],
      ["timestamp_granularities[]", "segment"],
      ["chunking_strategy", "auto"],
      ["known_speaker_names[]", "agent"],
      ["known_speaker_references[]", "data:audio/wav;base64,AAAA"],
      ["vad_filter", "false"],
      ["hotwords", "loqui Protobuf"],
      ["beam_size", "5"],
      ["log_prob_threshold", "-1"],
      ["stream", "true"],
    ];
    const { message, ignored } = codec.decodeForm(fields, "strict");
    expect(message).toEqual(
      create(CreateTranscriptionRequestSchema, {
        file: { content: file.content, filename: "speech.wav", contentType: "audio/wav" },
        model: "gpt-4o-transcribe",
        language: "en",
        languages: ["en", "de"],
        keywords: ["loqui"],
        prompt: "1234",
        responseFormat: AudioResponseFormat.VERBOSE_JSON,
        temperature: 0.2,
        include: [TranscriptionInclude.LOGPROBS],
        timestampGranularities: [TimestampGranularity.WORD, TimestampGranularity.SEGMENT],
        chunkingStrategy: { case: "chunkingMode", value: ChunkingMode.AUTO },
        knownSpeakerNames: ["agent"],
        knownSpeakerReferences: ["data:audio/wav;base64,AAAA"],
        vadFilter: false,
        hotwords: "loqui Protobuf",
        beamSize: 5,
        logprobThreshold: -1,
        stream: true,
      }),
    );
    expect(ignored).toEqual([]);
    expect(createValidator().validate(CreateTranscriptionRequestSchema, message).kind).toBe("valid");
  });

  test("lists without brackets", () => {
    const fields: Fields = [
      ["timestamp_granularities", "word"],
      ["timestamp_granularities", "segment"],
      ["include", "word_probability"],
    ];
    expect(codec.decodeForm(fields, "strict").message).toEqual(
      create(CreateTranscriptionRequestSchema, {
        timestampGranularities: [TimestampGranularity.WORD, TimestampGranularity.SEGMENT],
        include: [TranscriptionInclude.WORD_PROBABILITY],
      }),
    );
  });

  const vad = { type: VadType.SERVER_VAD, threshold: 0.6, silenceDurationMs: 500 };
  test.each<[string, Fields]>([
    ["JSON text", [["chunking_strategy", '{"type":"server_vad","threshold":0.6,"silence_duration_ms":500}']]],
    [
      "brackets, as OpenAI's SDKs send an object",
      [
        ["chunking_strategy[type]", "server_vad"],
        ["chunking_strategy[threshold]", "0.6"],
        ["chunking_strategy[silence_duration_ms]", "500"],
      ],
    ],
  ])("chunking_strategy in %s", (_, fields) => {
    expect(codec.decodeForm(fields, "strict").message).toEqual(
      create(CreateTranscriptionRequestSchema, { chunkingStrategy: { case: "chunkingVad", value: vad } }),
    );
  });

  test("a translation", () => {
    const translation = jsonCodec(CreateTranslationRequestSchema);
    const fields: Fields = [
      ["model", "whisper-1"],
      ["response_format", "srt"],
      ["temperature", "0"],
      ["file", file],
    ];
    expect(translation.decodeForm(fields, "strict").message).toEqual(
      create(CreateTranslationRequestSchema, {
        model: "whisper-1",
        responseFormat: AudioResponseFormat.SRT,
        temperature: 0,
        file: { content: file.content, filename: "speech.wav", contentType: "audio/wav" },
      }),
    );
  });

  test.each<[string, Fields, string, string]>([
    [
      "an unknown response_format",
      [["response_format", "lrc"]],
      "response_format",
      'response_format: "lrc" is not one of json, text, srt, verbose_json, vtt, diarized_json',
    ],
    [
      "an unknown granularity",
      [["timestamp_granularities[]", "char"]],
      "timestamp_granularities[0]",
      'timestamp_granularities[0]: "char" is not one of word, segment',
    ],
    ["a temperature in words", [["temperature", "hot"]], "temperature", 'temperature: expected a number, got "hot"'],
    ["stream in words", [["stream", "yes"]], "stream", 'stream: expected true or false, got "yes"'],
    ["a negative beam_size", [["beam_size", "-1"]], "beam_size", "beam_size: -1 is below the minimum 0"],
    [
      "an unknown chunking_strategy",
      [["chunking_strategy", "vad"]],
      "chunking_strategy",
      'chunking_strategy: "vad" is not one of auto',
    ],
    ["a file in place of text", [["prompt", file]], "prompt", "prompt: expected a text, got a file"],
    ["text in place of a file", [["file", "speech.wav"]], "file", 'file: expected JSON, got "speech.wav"'],
  ])("refuses %s", (_, fields, param, message) => {
    expect(thrownBy(() => codec.decodeForm(fields, "lenient"))).toEqual({
      kind: "invalid_request",
      param,
      message,
    });
  });

  test("lists what it doesn't know", () => {
    const fields: Fields = [
      ["file", file],
      ["word_thold", "0.01"],
    ];
    expect(codec.decodeForm(fields, "lenient").ignored).toEqual(["word_thold"]);
    expect(thrownBy(() => codec.decodeForm(fields, "strict"))).toEqual({
      kind: "invalid_request",
      param: "word_thold",
      message: "unknown parameter: word_thold",
    });
  });
});

describe("speech requests", () => {
  test.each([
    ["a voice of a number", '{"voice":1}', "voice", "voice: expected a string or an object, got a number"],
    ["a voice's id of a number", '{"voice":{"id":1}}', "voice.id", "voice.id: expected a string, got a number"],
    [
      "an unknown format",
      '{"response_format":"webm"}',
      "response_format",
      'response_format: "webm" is not one of mp3, opus, aac, flac, wav, pcm',
    ],
    ["speed as text", '{"speed":"fast"}', "speed", "speed: expected a number, got a string"],
  ])("refuses %s", (_, json, param, message) => {
    expect(thrownBy(() => jsonCodec(CreateSpeechRequestSchema).decode(parseJson(json), "lenient"))).toEqual({
      kind: "invalid_request",
      param,
      message,
    });
  });
});

describe("bounds", () => {
  const model = "m";
  const file = { content: "AAAA", filename: "a.wav" };
  test.each<[string, DescMessage, unknown, string[]]>([
    [
      "nothing to transcribe",
      CreateTranscriptionRequestSchema,
      {},
      ["file: value is required", "model: value is required"],
    ],
    [
      "a transcription beyond them",
      CreateTranscriptionRequestSchema,
      {
        file,
        model,
        language: "",
        temperature: 1.1,
        chunking_strategy: { threshold: 2 },
        known_speaker_names: ["a", "b", "c", "d", "e"],
        known_speaker_references: ["https://example.com/a.wav"],
        beam_size: 0,
      },
      [
        "language: must be at least 1 characters",
        "temperature: must be greater than or equal to 0 and less than or equal to 1",
        "chunking_strategy.threshold: must be greater than or equal to 0 and less than or equal to 1",
        "known_speaker_names: must contain no more than 4 item(s)",
        "known_speaker_references[0]: does not have prefix `data:`",
        "beam_size: must be greater than or equal to 1 and less than or equal to 16",
      ],
    ],
    [
      "a translation by speaker",
      CreateTranslationRequestSchema,
      { file, model, response_format: "diarized_json" },
      ["response_format: must not be in list [6]"],
    ],
    ["speech without a voice", CreateSpeechRequestSchema, { model, input: "a" }, []],
    [
      "speech beyond them",
      CreateSpeechRequestSchema,
      { model, input: "x".repeat(4097), speed: 5, voice: { id: "" } },
      [
        "input: must be at most 4096 characters",
        "voice.id: value is required",
        "speed: must be greater than or equal to 0.25 and less than or equal to 4",
      ],
    ],
  ])("%s", (_, desc, body, expected) => {
    expect(violations(desc, body)).toEqual(expected);
  });
});

/** The violations of a request's rules, as a client of REST reads them. */
function violations(desc: DescMessage, request: unknown): string[] {
  const { message } = jsonCodec(desc).decode(parseJson(JSON.stringify(request)), "strict");
  const result = createValidator().validate(desc, message);
  if (result.kind === "error") throw result.error;
  return (result.violations ?? []).map(({ field, message }) => `${jsonPath(field)}: ${message}`);
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    if (error instanceof LoquiError) return { kind: error.kind, param: error.param, message: error.message };
    throw error;
  }
  return "nothing was thrown";
}
