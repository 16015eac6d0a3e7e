import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CreateCompletionRequestSchema } from "../../../gen/loqui/v1/chat_pb.ts";
import { findFillInTokens } from "../../../src/engines/llama/fill-in.ts";
import { openLlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import type { TokenEngine } from "../../../src/engines/token-engine.ts";
import type { GgufHeader, GgufValue } from "../../../src/gguf/gguf-header.ts";
import { completionPrompts } from "../../../src/worker/completion-prompts.ts";
import { writeScriptedModel } from "../../support/scripted-model.ts";

describe("the tokens for filling in the middle", () => {
  const vocabulary = ["a", "<PRE>", "<SUF>", "<MID>", "<fim_prefix>"];
  const model = {
    tokenize: (text: string) => Uint32Array.of(vocabulary.indexOf(text)),
    tokenText: (token: number) => vocabulary[token] ?? "",
  };
  const headerOf = (texts: readonly string[], metadata: Record<string, GgufValue>): GgufHeader => ({
    version: 3,
    metadata: new Map<string, GgufValue>([
      [
        "tokenizer.ggml.tokens",
        { length: 5, elementType: "string", numbers: undefined, texts: new Set(texts), empty: 0 },
      ],
      ...Object.entries(metadata),
    ]),
    tensors: new Map(),
    parameters: 0,
    tensorBytes: 0,
  });

  test.each<[name: string, texts: readonly string[], metadata: Record<string, GgufValue>, found: unknown]>([
    [
      "by the metadata",
      [],
      {
        "tokenizer.ggml.fim_pre_token_id": 4,
        "tokenizer.ggml.fim_suf_token_id": 2,
        "tokenizer.ggml.fim_mid_token_id": 3,
      },
      { prefix: 4, suffix: 2, middle: 3 },
    ],
    [
      "by older names",
      [],
      {
        "tokenizer.ggml.prefix_token_id": 1,
        "tokenizer.ggml.suffix_token_id": 2,
        "tokenizer.ggml.middle_token_id": 3,
      },
      { prefix: 1, suffix: 2, middle: 3 },
    ],
    ["by their texts", ["<PRE>", "<SUF>", "<MID>"], {}, { prefix: 1, suffix: 2, middle: 3 }],
    [
      "by both",
      ["<fim_prefix>", "<SUF>", "<MID>"],
      { "tokenizer.ggml.fim_mid_token_id": 0 },
      { prefix: 4, suffix: 2, middle: 0 },
    ],
    ["not by ids that aren't there", ["<SUF>", "<MID>"], { "tokenizer.ggml.fim_pre_token_id": 99 }, undefined],
    ["not where one is missing", ["<PRE>", "<MID>"], {}, undefined],
  ])("%s", (_, texts, metadata, found) => {
    expect(findFillInTokens(model, headerOf(texts, metadata))).toEqual(found);
  });
});

describe("a prompt with a suffix", () => {
  let folder: string;
  let engine: TokenEngine;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "loqui-test-"));
    const path = join(folder, "model.gguf");
    const controls = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"];
    writeScriptedModel(path, { reply: ["x y"], controls, addBos: true });
    engine = await openLlamaEngine({ path, sequences: 1, threads: 1 });
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  test.each([
    ["a text", { case: "promptText" as const, value: "a<|im_end|>" }],
    ["tokens", { case: "promptTokens" as const, value: { ids: [...Buffer.from("a<|im_end|>")] } }],
  ])("%s: begins, prefix, suffix, middle, and no special token but those", async (_, prompt) => {
    const request = create(CreateCompletionRequestSchema, { model: "m", prompt, suffix: "<|fim_middle|>b" });
    const [made] = await completionPrompts(request, engine, new AbortController().signal);
    const special = Array.from(made?.tokens ?? []).filter((token) => engine.tokenBytes(token).length > 1);
    const names = (tokens: Iterable<number>) =>
      Array.from(tokens, (token) => Buffer.from(engine.tokenBytes(token)).toString());
    expect(names(made?.tokens ?? []).join("")).toBe(
      "<|endoftext|><|fim_prefix|>a<|im_end|><|fim_suffix|><|fim_middle|>b<|fim_middle|>",
    );
    expect(names(special)).toEqual(["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]);
  });
});
