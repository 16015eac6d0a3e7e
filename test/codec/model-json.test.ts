import { readFileSync } from "node:fs";
import { create, type DescMessage, fromJson } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, test } from "vitest";
import {
  DeleteModelResponseSchema,
  GetModelRequestSchema,
  ListModelsRequestSchema,
  ListModelsResponseSchema,
  LoadModelRequestSchema,
  ModelCapability,
  ModelConfigSchema,
  ModelEngine,
  ModelEventSchema,
  ModelMetricsSchema,
  ModelSchema,
  ModelState,
  ModelStateFilter,
  ModelType,
  PullModelEventSchema,
  PullModelRequestSchema,
  UnloadModelRequestSchema,
  UpdateModelRequestSchema,
  ValidateModelRequestSchema,
  ValidateModelResponseSchema,
} from "../../gen/loqui/v1/model_pb.ts";
import { assignText, jsonCodec, jsonPath, tagOf } from "../../src/codec/codec.ts";
import { parseJson } from "../../src/codec/json-source.ts";

const read = (name: string) => readFileSync(new URL(`./fixtures/model/${name}`, import.meta.url), "utf8");
const lines = (name: string) => read(name).trimEnd().split("\n");
const validator = createValidator();

describe("models", () => {
  const model = jsonCodec(ModelSchema);

  test("a loaded model", () => {
    const { message, ignored } = model.decode(parseJson(read("model.json")), "strict");
    const expected = JSON.parse(read("model.json"));
    expect(message).toEqual(
      fromJson(ModelSchema, {
        ...expected,
        type: "MODEL_TYPE_CHAT",
        capabilities: [
          "MODEL_CAPABILITY_CHAT_COMPLETION",
          "MODEL_CAPABILITY_TOOLS",
          "MODEL_CAPABILITY_STRUCTURED_OUTPUTS",
          "MODEL_CAPABILITY_REASONING",
        ],
        engine: "MODEL_ENGINE_LLAMA_CPP",
        state: "MODEL_STATE_READY",
        format: "MODEL_FORMAT_GGUF",
        defaults: { ...expected.defaults, chat_template_kwargs: '{ "enable_thinking": true }' },
        memory_bytes: "9007199254740993",
      }),
    );
    expect(ignored).toEqual([]);
    expect(JSON.parse(model.encode(message))).toEqual(expected);
    expect(model.encode(message)).toContain('"memory_bytes":9007199254740993');
  });

  test("a failed model", () => {
    const { message } = model.decode(parseJson(read("model-failed.json")), "strict");
    expect(message).toMatchObject({
      id: "all-minilm",
      type: ModelType.EMBEDDING,
      capabilities: [ModelCapability.TEXT_EMBEDDING],
      engine: ModelEngine.ONNXRUNTIME,
      state: ModelState.FAILED,
      dimensions: 384,
      disabled: true,
      error: { attempts: 3, retryAt: 1757141700 },
    });
    expect(JSON.parse(model.encode(message))).toEqual(JSON.parse(read("model-failed.json")));
  });

  test("nothing but what OpenAI requires", () => {
    const bare = create(ModelSchema, { id: "a", object: "model", created: 1, ownedBy: "local" });
    expect(model.encode(bare)).toBe(
      '{"id":"a","object":"model","created":1,"owned_by":"local","capabilities":[],"in_flight":0}',
    );
  });

  const list = jsonCodec(ListModelsResponseSchema);

  test("OpenAI's list", () => {
    const { message, ignored } = list.decode(parseJson(read("list-openai.json")), "upstream");
    expect(message.data.map(({ id, created, ownedBy, shutdownDate }) => [id, created, ownedBy, shutdownDate])).toEqual([
      ["gpt-4.1-mini", 1744318173, "system", undefined],
      ["davinci-002", 1692634301, "openai", undefined],
      ["gpt-4-32k", 1687979321, "openai", "2025-06-06"],
    ]);
    expect(ignored).toEqual([]);
    const printed = JSON.parse(read("list-openai.json"));
    for (const item of printed.data) {
      Object.assign(item, { capabilities: [], in_flight: 0 });
      if (item.shutdown_date === null) delete item.shutdown_date;
    }
    expect(JSON.parse(list.encode(message))).toEqual(printed);
  });

  test("vLLM's list keeps what only vLLM has", () => {
    const { message, ignored } = list.decode(parseJson(read("list-vllm.json")), "upstream");
    expect(JSON.parse(message.data[0]?.extra ?? "")).toEqual({
      root: "Qwen/Qwen3-4B",
      parent: null,
      max_model_len: 40960,
      permission: [{ id: "modelperm-1", object: "model_permission", allow_sampling: true }],
    });
    expect([...ignored].sort()).toEqual(
      ["max_model_len", "parent", "permission", "root"].map((name) => `data[0].${name}`),
    );
  });

  test("an empty list", () => {
    expect(list.encode(create(ListModelsResponseSchema, { object: "list" }))).toBe('{"object":"list","data":[]}');
  });

  test("a deleted model", () => {
    const codec = jsonCodec(DeleteModelResponseSchema);
    const { message } = codec.decode(parseJson(read("delete.json")), "strict");
    expect(message).toMatchObject({ id: "ft:gpt-4o-mini:acemeco:suffix:abc123", object: "model", deleted: true });
    expect(JSON.parse(codec.encode(message))).toEqual(JSON.parse(read("delete.json")));
    expect(codec.encode(create(DeleteModelResponseSchema, { id: "a", object: "model" }))).toBe(
      '{"id":"a","object":"model","deleted":false}',
    );
  });

  test("metrics", () => {
    const codec = jsonCodec(ModelMetricsSchema);
    const { message } = codec.decode(parseJson(read("metrics.json")), "strict");
    expect(message).toMatchObject({
      state: ModelState.READY,
      requestsTotal: 9007199254740993n,
      promptTokensTotal: 5000000000n,
      kvCacheUsage: 0,
      queueTime: { count: 0n },
      timeToFirstToken: { count: 12n, p90: 101.25 },
    });
    expect(JSON.parse(codec.encode(message))).toEqual(JSON.parse(read("metrics.json")));
    expect(codec.encode(message)).toContain('"requests_total":9007199254740993,');
  });
});

