import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, it } from "vitest";
import type { LlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import type { Sampling } from "../../../src/engines/token-engine.ts";
import { tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { greedy } from "../../support/sampling.ts";
import { append, generate, modelFolder, openEngine } from "./generate.ts";

const inFolder = modelFolder();
const path = inFolder("random.gguf");
const prompts = ["hello world", "<|im_start|>user\nthe quick brown fox<|im_end|>\n<|im_start|>assistant\n", "x"];
let engine: LlamaEngine;

beforeAll(async () => {
  writeRandomModel(path, { ...tinyShape, layers: 4, seed: 5 });
  engine = await openEngine(path, { sequences: 2 });
});

/** What node-llama-cpp's public API generates. */
async function evaluate(count: number, options: object): Promise<number[][]> {
  const script = join(import.meta.dirname, "public-evaluate.ts");
  const args = [script, path, String(count), JSON.stringify(options), ...prompts];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout);
}

it("generates token for token what node-llama-cpp's public API does", async () => {
  const replies: number[][] = [];
  for (const prompt of prompts) replies.push(await generate(engine, engine.tokenize(prompt, true), 24));
  expect(replies).toEqual(await evaluate(24, { temperature: 0 }));
});

it("penalises repetitions as llama.cpp's own DRY sampler does, which doesn't see the prompt", async () => {
  const dry = { multiplier: 0.8, base: 1.75, allowedLength: 1, window: 200, breakers: ["q", "\n"] };
  const sampling: Sampling = { ...greedy, dry };
  const replies: number[][] = [];
  for (const text of prompts) {
    const prompt = engine.tokenize(text, true);
    const sampler = engine.createSampler(sampling, new Uint32Array());
    await engine.truncate(0, 0);
    const reply: number[] = [];
    let logits = await append(engine, 0, 0, prompt);
    while (reply.length < 200) {
      const token = await engine.sample(logits, sampler);
      if (engine.isEndOfGeneration(token)) break;
      logits = await append(engine, 0, prompt.length + reply.length, Uint32Array.of(token));
      reply.push(token);
    }
    sampler.dispose();
    replies.push(reply);
  }
  const { multiplier: strength, base, allowedLength, window: lastTokens, breakers: sequenceBreakers } = dry;
  const dryRepeatPenalty = { strength, base, allowedLength, lastTokens, sequenceBreakers };
  expect(replies).toEqual(await evaluate(200, { temperature: 0, dryRepeatPenalty }));
  expect(replies).not.toEqual(await evaluate(200, { temperature: 0 }));
});
