import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  CreateChatCompletionRequestSchema,
  OutputModality,
  ReasoningFormat,
  ToolChoiceMode,
} from "../../gen/loqui/v1/chat_pb.ts";
import { LoquiError } from "../../src/errors.ts";
import { samplingOf } from "../../src/worker/sampling.ts";
import { refuseUnsupported } from "../../src/worker/unsupported.ts";

type Init = MessageInitShape<typeof CreateChatCompletionRequestSchema>;
const request = (init: Init) => create(CreateChatCompletionRequestSchema, { model: "m", ...init });
const aFunction = { tool: { case: "function" as const, value: { name: "f" } } };
const mode = (value: ToolChoiceMode) => ({ choice: { case: "mode" as const, value } });

describe("what can't be done is refused by name", () => {
  const cases: [param: string, init: Init][] = [
    ["typical_p", { typicalP: 0.5 }],
    ["modalities", { modalities: [OutputModality.TEXT, OutputModality.AUDIO] }],
    ["audio", { audio: {} }],
    ["web_search_options", { webSearchOptions: {} }],
    ["moderation", { moderation: {} }],
    ["retrieval", { retrieval: {} }],
  ];

  test.each(cases)("%s", (param, init) => {
    let error: unknown;
    try {
      refuseUnsupported(request(init));
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(LoquiError);
    expect(error).toMatchObject({ kind: "unsupported", param });
    expect((error as LoquiError).message).toMatch(/ is not supported yet by this model$/);
  });

  test("what asks for nothing special passes", () => {
    refuseUnsupported(
      request({
        n: 2,
        tools: [aFunction],
        toolChoice: mode(ToolChoiceMode.AUTO),
        responseFormat: { format: { case: "text", value: {} } },
        logprobs: true,
        topLogprobs: 20,
        reasoningFormat: ReasoningFormat.DEEPSEEK_LEGACY,
        thinkingBudgetTokens: -1,
        typicalP: 1,
        dryMultiplier: 0.8,
        xtcProbability: 0.5,
        minTokens: 0,
        skipSpecialTokens: false,
        includeStopStrInOutput: true,
        modalities: [OutputModality.TEXT],
        priority: -1,
        timingsPerToken: true,
        returnProgress: true,
        streamOptions: { includeUsage: true, includeObfuscation: false, continuousUsageStats: true },
        user: "u",
        metadata: { a: "b" },
        promptCacheKey: "k",
        store: false,
      }),
    );
  });
});

describe("sampling", () => {
  const context = { defaults: {}, contextLength: 1_000, vocabularySize: 100, endTokens: () => [7, 8] };
  const samplingFor = (init: Init, defaults = {}) => samplingOf(request(init), { ...context, defaults });

  test("without a word from anybody", () => {
    const { seed, ...rest } = samplingFor({});
    expect(rest).toEqual({
      temperature: 1,
      topK: 40,
      topP: 1,
      minP: 0.05,
      repeatPenalty: 1,
      frequencyPenalty: 0,
      presencePenalty: 0,
      penaltyWindow: 64,
      logitBias: new Map(),
    });
    expect(seed).not.toBe(samplingFor({}).seed);
  });

  test("the model's defaults, and the request's values before them", () => {
    const defaults = { temperature: 0.3, topK: -1, topP: 0.9, minP: 0, repeatPenalty: 1.1, presencePenalty: 0.5 };
    expect(samplingFor({}, defaults)).toMatchObject({ ...defaults, topK: 0, frequencyPenalty: 0 });
    expect(samplingFor({ temperature: 0, topK: 5, minP: 0.1, frequencyPenalty: 1 }, defaults)).toMatchObject({
      temperature: 0,
      topK: 5,
      minP: 0.1,
      topP: 0.9,
      frequencyPenalty: 1,
    });
  });

  test.each([
    { seed: 0n, expected: 0 },
    { seed: 42n, expected: 42 },
    { seed: 0xffffffffn, expected: 0xffffffff },
    { seed: -2n, expected: 2 ** 53 - 2 },
    { seed: (1n << 53n) + 5n, expected: 5 },
  ])("seed $seed", ({ seed, expected }) => {
    expect(samplingFor({ seed }).seed).toBe(expected);
  });

  test("seed -1 is a random one", () => {
    expect(samplingFor({ seed: -1n }).seed).not.toBe(samplingFor({ seed: -1n }).seed);
  });

  test.each([
    { repeatLastN: 0, window: 0 },
    { repeatLastN: -1, window: 1_000 },
    { repeatLastN: 32, window: 32 },
    { repeatLastN: 5_000, window: 1_000 },
  ])("repeat_last_n $repeatLastN", ({ repeatLastN, window }) => {
    expect(samplingFor({ repeatLastN }).penaltyWindow).toBe(window);
  });

  test("xtc and dry are off", () => {
    expect(samplingFor({})).toMatchObject({ xtc: undefined, dry: undefined });
    expect(samplingFor({ xtcProbability: 0, xtcThreshold: 0.2 }).xtc).toBeUndefined();
    expect(samplingFor({ dryMultiplier: 0, dryBase: 2 }).dry).toBeUndefined();
    expect(samplingFor({ dryMultiplier: 1, dryPenaltyLastN: 0 }).dry).toBeUndefined();
  });

  test("xtc and dry with llama-server's defaults, and as the request says", () => {
    expect(samplingFor({ xtcProbability: 0.5 }).xtc).toEqual({ probability: 0.5, threshold: 0.1 });
    expect(samplingFor({ xtcProbability: 1, xtcThreshold: 0 }).xtc).toEqual({ probability: 1, threshold: 0 });
    expect(samplingFor({ dryMultiplier: 0.8 }).dry).toEqual({
      multiplier: 0.8,
      base: 1.75,
      allowedLength: 2,
      window: 1_000,
      breakers: ["\n", ":", '"', "*"],
    });
    expect(
      samplingFor({
        dryMultiplier: 2,
        dryBase: 1,
        dryAllowedLength: 0,
        dryPenaltyLastN: 10,
        drySequenceBreakers: ["."],
      }).dry,
    ).toEqual({ multiplier: 2, base: 1, allowedLength: 0, window: 10, breakers: ["."] });
  });

  test("biases by token id; -100 bans; the end is banned where it is ignored", () => {
    const { logitBias } = samplingFor({ logitBias: { "5": 3, "6": -100, "8": 50 }, ignoreEos: true });
    expect([...logitBias]).toEqual([
      [5, 3],
      [6, Number.NEGATIVE_INFINITY],
      [8, Number.NEGATIVE_INFINITY],
      [7, Number.NEGATIVE_INFINITY],
    ]);
  });

  test("a bias on a token that isn't there", () => {
    expect(() => samplingFor({ logitBias: { "100": 1 } })).toThrow(
      "logit_bias: token 100 is not in the vocabulary of 100 tokens",
    );
  });
});
