import { describe, expect, it } from "vitest";
import type { LlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import { longestRun } from "../../../src/engines/llama/long-runs.ts";
import { str } from "../../support/gguf.ts";
import { tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { modelFolder, openEngine } from "./generate.ts";

const inFolder = modelFolder();

async function open(pre: string | undefined): Promise<LlamaEngine> {
  const path = inFolder(`${pre}.gguf`);
  writeRandomModel(path, tinyShape, { "tokenizer.ggml.pre": pre === undefined ? undefined : str(pre) });
  return openEngine(path);
}

const runs: [name: string, of: string, kind: string][] = [
  ["a letter", "a", "letters"],
  ["letters of two alphabets", "aж", "letters"],
  ["spaces", " ", "white space characters"],
  ["line breaks", "\n", "white space characters"],
  ["signs", "!-", "signs"],
  ["signs, some beyond ASCII", "!…", "signs"],
  ["emoji", "😀", "letters"],
  ["digits", "7", "digits"],
];

// llama.cpp ends this process where a bound is too high for it.
describe.each(["gpt-4o", "tekken", "deepseek-v3", "deepseek-llm", "falcon", "bloom", "seed-coder", undefined])(
  "the pre-tokenizer %s",
  (pre) => {
    it("takes runs of some length, and refuses longer ones", async () => {
      const engine = await open(pre);
      for (const [name, of, kind] of runs) {
        const run = of.repeat(longestRun / of.length);
        expect(engine.tokenize(run, false).length, name).toBeGreaterThan(0);
        const longer = `two words ${run}${of} and more`;
        const refusal = `${longer.length - 19} ${kind} in a row, this model's tokenizer takes ${longestRun}`;
        // White space beside a run of it belongs to it.
        if (of.trim() !== "") expect(engine.refusal(longer), name).toBe(refusal);
        expect(() => engine.tokenize(longer, false), name).toThrow(/^a text can't be tokenized: \d+ /);
      }
    });

    it("takes long texts without runs", async () => {
      const engine = await open(pre);
      const words = "It was 10 o'clock, and the café — 😀 — closed.\n".repeat(4_000);
      expect(engine.refusal(words)).toBeUndefined();
      expect(engine.tokenize(words, false).length).toBeGreaterThan(10_000);
    });
  },
);

it("expressions of anything but white space end at white space only", async () => {
  const engine = await open("bloom");
  expect(engine.refusal("a1".repeat(longestRun))).toBe(
    `${2 * longestRun} characters without a space in a row, this model's tokenizer takes ${longestRun}`,
  );
});

it.each(["qwen2", "llama-bpe", "gpt-2", "smollm"])("the pre-tokenizer %s takes any run", async (pre) => {
  const engine = await open(pre);
  for (const [, of] of runs) {
    const run = of.repeat(100_000);
    expect(engine.refusal(run)).toBeUndefined();
    expect(engine.tokenize(run, false).length).toBeGreaterThan(0);
  }
});
