import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LlamaTextOptions, openLlamaTextEngine } from "../../../src/engines/llama/llama-text-engine.ts";
import type { TextEngine } from "../../../src/engines/text-engine.ts";
import { cosine } from "../../support/cosine.ts";
import { bool, i32s, str, strs, u32 } from "../../support/gguf.ts";
import { writeGemmaEmbedding, writeQwenReranker } from "../../support/gguf-decoder.ts";
import { type EncoderChanges, f32Tensor, writeEncoder } from "../../support/gguf-encoder.ts";
import { onnxFixtures } from "../../support/onnx-models.ts";
import { modelFolder } from "./generate.ts";

const inFolder = modelFolder();
const texts = JSON.parse(readFileSync(join(onnxFixtures, "texts.json"), "utf8")) as string[];

async function open(path: string, options: Partial<LlamaTextOptions> = {}): Promise<TextEngine> {
  const engine = await openLlamaTextEngine({ path, sequences: 4, contextLength: 40, threads: 2, ...options });
  afterAll(() => engine[Symbol.asyncDispose]());
  return engine;
}

/** What sentence-transformers makes of the same weights (test/engines/onnx/reference/make.py). */
function referenceOf(name: string, layout: string) {
  const reference = JSON.parse(readFileSync(join(onnxFixtures, name, "reference.json"), "utf8"));
  const { step, width, vectors } = reference.layouts[layout];
  const bytes = Buffer.from(vectors, "base64");
  const ids = (reference.ids as number[][]).map((row) => Uint32Array.from(row));
  return {
    ids,
    rows: ids.flatMap((row, index) => (index % step === 0 ? [{ row, text: texts[index] ?? "" }] : [])),
    width: width as number,
    vectors: Float32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at)),
  };
}

beforeAll(() => {
  writeGemmaEmbedding(inFolder("gemma3.gguf"));
  for (const name of ["bert", "nomic-bert", "xlm-roberta"] as const) writeEncoder(inFolder(`${name}.gguf`), name);
  writeEncoder(inFolder("unsaid.gguf"), "bert", { metadata: { "bert.pooling_type": undefined } });
  writeEncoder(inFolder("none.gguf"), "bert", { metadata: { "bert.pooling_type": u32(0) } });
  writeEncoder(inFolder("cls.gguf"), "bert", { metadata: { "bert.pooling_type": u32(2) } });
});

describe("the vectors of sentence-transformers", () => {
  it.each<[string, string, string, string | undefined]>([
    ["bert", "bert", "mean", undefined],
    ["bert", "bert", "cls", "cls"],
    ["bert", "bert", "lasttoken", "lasttoken"],
    ["bert whose file says cls", "cls", "cls", undefined],
    ["bert whose file says cls, asked for another", "cls", "mean", "mean"],
    ["bert whose file says nothing", "unsaid", "mean", undefined],
    ["bert whose file says that nothing pools", "none", "mean", undefined],
    ["xlm-roberta", "xlm-roberta", "mean", undefined],
    // Rotary positions, a gated feed-forward.
    ["nomic-bert", "nomic-bert", "mean", undefined],
    // Windows to both sides, two Dense modules after the pooling.
    ["gemma-embedding", "gemma3", "mean", undefined],
  ])("%s", async (_, file, layout, pooling) => {
    const { rows, width, vectors } = referenceOf(/^(?:xlm|nomic|gemma)/.test(file) ? file : "bert", layout);
    const engine = await open(inFolder(`${file}.gguf`), { pooling: pooling === undefined ? undefined : [pooling] });
    expect(engine.width).toBe(width);
    const made = await engine.embed(rows.map(({ row }) => row));
    for (const [at, { text }] of rows.entries()) {
      // transformers gives padding in a text no position of its own, llama.cpp does.
      if (file === "xlm-roberta" && text.includes("<pad>")) continue;
      // ggml looks GELU up in a table of 16-bit floats.
      expect(cosine(made, vectors, at * width, width), text).toBeGreaterThan(file === "gemma3" ? 0.9999 : 0.99999);
    }
  });
});

describe("batches", () => {
  it.each([
    ["of any size", 512],
    ["that must be parted", 41],
  ])("%s give each text the vector that it has alone", async (_, batchSize) => {
    const { ids, width } = referenceOf("bert", "mean");
    const engine = await open(inFolder("bert.gguf"), { batchSize });
    const together = await engine.embed(ids);
    for (const [at, row] of ids.entries()) {
      const alone = await engine.embed([row]);
      for (let k = 0; k < width; k++) expect(alone[k]).toBeCloseTo(together[at * width + k] ?? Number.NaN, 5);
    }
  });

  it("are the same with one thread and with several", async () => {
    const { ids } = referenceOf("bert", "mean");
    const [one, four] = await Promise.all([1, 4].map((threads) => open(inFolder("bert.gguf"), { threads })));
    const [a = new Float32Array(), b = new Float32Array()] = [await one?.embed(ids), await four?.embed(ids)];
    expect(a.length).toBe(ids.length * 16);
    for (const [at, value] of a.entries()) expect(b[at]).toBeCloseTo(value, 5);
  });
});

