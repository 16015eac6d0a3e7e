import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { checkGguf } from "../../../src/engines/llama/gguf-check.ts";
import { openLlamaEngine } from "../../../src/engines/llama/llama-engine.ts";
import { readGgufHeader } from "../../../src/gguf/gguf-header.ts";
import { bool, f32, type GgufValue, i32s, str, strs, u32, writeGguf } from "../../support/gguf.ts";
import { tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { writeScriptedModel } from "../../support/scripted-model.ts";
import { modelFolder } from "./generate.ts";

const inFolder = modelFolder();
const tiny = inFolder("tiny.gguf");
writeRandomModel(tiny, tinyShape);

/** What is wrong with a file, as the engine says it. The process must survive the answer. */
async function complaint(path: string): Promise<string> {
  try {
    const engine = await openLlamaEngine({ path, sequences: 1, contextLength: 256, threads: 1 });
    await engine[Symbol.asyncDispose]();
    return "none";
  } catch (error) {
    expect(error).toMatchObject({ name: "LoquiError", kind: "model_unavailable" });
    return (error as Error).message.replace("the model file can't be used: ", "");
  }
}

describe("header", () => {
  it("has the metadata, the tensors and their sizes", async () => {
    const header = readGgufHeader(tiny);
    checkGguf(header);
    expect(header.version).toBe(3);
    expect(header.parameters).toBe(426_624);
    expect(header.tensorBytes).toBe(854_528);
    expect(header.tensors.size).toBe(21);
    expect(header.tensors.get("blk.0.attn_k.weight")).toEqual({ shape: [128, 64], type: 1 });
    expect(header.metadata.get("general.architecture")).toBe("llama");
    expect(header.metadata.get("llama.rope.freq_base")).toBe(10_000);
    expect(header.metadata.get("tokenizer.ggml.add_bos_token")).toBe(false);
    expect(header.metadata.get("tokenizer.ggml.tokens")).toMatchObject({
      length: 512,
      elementType: "string",
      empty: 0,
    });
    expect(header.metadata.get("tokenizer.ggml.token_type")).toMatchObject({ length: 512, elementType: "int32" });
  });

  it("reads more than a piece of the file: long strings, long arrays, and what comes after", async () => {
    const path = inFolder("long.gguf");
    const long = "x".repeat(3_000_000);
    const numbers = Array.from({ length: 500_000 }, (_, i) => i);
    const words = Array.from({ length: 200_000 }, (_, i) => `word ${i}`);
    writeGguf(path, { text: str(long), numbers: i32s(numbers), few: i32s([1, -2]), words: strs(words), last: u32(7) }, [
      { name: "t", type: "f32", shape: [4], data: Buffer.alloc(16) },
    ]);
    const { metadata, tensors } = readGgufHeader(path);
    expect(metadata.get("text")).toBe(long);
    expect(metadata.get("numbers")).toMatchObject({ length: 500_000, numbers: undefined });
    expect(metadata.get("few")).toMatchObject({ numbers: [1, -2] });
    expect(metadata.get("words")).toMatchObject({ length: 200_000, elementType: "string" });
    expect(metadata.get("last")).toBe(7);
    expect([...tensors.keys()]).toEqual(["t"]);
  });
});

describe("a file that is cut short", () => {
  it.each([0, 3, 4, 23, 24, 100, 1000, 5000, 10_000, 12_000, 100_000, 860_000])(
    "to %d bytes is refused",
    async (length) => {
      const path = inFolder("cut.gguf");
      writeFileSync(path, readFileSync(tiny));
      truncateSync(path, length);
      expect(await complaint(path)).toMatch(/^it (ends within|claims)|cut short$/);
    },
  );
});

describe("a header that lies", () => {
  const patched = (offset: number, bytes: Uint8Array) => {
    const path = inFolder("lie.gguf");
    const file = readFileSync(tiny);
    file.set(bytes, offset);
    writeFileSync(path, file);
    return complaint(path);
  };
  const uint64 = (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    return bytes;
  };
  const at = (text: string) => readFileSync(tiny).indexOf(text);

  it.each<[string, number, Uint8Array, string | RegExp]>([
    ["magic", 0, Buffer.from("GGML"), "it is not a GGUF file"],
    ["version 1", 4, Buffer.of(1, 0, 0, 0), "GGUF version 1 is not supported, 2 and 3 are"],
    ["big-endian version", 4, Buffer.of(0, 0, 0, 3), "GGUF version 50331648 is not supported, 2 and 3 are"],
    [
      "number of tensors",
      8,
      uint64(2n ** 63n),
      /^it claims 9223372036854776000 tensors, but has room for \d+ at most$/,
    ],
    ["number of values", 16, uint64(2n ** 40n), /^it claims 1099511627776 metadata values, but has room/],
    ["length of a key", 24, uint64(2n ** 62n), "metadata key 0 has 4611686018427388000 bytes, 65535 are the most"],
    [
      "type of a value",
      at("llama.block_count") + 17,
      Buffer.of(99),
      "metadata llama.block_count has the unknown type 99",
    ],
    [
      "length of an array",
      at("tokenizer.ggml.tokens") + 29,
      uint64(2n ** 50n),
      /^it claims 1125899906842624 tokenizer.ggml.tokens/,
    ],
    [
      "type of an array",
      at("tokenizer.ggml.tokens") + 25,
      Buffer.of(9),
      "metadata tokenizer.ggml.tokens is an array of arrays",
    ],
    [
      "length of a string",
      at("tokenizer.chat_template") + 27,
      uint64(2n ** 33n),
      /^tokenizer.chat_template has 8589934592 bytes/,
    ],
    [
      "same key twice",
      at("llama.context_length"),
      Buffer.from("general.architecture"),
      "metadata key general.architecture is there twice",
    ],
    [
      "dimensions",
      at("output_norm.weight") + 18,
      Buffer.of(5),
      "tensor output_norm.weight has 5 dimensions, 4 are the most",
    ],
    ["empty shape", at("output_norm.weight") + 22, uint64(0n), "tensor output_norm.weight has the impossible shape 0"],
    [
      "huge shape",
      at("output_norm.weight") + 22,
      uint64(2n ** 62n),
      /^tensor output_norm.weight has the impossible shape/,
    ],
    ["tensor type", at("output_norm.weight") + 30, Buffer.of(77), "tensor output_norm.weight has the unknown type 77"],
    [
      "rows of blocks",
      at("blk.0.attn_norm.weight") + 34,
      Buffer.of(12),
      "tensor blk.0.attn_norm.weight has rows of 128 values, which is no multiple of its type's 256",
    ],
    [
      "offset beyond the file",
      at("output_norm.weight") + 34,
      uint64(2n ** 40n),
      /^tensor output_norm.weight ends at byte 10995\d+, but the file at 865\d+: it is cut short$/,
    ],
    [
      "offset beyond numbers",
      at("output_norm.weight") + 34,
      uint64(2n ** 64n - 32n),
      /^tensor output_norm.weight ends at byte/,
    ],
    ["odd offset", at("output_norm.weight") + 34, uint64(8n), "tensor output_norm.weight is not aligned to 32 bytes"],
    [
      "same tensor twice",
      at("blk.1.attn_q.weight"),
      Buffer.from("blk.0.attn_q.weight"),
      "tensor blk.0.attn_q.weight is there twice",
    ],
  ])("about its %s is refused", async (_what, offset, bytes, message) => {
    expect(await patched(offset, bytes)).toMatch(message);
  });

  it("is refused or loads, whatever byte of it is wrong", async () => {
    const file = readFileSync(tiny);
    const path = inFolder("noise.gguf");
    const end = file.indexOf("blk.1.ffn_down.weight");
    let refused = 0;
    for (let offset = 0; offset < end; offset += 211) {
      const broken = Buffer.from(file);
      broken[offset] = (broken[offset] ?? 0) ^ 0xff;
      writeFileSync(path, broken);
      try {
        checkGguf(readGgufHeader(path));
      } catch (error) {
        expect(error).toMatchObject({ kind: "model_unavailable" });
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(10);
  });
});

describe("hyperparameters that end llama.cpp's process", () => {
  it.each<[string, Record<string, GgufValue | undefined>]>([
    ["general.architecture is missing", { "general.architecture": undefined }],
    ["general.architecture is missing", { "general.architecture": u32(1) }],
    ["general.alignment 33 is not a power of 2 from 8 on", { "general.alignment": u32(33) }],
    ["llama.block_count 0 is not from 1 to 512", { "llama.block_count": u32(0) }],
    ["llama.block_count 513 is not from 1 to 512", { "llama.block_count": u32(513) }],
    ["llama.nextn_predict_layers 3 is above block_count 2", { "llama.nextn_predict_layers": u32(3) }],
    ["llama.expert_count 1025 is above the maximum 1024", { "llama.expert_count": u32(1025) }],
    ["llama.expert_count 8 does not go with expert_used_count 0", { "llama.expert_count": u32(8) }],
    ["llama.expert_count 0 does not go with expert_used_count 2", { "llama.expert_used_count": u32(2) }],
    [
      "llama.expert_count 8 does not go with expert_group_count 3 and expert_group_used_count 1",
      {
        "llama.expert_count": u32(8),
        "llama.expert_used_count": u32(2),
        "llama.expert_group_count": u32(3),
        "llama.expert_group_used_count": u32(1),
      },
    ],
    [
      "llama.attention.layer_norm_rms_epsilon -1 is not 0 or above",
      { "llama.attention.layer_norm_rms_epsilon": f32(-1) },
    ],
    [
      "llama.attention.layer_norm_rms_epsilon NaN is not 0 or above",
      { "llama.attention.layer_norm_rms_epsilon": f32(Number.NaN) },
    ],
    [
      "llama.rope.scaling.type bogus is none of none, linear, yarn, longrope",
      { "llama.rope.scaling.type": str("bogus") },
    ],
    ["it has no vocabulary", { "tokenizer.ggml.model": str("no_vocab") }],
    ["it has no vocabulary", { "tokenizer.ggml.tokens": undefined }],
    ["its vocabulary holds the same token twice", { "tokenizer.ggml.tokens": strs(["a", "b", "", "", "a"]) }],
    ["its vocabulary lacks the byte <0x00>", { "tokenizer.ggml.model": str("llama") }],
  ])("%s", async (message, metadata) => {
    const path = inFolder("hyper.gguf");
    writeRandomModel(path, tinyShape, metadata);
    expect(await complaint(path)).toBe(message);
  });

  it.each<[string, Record<string, GgufValue | undefined>, RegExp]>([
    ["no heads", { "llama.attention.head_count": u32(0) }, /can't be loaded: .*error loading model/],
    [
      "heads that don't divide the width",
      { "llama.attention.head_count": u32(3) },
      /can't be loaded: .*error loading model/,
    ],
    ["another width than the tensors", { "llama.embedding_length": u32(64) }, /can't be loaded: .*error loading model/],
    ["fewer types than tokens", { "tokenizer.ggml.token_type": i32s([1]) }, /can't be loaded: .*error loading model/],
    [
      "an unknown architecture",
      { "general.architecture": str("bogus") },
      /can't be loaded: .*unknown model architecture/,
    ],
    [
      "a missing number",
      { "llama.context_length": undefined },
      /can't be loaded: .*key not found in model: llama.context_length/,
    ],
  ])("%s: llama.cpp's own words", async (_what, metadata, message) => {
    const path = inFolder("words.gguf");
    writeRandomModel(path, tinyShape, metadata);
    expect(await complaint(path)).toMatch(message);
  });

  it.each([
    ["tensor output_norm.weight has type 1, but norms and biases are 32-bit floats", "output_norm.weight", "f16"],
    ["tensor output.weight has type 26, which no matrix can have", "output.weight", "i32"],
  ])("%s", async (message, tensor, type) => {
    const path = inFolder("types.gguf");
    writeScriptedModel(path, { reply: ["x"] });
    const header = readGgufHeader(path);
    const tensors = new Map(header.tensors);
    const shape = tensors.get(tensor)?.shape ?? [];
    tensors.set(tensor, { shape, type: type === "f16" ? 1 : 26 });
    expect(() => checkGguf({ ...header, tensors })).toThrow(message);
  });
});

it.each<[string, Record<string, GgufValue | undefined>]>([
  ["the model is an encoder (llama) and generates no text", { "llama.attention.causal": bool(false) }],
  ["the model is an encoder (bert) and generates no text", { "general.architecture": str("bert") }],
])("%s", async (message, metadata) => {
  const path = inFolder("encoder.gguf");
  writeRandomModel(path, tinyShape, metadata);
  expect(await complaint(path)).toBe(message);
});

it("takes no other things for files", async () => {
  expect(await complaint(inFolder("nothing.gguf"))).toBe("the model file can't be read");
  expect(await complaint(inFolder("."))).toBe("it is not a file");
});