describe("events", () => {
  test.each([
    [PullModelEventSchema, "pull-events.jsonl", ["pull.started", "pull.progress", "pull.verifying", "pull.completed"]],
    [
      ModelEventSchema,
      "watch-events.jsonl",
      ["models.snapshot", "model.added", "model.progress", "model.updated", "model.removed"],
    ],
  ] as [DescMessage, string, string[]][])("%s", (desc, name, tags) => {
    const codec = jsonCodec(desc);
    const messages = lines(name).map((line) => codec.decode(parseJson(line), "strict").message);
    expect(messages.map((message) => tagOf(desc, message))).toEqual(tags);
    expect(messages.map((message) => JSON.parse(codec.encode(message)))).toEqual(
      lines(name).map((line) => JSON.parse(line)),
    );
  });

  test("read as what they say", () => {
    const event = jsonCodec(ModelEventSchema).decode(parseJson(lines("watch-events.jsonl")[2] ?? ""), "strict").message;
    expect(event).toEqual(
      fromJson(ModelEventSchema, {
        progress: {
          id: "a",
          state: "MODEL_STATE_DOWNLOADING",
          progress: { completed_bytes: "0", total_bytes: "90868376", bytes_per_second: 0 },
        },
      }),
    );
  });

  test("of an unknown kind are refused", () => {
    expect(thrownBy(() => jsonCodec(ModelEventSchema).decode(parseJson('{"type":"model.renamed"}'), "strict"))).toEqual(
      [
        "type",
        'type: "model.renamed" is not one of models.snapshot, model.added, model.updated, model.removed, model.progress',
      ],
    );
  });
});

