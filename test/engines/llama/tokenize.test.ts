import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LlamaModel, loadLlama } from "../../../src/engines/llama/addon.ts";
import { openLlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import { createTokenizer } from "../../../src/engines/llama/tokenize.ts";
import { writeScriptedModel } from "../../support/scripted-model.ts";

const controls = ["<|a|>", "[X]", "<<", "<<<", "b<<", "(.*)", "aa"];
const folder = mkdtempSync(join(tmpdir(), "loqui-tokenize-"));
const files = { "byte-bpe": join(folder, "bpe.gguf"), sentencepiece: join(folder, "spm.gguf") };

let models: Record<keyof typeof files, LlamaModel>;
let size: number;
beforeAll(async () => {
  const llama = await loadLlama(undefined);
  const open = async (tokenizer: keyof typeof files) => {
    writeScriptedModel(files[tokenizer], { reply: ["Hi"], tokenizer, controls });
    return llama.openModel(files[tokenizer], 0);
  };
  models = { "byte-bpe": await open("byte-bpe"), sentencepiece: await open("sentencepiece") };
  await using engine = await openLlamaEngine({ path: files["byte-bpe"], sequences: 1, contextLength: 64, threads: 1 });
  size = engine.info.vocabularySize;
});
afterAll(async () => {
  for (const model of Object.values(models)) await model.dispose();
  rmSync(folder, { recursive: true });
});

describe.each(["byte-bpe", "sentencepiece"] as const)("%s: pieces give the tokens of the whole", (tokenizer) => {
  const words = [...controls, "<|im_end|>", " ", "  ", "\n", "a", "b", "<", "|", "x y", "漢", "👋🏽", "é"];
  /** Mulberry32. */
  const random = (seed: number) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };

  test.each([true, false])("special tokens parsed: %s", (special) => {
    const model = models[tokenizer];
    const next = random(7);
    let parted = 0;
    for (let round = 0; round < 400; round++) {
      const count = Math.floor(next() * 60);
      const text = Array.from({ length: count }, () => words[Math.floor(next() * words.length)]).join("");
      const asked: string[] = [];
      const watched = {
        ...model,
        tokenize(piece: string, flag: boolean) {
          asked.push(piece);
          return model.tokenize(piece, flag);
        },
      };
      const tokens = createTokenizer(watched, size, 8)(text, special);
      expect([...tokens], text).toEqual([...model.tokenize(text, special)]);
      expect(asked.join("")).toBe(text);
      if (asked.length > 1) parted += 1;
    }
    // Without control tokens there is nowhere to part these texts.
    expect(parted > 100).toBe(special);
  });

  test("a long run of special tokens goes in short pieces", () => {
    const model = models[tokenizer];
    const lengths: number[] = [];
    const watched = {
      ...model,
      tokenize(piece: string, flag: boolean) {
        lengths.push(piece.length);
        return model.tokenize(piece, flag);
      },
    };
    const tokens = createTokenizer(watched, size)("[X]".repeat(10_000), true);
    expect(tokens.length).toBe(10_000);
    expect(Math.max(...lengths)).toBeLessThan(5_000);
  });
});
