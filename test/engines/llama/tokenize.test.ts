import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LlamaModel, loadLlama } from "../../../src/engines/llama/addon.ts";
import { openLlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import { createTokenizer, textsAcrossWords } from "../../../src/engines/llama/tokenize.ts";
import { str } from "../../support/gguf.ts";
import { tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { writeScriptedModel } from "../../support/scripted-model.ts";

const controls = ["<|a|>", "[X]", "<<", "<<<", "b<<", "(.*)", "aa"];
const folder = mkdtempSync(join(tmpdir(), "loqui-tokenize-"));
const files = { "byte-bpe": join(folder, "bpe.gguf"), sentencepiece: join(folder, "spm.gguf") };

const tokensOf = (pieces: Iterable<Uint32Array>) => Uint32Array.from([...pieces].flatMap((piece) => [...piece]));

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

/** Mulberry32. */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};

describe.each(["byte-bpe", "sentencepiece"] as const)("%s: pieces give the tokens of the whole", (tokenizer) => {
  const words = [...controls, "<|im_end|>", " ", "  ", "\n", "a", "b", "<", "|", "x y", "漢", "👋🏽", "é"];
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
      const tokens = tokensOf(createTokenizer(watched, { vocabularySize: size, pieceLength: 8 })(text, special));
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
    const tokens = tokensOf(createTokenizer(watched, { vocabularySize: size })("[X]".repeat(10_000), true));
    expect(tokens.length).toBe(10_000);
    expect(Math.max(...lengths)).toBeLessThan(5_000);
  });
});

/** Those that llama.cpp knows of BPE (llama-vocab.cpp), one of each kind. */
const preTokenizers = [
  ..."default llama-bpe deepseek-llm deepseek-coder deepseek-v3 falcon mpt starcoder gpt-2 jais command-r qwen2 qwen35".split(
    " ",
  ),
  ..."stablelm2 olmo dbrx smaug-bpe poro-chat chatglm-bpe viking tekken smollm codeshell bloom gpt3-finnish exaone".split(
    " ",
  ),
  ..."exaone-moe chameleon minerva-7b megrez gpt-4o superbpe trillion bailingmoe llama4 pixtral seed-coder a.x-4.0".split(
    " ",
  ),
  ..."mellum modern-bert granite-docling kimi-k2 hunyuan-dense grok-2 afmoe minimax-m2 youtu tiny_aya laguna".split(
    " ",
  ),
];
const samples = [
  ..."the quick Brown fox I'm we'll don't x 1 12 12345 3.14 . , ... ' 's \" 漢 漢字 é 👋🏽 Привет мир _ -- // {} iPhone HTTP".split(
    " ",
  ),
  ...["n\u0308", "\u00a0", "\u3000", "\n", "\n\n", "\r\n", "\t", " ", "  ", "   ", "<|im_end|>", "of the", "a b c"],
];

describe.each(preTokenizers)("words, %s", (pre) => {
  const path = join(folder, `${pre}.gguf`);
  const joined = [
    "quick",
    " the",
    " fox",
    "\n\n",
    "  ",
    " a",
    "I'm",
    "'s",
    " 12",
    "...",
    " HTTP",
    ".\n",
    " é",
    " мир",
    "fox",
  ];

  test.each([joined, [...joined, "x the"]])("pieces of words have the tokens of the whole", async (...words) => {
    writeRandomModel(path, { ...tinyShape, layers: 1, words }, { "tokenizer.ggml.pre": str(pre) });
    const llama = await loadLlama(undefined);
    const model = await llama.openModel(path, 0);
    try {
      const texts = Array.from({ length: tinyShape.vocab }, (_, token) => model.tokenText(token));
      const options = { vocabularySize: tinyShape.vocab, acrossWords: textsAcrossWords(texts) };
      const tokenizer = createTokenizer(model, { ...options, pieceLength: 3 });
      const next = random(11);
      let pieces = 0;
      for (let round = 0; round < 150; round++) {
        const parts = Array.from(
          { length: Math.floor(next() * 40) },
          () => samples[Math.floor(next() * samples.length)],
        );
        const text = parts.map((part) => `${part}${next() < 0.8 ? " " : ""}`).join("");
        const made = [...tokenizer(text, false)];
        pieces += made.length;
        expect([...tokensOf(made)], JSON.stringify(text)).toEqual([...model.tokenize(text, false)]);
      }
      // A token that holds a letter and the space behind it may stand across.
      if (words.includes("x the")) expect(pieces).toBe(150);
      else expect(pieces).toBeGreaterThan(400);
    } finally {
      await model.dispose();
    }
  });
});
