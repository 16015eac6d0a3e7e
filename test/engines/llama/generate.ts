import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { type LlamaEngine, type LlamaOptions, openLlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import type { LogitsHandle, Sampling } from "../../../src/engines/token-engine.ts";
import { greedy } from "../../support/sampling.ts";

/** A folder for a test file's models. It goes with the file. */
export function modelFolder(): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), "loqui-llama-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  return (name) => join(folder, name);
}

/** Opens a model with small defaults and one thread; it is disposed of at the end of the test file. */
export async function openEngine(path: string, options: Partial<LlamaOptions> = {}): Promise<LlamaEngine> {
  const engine = await openLlamaEngine({ path, sequences: 4, contextLength: 512, threads: 1, ...options });
  afterAll(() => engine[Symbol.asyncDispose]());
  return engine;
}

/** Appends tokens to a sequence and returns the logits of the last. */
export async function append(
  engine: LlamaEngine,
  sequence: number,
  position: number,
  tokens: Uint32Array,
): Promise<LogitsHandle> {
  const [[logits] = []] = await engine.decode([{ sequence, position, tokens, logits: 1 }]);
  if (logits === undefined) throw new Error("no logits");
  return logits;
}

/** Generates on a sequence that holds `position` tokens already, and leaves the generated ones in it, but for the last. */
export async function continueFrom(
  engine: LlamaEngine,
  sequence: number,
  position: number,
  prompt: Uint32Array,
  count: number,
  sampling: Sampling = greedy,
): Promise<number[]> {
  const sampler = engine.createSampler(sampling, prompt);
  try {
    const tokens: number[] = [];
    let logits = await append(engine, sequence, position, prompt);
    for (;;) {
      const token = await engine.sample(logits, sampler);
      if (engine.isEndOfGeneration(token)) return tokens;
      tokens.push(token);
      if (tokens.length === count) return tokens;
      logits = await append(engine, sequence, position + prompt.length + tokens.length - 1, Uint32Array.of(token));
    }
  } finally {
    sampler.dispose();
  }
}

/** Generates on an emptied sequence 0. */
export async function generate(
  engine: LlamaEngine,
  prompt: Uint32Array,
  count: number,
  sampling: Sampling = greedy,
): Promise<number[]> {
  await engine.truncate(0, 0);
  return continueFrom(engine, 0, 0, prompt, count, sampling);
}

/** The text of tokens, decoded one by one. */
export function textOf(engine: LlamaEngine, tokens: Iterable<number>, special = false): string {
  const decoder = engine.createTextDecoder(special);
  return Array.from(tokens, (token) => decoder.push(token)).join("") + decoder.flush();
}
