import { beforeAll, describe, expect, it } from "vitest";
import { type LlamaEngine, openLlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import type { DecodeRow, LogitsHandle } from "../../../src/engines/token-engine.ts";
import { tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { chatml } from "../../support/gguf-vocabulary.ts";
import { greedy } from "../../support/sampling.ts";
import { writeScriptedModel } from "../../support/scripted-model.ts";
import { append, continueFrom, generate, modelFolder, openEngine, textOf } from "./generate.ts";

const inFolder = modelFolder();

describe("scripted model", () => {
  let engine: LlamaEngine;
  const reply = ["Hello", ",", " this", " is", " a", " scripted", " reply", "."];

  beforeAll(async () => {
    const path = inFolder("scripted.gguf");
    writeScriptedModel(path, { reply, license: "Apache-2.0", description: "says one thing", contextLength: 2048 });
    engine = await openEngine(path);
  });

  it("answers its script and ends", async () => {
    const prompt = engine.tokenize("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", true);
    expect(textOf(engine, await generate(engine, prompt, 100))).toBe(reply.join(""));
  });

  it("says what its metadata say", () => {
    expect(engine.info).toEqual({
      architecture: "llama",
      parameters: 477_760,
      trainContextLength: 2048,
      vocabularySize: 265,
      embeddingSize: 320,
      sizeBytes: 957_440,
      longestTokenBytes: 13,
      chatTemplate: chatml,
      bosToken: "<|endoftext|>",
      eosToken: "<|im_end|>",
      addBos: false,
      license: "Apache-2.0",
      description: "says one thing",
      threads: 1,
    });
  });

  it("begins again where the end is ignored", async () => {
    const end = engine.tokenize("<|im_end|>", true)[0] ?? 0;
    expect(engine.isEndOfGeneration(end)).toBe(true);
    await engine.truncate(1, 0);
    const [first = 0] = await continueFrom(engine, 1, 0, Uint32Array.of(end), 1);
    expect(textOf(engine, [first])).toBe("Hello");
  });

  it("loops for ever where it is told to", async () => {
    const path = inFolder("loop.gguf");
    writeScriptedModel(path, { reply: ["a1 ", "b2 "], loop: true });
    const looping = await openEngine(path, { sequences: 1 });
    expect(textOf(looping, await generate(looping, looping.tokenize("x", false), 50))).toBe("a1 b2 ".repeat(25));
  });
});

describe("random model", () => {
  let engine: LlamaEngine;
  let prompt: Uint32Array;

  beforeAll(async () => {
    const path = inFolder("random.gguf");
    writeRandomModel(path, tinyShape);
    engine = await openEngine(path, { batchSize: 128 });
    prompt = engine.tokenize("<|im_start|>user\nhello world, the quick brown fox<|im_end|>\n", true);
  });

  const emptied = async (...sequences: number[]) => {
    for (const sequence of sequences) expect(await engine.truncate(sequence, 0)).toBe(true);
  };

  it.each([
    "",
    "hello world",
    " leading and  double spaces\n\ttabs",
    "<|im_start|>",
    "naïve 🦜 日本語",
    "\u0000 \ufeff",
  ])("tokenizes %j and back", (text) => {
    const tokens = engine.tokenize(text, false);
    expect(textOf(engine, tokens)).toBe(text);
  });

  it("takes the names of control tokens for text unless asked otherwise", () => {
    const asText = engine.tokenize("<|im_start|>", false);
    const asToken = engine.tokenize("<|im_start|>", true);
    expect(asText.length).toBe("<|im_start|>".length);
    expect(asToken.length).toBe(1);
    expect(textOf(engine, asToken)).toBe("");
    expect(textOf(engine, asToken, true)).toBe("<|im_start|>");
  });

  it("merges words", () => {
    expect(engine.tokenize("hello world", false).length).toBe(2);
  });

  it("generates the same in one batch with others as alone", async () => {
    const prompts = ["one", "hello world", "a longer prompt, the quick brown fox"].map((t) =>
      engine.tokenize(t, false),
    );
    const alone: number[][] = [];
    for (const text of prompts) alone.push(await generate(engine, text, 12));

    await emptied(0, 1, 2);
    const samplers = prompts.map((text) => engine.createSampler(greedy, text));
    const together: number[][] = prompts.map(() => []);
    let rows: DecodeRow[] = prompts.map((tokens, sequence) => ({ sequence, position: 0, tokens, logits: 1 }));
    for (let step = 0; step < 12; step++) {
      const logits = await engine.decode(rows);
      const drawn = await Promise.all(
        samplers.map((sampler, i) => engine.sample(logits[i]?.[0] ?? (0 as LogitsHandle), sampler)),
      );
      rows = rows.map(({ sequence, position, tokens }, i) => {
        together[i]?.push(drawn[i] ?? -1);
        return {
          sequence,
          position: position + tokens.length,
          tokens: Uint32Array.of(drawn[i] ?? 0),
          logits: 1,
        };
      });
    }
    for (const sampler of samplers) sampler.dispose();
    expect(together).toEqual(alone);
  });

  it("prefills in pieces as at once", async () => {
    const whole = await generate(engine, prompt, 12);
    await emptied(0);
    let position = 0;
    while (prompt.length - position > 7) {
      const tokens = prompt.subarray(position, position + 7);
      expect(await engine.decode([{ sequence: 0, position, tokens, logits: 0 }])).toEqual([[]]);
      position += 7;
    }
    expect(await continueFrom(engine, 0, position, prompt.subarray(position), 12)).toEqual(whole);
  });

  it("goes on from a truncated sequence as from a fresh one", async () => {
    const other = engine.tokenize(" and something else", false);
    const fresh = await generate(engine, Uint32Array.of(...prompt, ...other), 12);
    await generate(engine, prompt, 20);
    expect(await engine.truncate(0, prompt.length)).toBe(true);
    expect(await continueFrom(engine, 0, prompt.length, other, 12)).toEqual(fresh);
  });

  it("copies a prefix of a sequence that is generating", async () => {
    const fresh = await generate(engine, prompt, 12);
    await emptied(1, 2);
    await continueFrom(engine, 1, 0, prompt, 5);
    await append(engine, 2, 0, engine.tokenize("what was here before", false));
    expect(await engine.copyPrefix(1, 2, prompt.length - 1)).toBe(true);
    // The source goes on and its cells change before the copy is used.
    await append(engine, 1, prompt.length + 4, engine.tokenize("something", false));
    expect(await engine.truncate(1, 3)).toBe(true);
    await append(engine, 1, 3, engine.tokenize("else", false));
    expect(await continueFrom(engine, 2, prompt.length - 1, prompt.subarray(-1), 12)).toEqual(fresh);
  });

  it("copies from copies", async () => {
    const fresh = await generate(engine, prompt, 8);
    await emptied(1, 2, 3);
    await engine.decode([{ sequence: 1, position: 0, tokens: prompt.subarray(0, -1), logits: 0 }]);
    expect(await engine.copyPrefix(1, 2, prompt.length - 1)).toBe(true);
    expect(await engine.copyPrefix(2, 3, prompt.length - 1)).toBe(true);
    expect(await continueFrom(engine, 3, prompt.length - 1, prompt.subarray(-1), 8)).toEqual(fresh);
  });

  it("waits with a truncation until the decode has ended", async () => {
    await emptied(0);
    const decode = engine.decode([{ sequence: 0, position: 0, tokens: prompt, logits: 0 }]);
    const truncation = engine.truncate(0, 4);
    expect(await Promise.all([decode, truncation])).toEqual([[[]], true]);
    await append(engine, 0, 4, prompt.subarray(4));
  });

  it("refuses a row that doesn't fit into the context, before native code", async () => {
    await emptied(0);
    const piece = new Uint32Array(128);
    for (let position = 0; position < 512; position += 128) {
      await engine.decode([{ sequence: 0, position, tokens: piece, logits: 0 }]);
    }
    const row = { sequence: 0, position: 512, tokens: Uint32Array.of(1), logits: 1 };
    await expect(engine.decode([row])).rejects.toMatchObject({
      kind: "context_too_long",
      message: "513 tokens are above the context length 512",
      promptTokens: 513,
      contextLength: 512,
    });
  });

  it.each<[string, DecodeRow[]]>([
    ["a batch has 1 to 128 tokens, not 0", []],
    ["a batch has 1 to 128 tokens, not 129", [{ sequence: 3, position: 0, tokens: new Uint32Array(129), logits: 0 }]],
    ["the row of sequence 3 is empty", [{ sequence: 3, position: 0, tokens: new Uint32Array(0), logits: 0 }]],
    ["there is no sequence 4, only 0 to 3", [{ sequence: 4, position: 0, tokens: Uint32Array.of(1), logits: 0 }]],
    [
      "sequence 3 is in the batch twice",
      [
        { sequence: 3, position: 0, tokens: Uint32Array.of(1), logits: 0 },
        { sequence: 3, position: 0, tokens: Uint32Array.of(1), logits: 0 },
      ],
    ],
    [
      "sequence 3 holds 0 tokens, but its row begins at position 1",
      [{ sequence: 3, position: 1, tokens: Uint32Array.of(1), logits: 0 }],
    ],
    [
      "token 512 is not in the vocabulary of 512",
      [{ sequence: 3, position: 0, tokens: Uint32Array.of(512), logits: 0 }],
    ],
  ])("refuses a batch: %s", async (message, rows) => {
    await emptied(3);
    await expect(engine.decode(rows)).rejects.toThrow(message);
  });

  it("refuses what would read or write the wrong cells", async () => {
    await emptied(0, 1);
    await append(engine, 0, 0, prompt);
    await expect(engine.truncate(0, 1000)).rejects.toThrow(`sequence 0 holds ${prompt.length} tokens, not 1000`);
    await expect(engine.copyPrefix(0, 0, 1)).rejects.toThrow("sequence 0 can't be copied to itself");
    await expect(engine.copyPrefix(1, 0, 1)).rejects.toThrow("sequence 1 holds 0 tokens, not 1");
  });

  it("refuses the logits of an earlier decode, and a second decode beside the first", async () => {
    await emptied(0);
    const stale = await append(engine, 0, 0, prompt);
    const running = append(engine, 0, prompt.length, Uint32Array.of(1));
    await expect(append(engine, 1, 0, prompt)).rejects.toThrow("decode is not reentrant");
    await running;
    const sampler = engine.createSampler(greedy, prompt);
    await expect(engine.sample(stale, sampler)).rejects.toThrow("the logits are of an earlier decode");
    sampler.dispose();
  });

  it("lets a sampler be disposed of while it draws", async () => {
    await emptied(0);
    const logits = await append(engine, 0, 0, prompt);
    const sampler = engine.createSampler(greedy, prompt);
    const draw = engine.sample(logits, sampler);
    sampler.dispose();
    expect(await draw).toBeGreaterThanOrEqual(0);
    await expect(engine.sample(logits, sampler)).rejects.toThrow("the sampler is disposed");
  });
});

describe("loading", () => {
  it("measures the threads where none are given", async () => {
    const path = inFolder("measured.gguf");
    writeScriptedModel(path, { reply: ["x"] });
    const engine = await openEngine(path, { threads: undefined, contextLength: undefined, sequences: 1 });
    expect(engine.info.threads).toBeGreaterThanOrEqual(1);
    expect(engine.contextLength).toBe(4096);
    expect(await generate(engine, Uint32Array.of(1), 2)).toHaveLength(1);
  });

  it("says why llama.cpp refuses a file, without its path", async () => {
    const path = inFolder("narrow.gguf");
    writeRandomModel(path, tinyShape, { "llama.rope.dimension_count": { type: 4, bytes: Buffer.of(7, 0, 0, 0) } });
    await expect(openLlamaEngine({ path, sequences: 1, contextLength: 256 })).rejects.toMatchObject({
      kind: "model_unavailable",
      message: expect.stringMatching(/^the model file can't be loaded: .*invalid n_rot: 7, expected 32/),
    });
  });

  it.each([
    ["sequences 257 is not from 1 to 256", { sequences: 257 }],
    ["sequences 0 is not from 1 to 256", { sequences: 0 }],
    ["contextLength 0 is not from 1 to 2147483647", { contextLength: 0 }],
    ["batchSize 1.5 is not from 1 to 65536", { batchSize: 1.5 }],
    ["threads 0 is not from 1 to 512", { threads: 0 }],
    ["contextLength 2147483647 is too much for 4 sequences", { contextLength: 2 ** 31 - 1, sequences: 4 }],
  ])("refuses a shape: %s", async (message, shape) => {
    const path = inFolder("shape.gguf");
    writeScriptedModel(path, { reply: ["x"] });
    await expect(openLlamaEngine({ path, sequences: 1, contextLength: 256, ...shape })).rejects.toMatchObject({
      kind: "model_unavailable",
      message,
    });
  });
});

describe("disposing", () => {
  it("frees everything, twice is once, and then refuses all calls", async () => {
    const path = inFolder("disposed.gguf");
    writeRandomModel(path, tinyShape);
    const engine = await openLlamaEngine({ path, sequences: 2, contextLength: 256, threads: 1 });
    const prompt = engine.tokenize("hello", false);
    const sampler = engine.createSampler(greedy, prompt);
    const logits = await append(engine, 0, 0, prompt);
    const draw = engine.sample(logits, sampler);
    const disposals = [engine[Symbol.asyncDispose](), engine[Symbol.asyncDispose]()];
    expect(await draw).toBeGreaterThanOrEqual(0);
    await Promise.all(disposals);
    await engine[Symbol.asyncDispose]();
    sampler.dispose();

    const disposed = "the engine is disposed";
    await expect(append(engine, 0, prompt.length, prompt)).rejects.toThrow(disposed);
    await expect(engine.sample(logits, sampler)).rejects.toThrow(disposed);
    await expect(engine.truncate(0, 0)).rejects.toThrow(disposed);
    await expect(engine.copyPrefix(0, 1, 1)).rejects.toThrow(disposed);
    expect(() => engine.tokenize("x", false)).toThrow(disposed);
    expect(() => engine.createSampler(greedy, prompt)).toThrow(disposed);
    expect(() => engine.createTextDecoder().push(1)).toThrow(disposed);
    expect(() => engine.isEndOfGeneration(1)).toThrow(disposed);
  });

  it("waits for a decode that is running", async () => {
    const path = inFolder("busy.gguf");
    writeRandomModel(path, tinyShape);
    const engine = await openLlamaEngine({ path, sequences: 1, contextLength: 512, threads: 1 });
    const decode = engine.decode([{ sequence: 0, position: 0, tokens: new Uint32Array(400), logits: 0 }]);
    await engine[Symbol.asyncDispose]();
    expect(await decode).toEqual([[]]);
  });
});