describe("a decoder's rows of unequal length", () => {
  const rows = [3, 17, 1, 9, 30, 9].map((length, at) => Uint32Array.from({ length }, (_, k) => 300 + 7 * at + k));

  it.each(["lasttoken", "mean", "cls"])("have the vectors that they have alone: %s", async (pooling) => {
    writeQwenReranker(inFolder("qwen3.gguf"), { "qwen3.pooling_type": u32(3) });
    const engine = await open(inFolder("qwen3.gguf"), { pooling: [pooling] });
    const together = await engine.embed(rows);
    for (const [at, row] of rows.entries()) {
      const alone = await engine.embed([row]);
      expect(cosine(together.subarray(at * 16, (at + 1) * 16), alone, 0, 16)).toBeGreaterThan(0.9999);
    }
  });

  it("have them also where tokens attend to those after them", async () => {
    writeQwenReranker(inFolder("both.gguf"), { "qwen3.pooling_type": u32(3), "qwen3.attention.causal": bool(false) });
    const engine = await open(inFolder("both.gguf"));
    const together = await engine.embed(rows);
    for (const [at, row] of rows.entries()) {
      const alone = await engine.embed([row]);
      expect(cosine(together.subarray(at * 16, (at + 1) * 16), alone, 0, 16)).toBeGreaterThan(0.9999);
    }
    const [first, later] = [await engine.embed([Uint32Array.of(5, 6, 7)]), await engine.embed([Uint32Array.of(5, 6)])];
    expect(cosine(first, later, 0, 16)).toBeLessThan(0.9999);
  });

  it("depend on all tokens before, and on the pooling", async () => {
    const vectors = await Promise.all(
      ["lasttoken", "mean", "cls"].map(async (pooling) => {
        const engine = await open(inFolder("qwen3.gguf"), { pooling: [pooling] });
        return [await engine.embed([Uint32Array.of(5, 6, 7)]), await engine.embed([Uint32Array.of(9, 6, 7)])] as const;
      }),
    );
    const all = vectors.flat();
    for (const [at, vector] of all.entries()) {
      for (const other of all.slice(at + 1)) expect(cosine(vector, other, 0, 16)).toBeLessThan(0.9999);
    }
  });
});

describe("tokens", () => {
  it("are the reference's where llama.cpp splits as the tokenizer does: WordPiece", async () => {
    const engine = await open(inFolder("bert.gguf"));
    const { ids } = referenceOf("bert", "mean");
    for (const [at, text] of texts.entries()) {
      // llama.cpp takes no Hangul and no combined Devanagari apart, and makes long words no unknown ones.
      if (/[\uac00-\ud7a3\u0900-\u097f]|\S{101}/u.test(text)) continue;
      expect([...engine.tokenize(text, "end")], text).toEqual([...(ids[at] ?? [])]);
    }
  });

  it("are the reference's where llama.cpp splits as the tokenizer does: SentencePiece", async () => {
    const engine = await open(inFolder("gemma3.gguf"));
    const { ids } = referenceOf("gemma3", "mean");
    for (const [at, text] of texts.entries()) {
      // llama.cpp takes runs of spaces out of a text first, the tokenizer joins the first with what is before it.
      if (/\S {2}/.test(text)) continue;
      expect([...engine.tokenize(text, "end")], text).toEqual([...(ids[at] ?? [])]);
    }
  });

  it("are cut between those that stand around every text", async () => {
    const engine = await open(inFolder("bert.gguf"), { contextLength: 5 });
    const whole = engine.tokenize("one two three four five six", "none");
    expect(whole.length).toBeGreaterThan(8);
    expect([whole.at(0), whole.at(-1)]).toEqual([2, 3]);
    expect([...engine.tokenize("one two three four five six", "end")]).toEqual([2, ...whole.subarray(1, 4), 3]);
    expect([...engine.tokenize("one two three four five six", "start")]).toEqual([2, ...whole.subarray(-4)]);
    expect([...engine.tokenize("", "none")]).toEqual([2, 3]);
  });

  it("of a text with control tokens' names are those", async () => {
    const engine = await open(inFolder("bert.gguf"));
    expect([...engine.tokenize("[SEP][MASK]", "none")]).toEqual([2, 3, 4, 3]);
  });
});

