import { beforeAll, describe, expect, it } from "vitest";
import type { LlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import { writeRecurrentModel, writeWindowModel } from "../../support/gguf-memory-models.ts";
import { continueFrom, generate, modelFolder, openEngine } from "./generate.ts";

const inFolder = modelFolder();
const prompt = Uint32Array.from({ length: 900 }, (_, i) => (i * 31) % 251);

/** Fills an empty sequence with the prompt's first tokens. */
async function prefill(engine: LlamaEngine, sequence: number, length: number): Promise<void> {
  for (let position = 0; position < length; position += 64) {
    const tokens = prompt.subarray(position, Math.min(position + 64, length));
    await engine.decode([{ sequence, position, tokens, logits: 0 }]);
  }
}

/** What the model says after the prompt's first tokens. */
async function fresh(engine: LlamaEngine, length: number): Promise<number[]> {
  await engine.truncate(0, 0);
  await prefill(engine, 0, length - 1);
  const reply = await continueFrom(engine, 0, length - 1, prompt.subarray(length - 1, length), 8);
  await engine.truncate(0, 0);
  return reply;
}

describe("a sliding window", () => {
  let engine: LlamaEngine;

  beforeAll(async () => {
    const path = inFolder("window.gguf");
    writeWindowModel(path, 64);
    engine = await openEngine(path, { contextLength: 1024, batchSize: 64, sequences: 2 });
  });

  it("lets a sequence be truncated while the window still reaches back", async () => {
    const expected = await fresh(engine, 880);
    await prefill(engine, 0, 900);
    expect(await engine.truncate(0, 879)).toBe(true);
    expect(await continueFrom(engine, 0, 879, prompt.subarray(879, 880), 8)).toEqual(expected);
  });

  it("empties the sequence where it doesn't", async () => {
    const expected = await fresh(engine, 100);
    await prefill(engine, 0, 900);
    expect(await engine.truncate(0, 99)).toBe(false);
    // From position 0 on, as after truncate(0, 0).
    await prefill(engine, 0, 99);
    expect(await continueFrom(engine, 0, 99, prompt.subarray(99, 100), 8)).toEqual(expected);
  });

  it("copies what the window reaches, and says where it doesn't", async () => {
    const expected = await fresh(engine, 890);
    await prefill(engine, 0, 900);
    expect(await engine.copyPrefix(0, 1, 100)).toBe(false);
    expect(await engine.copyPrefix(0, 1, 889)).toBe(true);
    expect(await continueFrom(engine, 1, 889, prompt.subarray(889, 890), 8)).toEqual(expected);
  });
});

describe("a recurrent state", () => {
  let engine: LlamaEngine;

  beforeAll(async () => {
    const path = inFolder("recurrent.gguf");
    writeRecurrentModel(path);
    engine = await openEngine(path, { contextLength: 1024, batchSize: 64, sequences: 2 });
  });

  it("can't be truncated, but emptied", async () => {
    const expected = await generate(engine, prompt.subarray(0, 20), 8);
    expect(await engine.truncate(0, 10)).toBe(false);
    expect(await continueFrom(engine, 0, 0, prompt.subarray(0, 20), 8)).toEqual(expected);
  });

  it("is copied whole or not at all", async () => {
    const expected = await fresh(engine, 50);
    await prefill(engine, 0, 49);
    expect(await engine.truncate(0, 49)).toBe(true);
    expect(await engine.copyPrefix(0, 1, 49)).toBe(true);
    expect(await continueFrom(engine, 1, 49, prompt.subarray(49, 50), 8)).toEqual(expected);
    expect(await engine.copyPrefix(0, 1, 30)).toBe(false);
    expect(await continueFrom(engine, 0, 49, prompt.subarray(49, 50), 8)).toEqual(expected);
  });
});