describe("requests", () => {
  test.each([
    [LoadModelRequestSchema, '{"parameters":{"n_ctx":8192,"sequences":2},"pinned":true,"idle_unload_seconds":0}'],
    [
      PullModelRequestSchema,
      '{"source":{"repository":"Qwen/Qwen3-4B-GGUF","quantization":"Q4_K_M"},"force":false,"load":true}',
    ],
    [
      UpdateModelRequestSchema,
      '{"aliases":["a","b"],"disabled":false,"defaults":{"temperature":0},"reset":["defaults.top_p"]}',
    ],
    [UpdateModelRequestSchema, '{"aliases":[]}'],
    [UpdateModelRequestSchema, "{}"],
  ] as [DescMessage, string][])("%s %s", (desc, source) => {
    const codec = jsonCodec(desc);
    const { message, ignored } = codec.decode(parseJson(source), "strict");
    expect(ignored).toEqual([]);
    expect(codec.encode(message)).toBe(source);
    assignText(desc, message, "model", "Qwen/Qwen3-4B:latest");
    expect(validator.validate(desc, message)).toMatchObject({ kind: "valid" });
    expect(JSON.parse(codec.encode(message)).model).toBe("Qwen/Qwen3-4B:latest");
  });

  test("an update tells no aliases from aliases that stay", () => {
    const codec = jsonCodec(UpdateModelRequestSchema);
    expect(codec.decode(parseJson('{"aliases":[]}'), "strict").message.aliases?.aliases).toEqual([]);
    expect(codec.decode(parseJson("{}"), "strict").message.aliases).toBeUndefined();
    expect(codec.decode(parseJson('{"aliases":null}'), "strict").message.aliases).toBeUndefined();
  });

  test("the filters of a query", () => {
    const { message, ignored } = jsonCodec(ListModelsRequestSchema).decodeForm(
      [
        ["type", "chat"],
        ["type", "embedding"],
        ["provider", "local"],
        ["capability", "structured-outputs"],
        ["state", "all"],
      ],
      "strict",
    );
    expect(message).toMatchObject({
      type: [ModelType.CHAT, ModelType.EMBEDDING],
      provider: ["local"],
      capability: [ModelCapability.STRUCTURED_OUTPUTS],
      state: [ModelStateFilter.ALL],
    });
    expect(ignored).toEqual([]);
    expect(jsonCodec(UnloadModelRequestSchema).decodeForm([["force", "true"]], "strict").message.force).toBe(true);
  });

  test.each([
    ["type", "text_generation", /is not one of chat, embedding, rerank, transcription, speech, image, multimodal$/],
    ["capability", "code_generation", /^capability.*"code_generation" is not one of chat-completion, vision, tools, /],
    ["state", "busy", /is not one of not_downloaded, downloading, available, loading, ready, unloading, failed, all$/],
  ])("refuses %s=%s", (name, value, message) => {
    const [param, text] = thrownBy(() => jsonCodec(ListModelsRequestSchema).decodeForm([[name, value]], "lenient"));
    expect(param).toBe(`${name}[0]`);
    expect(text).toMatch(message);
  });

  test.each([
    [
      LoadModelRequestSchema,
      '{"model":"m","parameters":{"n_ctx":"8k"}}',
      "parameters.n_ctx",
      "expected an integer, got a string",
    ],
    [
      LoadModelRequestSchema,
      '{"model":"m","parameters":{"memory_limit_bytes":1.5}}',
      "parameters.memory_limit_bytes",
      "1.5 is not an integer",
    ],
    [UpdateModelRequestSchema, '{"model":"m","aliases":"a"}', "aliases", "expected an array, got a string"],
    [
      UpdateModelRequestSchema,
      '{"model":"m","defaults":{"stop":[1]}}',
      "defaults.stop[0]",
      "expected a string, got a number",
    ],
    [
      ValidateModelRequestSchema,
      '{"config":{"engine":"llamacpp"}}',
      "config.engine",
      '"llamacpp" is not one of llama.cpp, onnxruntime, upstream, custom',
    ],
  ] as [DescMessage, string, string, string][])("%s refuses %s", (desc, json, param, text) => {
    expect(thrownBy(() => jsonCodec(desc).decode(parseJson(json), "lenient"))).toEqual([param, `${param}: ${text}`]);
  });

  test.each([
    [GetModelRequestSchema, "{}", "model", "string.min_bytes"],
    [LoadModelRequestSchema, '{"model":"m","parameters":{"sequences":0}}', "parameters.sequences", "uint32.gte_lte"],
    [LoadModelRequestSchema, '{"model":"m","parameters":{"pooling":"sum"}}', "parameters.pooling", "string.in"],
    [UpdateModelRequestSchema, '{"model":"m","aliases":["a b"]}', "aliases[0]", "string.pattern"],
    [UpdateModelRequestSchema, '{"model":"m","cost":{"input_per_token":-1}}', "cost.input_per_token", "double.gte_lte"],
    [PullModelRequestSchema, '{"model":"m","config":{"engine":"custom"}}', "config.engine", "enum.not_in"],
    [PullModelRequestSchema, '{"model":"m","source":{"sha256":"A"}}', "source.sha256", "string.pattern"],
  ] as [DescMessage, string, string, string][])("%s %s breaks a rule", (desc, json, path, rule) => {
    const { message } = jsonCodec(desc).decode(parseJson(json), "lenient");
    const { violations } = validator.validate(desc, message);
    expect(violations?.map((violation) => [jsonPath(violation.field), violation.ruleId])).toEqual([[path, rule]]);
  });
});