describe("files that would end the process", () => {
  const few = Array.from({ length: 50 }, (_, at) => `▁${at}`);
  it.each<[string, EncoderChanges, string]>([
    [
      "another width of keys than of values",
      { metadata: { "bert.attention.key_length": u32(8) } },
      "bert.attention.key_length 8 is not bert.attention.value_length 4",
    ],
    [
      "wider vectors than there are",
      { metadata: { "bert.embedding_length_out": u32(1000) } },
      "bert.embedding_length_out 1000 is not bert.embedding_length 16",
    ],
    [
      "an unknown way to pool",
      { metadata: { "bert.pooling_type": u32(7) } },
      "bert.pooling_type 7 is none of 0, 1, 2, 3, 4",
    ],
    [
      "bytes among the words",
      { metadata: { "tokenizer.ggml.token_type": i32s(new Array(420).fill(6)) } },
      "its vocabulary of words holds bytes",
    ],
    [
      "a vocabulary without the tokens around a text",
      {
        metadata: {
          "tokenizer.ggml.tokens": strs(few),
          "tokenizer.ggml.token_type": i32s(few.map(() => 1)),
          "tokenizer.ggml.bos_token_id": u32(50),
        },
        tensors: [f32Tensor("token_embd.weight", [16, 50], new Float32Array(800))],
      },
      "its vocabulary of 50 tokens names no bos_token_id",
    ],
    [
      "types of tokens in 16-bit floats",
      { tensors: [{ name: "token_types.weight", type: "f16", shape: [16, 2], data: new Uint8Array(64) }] },
      "tensor token_types.weight has type 1, but it is added to 32-bit floats",
    ],
  ])("%s", async (_, changes, message) => {
    writeEncoder(inFolder("bad.gguf"), "bert", changes);
    const opened = openLlamaTextEngine({ path: inFolder("bad.gguf"), sequences: 4, contextLength: 40 });
    const wanted = `the model file can't be used: ${message}`;
    await expect(opened).rejects.toMatchObject({ kind: "model_unavailable", message: wanted });
  });

  it.each(["mamba", "t5", "clip", "nonsense"])("an architecture that pools nothing: %s", async (architecture) => {
    writeEncoder(inFolder("bad.gguf"), "bert", { metadata: { "general.architecture": str(architecture) } });
    await expect(openLlamaTextEngine({ path: inFolder("bad.gguf"), sequences: 4 })).rejects.toMatchObject({
      kind: "model_unavailable",
      message: `no vectors are made with the architecture ${architecture} on llama.cpp`,
    });
  });
});

describe("what is refused", () => {
  it.each<[string, Partial<LlamaTextOptions>, string]>([
    [
      "a pooling that llama.cpp lacks",
      { pooling: ["max"] },
      "pooling max is none of mean, cls, lasttoken, which llama.cpp has",
    ],
    [
      "poolings to be joined",
      { pooling: ["cls", "mean"] },
      "pooling cls and mean is none of mean, cls, lasttoken, which llama.cpp has",
    ],
    ["more tokens than the model has positions", { contextLength: 45 }, "n_ctx 45 is above the model's maximum 44"],
    ["no threads", { threads: 0 }, "threads 0 is not from 1 to 512"],
    ["a batch beyond bounds", { batchSize: 70_000 }, "batchSize 70000 is not from 1 to 65536"],
  ])("%s", async (_, options, message) => {
    const opened = openLlamaTextEngine({ path: inFolder("bert.gguf"), sequences: 4, ...options });
    await expect(opened).rejects.toMatchObject({ kind: "model_unavailable", message });
  });

  it("rows that would reach beyond native arrays, without ending the process", async () => {
    const engine = await open(inFolder("bert.gguf"));
    await expect(engine.embed([Uint32Array.of(420)])).rejects.toThrow("token 420 is not in the vocabulary of 420");
    await expect(engine.embed([new Uint32Array(41)])).rejects.toThrow("a row has 1 to 40 tokens, not 41");
    await expect(engine.embed([new Uint32Array(0)])).rejects.toThrow("a row has 1 to 40 tokens, not 0");
    expect(await engine.embed([Uint32Array.of(2, 3)])).toHaveLength(16);
  });

  it("work after the end", async () => {
    const engine = await openLlamaTextEngine({ path: inFolder("bert.gguf"), sequences: 1 });
    const last = engine.embed([Uint32Array.of(2, 3)]);
    await engine[Symbol.asyncDispose]();
    expect(await last).toHaveLength(16);
    await expect(engine.embed([Uint32Array.of(2, 3)])).rejects.toThrow("the engine is disposed");
  });
});