describe("configurations", () => {
  const codec = jsonCodec(ValidateModelRequestSchema);

  test("hold no handler: it and other unknown members are set aside for the list of violations", () => {
    const { message, ignored } = codec.decode(parseJson(read("config.json")), "strict");
    expect(ignored).toEqual([]);
    expect(JSON.parse(message.config?.extra ?? "")).toEqual({ handler: "./gpt.ts", n_ctx: 4096 });
    expect(message.config).toMatchObject({
      id: "gpt",
      engine: ModelEngine.UPSTREAM,
      source: { upstreamModel: "gpt-4.1" },
      parameters: { maxQueue: 0 },
      defaults: { stop: ["END"], maxTokens: 4096 },
    });
    expect(JSON.parse(codec.encode(message))).toEqual(JSON.parse(read("config.json")));
    expect(ModelConfigSchema.fields.some(({ name }) => name === "handler")).toBe(false);
  });

  test("that break rules pass the gate, so that the answer can list them", () => {
    const { message } = codec.decode(parseJson('{"config":{"id":"a b","parameters":{"sequences":0}}}'), "strict");
    expect(validator.validate(ValidateModelRequestSchema, message).kind).toBe("valid");
    if (message.config === undefined) throw new Error("no configuration");
    const { violations } = validator.validate(ModelConfigSchema, message.config);
    expect(violations?.map((violation) => [jsonPath(violation.field), violation.ruleId])).toEqual([
      ["id", "string.pattern"],
      ["parameters.sequences", "uint32.gte_lte"],
    ]);
  });

  test("the answer", () => {
    const answer = jsonCodec(ValidateModelResponseSchema);
    expect(answer.encode(create(ValidateModelResponseSchema, { valid: true }))).toBe('{"valid":true,"violations":[]}');
    const source =
      '{"valid":false,"violations":[{"field":"handler","rule":"unknown_field","message":"a handler can only be set in a file","severity":"error"},{"field":"","rule":"memory","message":"it may not fit","severity":"warning"}]}';
    const { message } = answer.decode(parseJson(source), "strict");
    expect(answer.encode(message)).toBe(source);
  });
});

/** The path and the text of an error. */
function thrownBy(run: () => unknown): unknown[] {
  try {
    run();
  } catch (error) {
    const { param, message } = error as { param?: unknown; message?: unknown };
    return [param, message];
  }
  return ["nothing was thrown"];
}
