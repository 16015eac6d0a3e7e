import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { openOnnxEngine } from "../../../src/engines/onnx/onnx-engine.ts";
import { readTorchArchive } from "../../../src/engines/onnx/torch-archive.ts";
import { readTorchPickle } from "../../../src/engines/onnx/torch-pickle.ts";
import type { TextEngine } from "../../../src/engines/text-engine.ts";
import { LoquiError } from "../../../src/errors.ts";
import { linkCheckpoint, onnxFixtures } from "../../support/onnx-models.ts";

const texts = JSON.parse(readFileSync(join(onnxFixtures, "texts.json"), "utf8")) as string[];
const heads = join(onnxFixtures, "heads");

/** Made by reference/heads.py. */
interface Reference {
  readonly step: number;
  readonly width: number;
  readonly texts: readonly { readonly sparse: readonly (readonly [number, number])[]; readonly multivector: string }[];
}
const reference = JSON.parse(readFileSync(join(heads, "reference.json"), "utf8")) as Reference;

const folders: string[] = [];
let engine: TextEngine | undefined;
afterEach(async () => {
  await engine?.[Symbol.asyncDispose]();
  engine = undefined;
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), "loqui-heads-"));
  folders.push(folder);
  return folder;
}

async function withHeads(format: string): Promise<TextEngine> {
  const folder = linkCheckpoint(join(temporary(), "model"), "xlm-roberta", "mean");
  cpSync(join(heads, format), folder, { recursive: true });
  engine = await openOnnxEngine({ path: folder, threads: 1 });
  return engine;
}

describe.each(["pt", "safetensors"])("heads in .%s files", (format) => {
  it("make the weights and vectors of tokens that FlagEmbedding makes", async () => {
    const { tokenize, tokenHeads, embed } = await withHeads(format);
    expect(tokenHeads?.outputs).toEqual(new Set(["sparse", "multivector"]));
    expect(tokenHeads?.multivectorWidth).toBe(reference.width);
    const rows = texts.filter((_, index) => index % reference.step === 0).map((text) => tokenize(text, "end"));
    const found = await tokenHeads?.embed(rows, new Set(["multivector", "sparse"]));
    expect(found?.vectors).toEqual(await embed(rows));
    for (const [at, { sparse, multivector }] of reference.texts.entries()) {
      const { indices = [], values = [] } = found?.outputs[at]?.sparse ?? {};
      expect([...indices]).toEqual(sparse.map(([token]) => token));
      for (const [place, [, weight]] of sparse.entries()) expect(values[place]).toBeCloseTo(weight, 4);
      const bytes = Buffer.from(multivector, "base64");
      const vectors = found?.outputs[at]?.multivector ?? new Float32Array();
      expect(vectors.length * 4).toBe(bytes.length);
      for (let from = 0; from < vectors.length; from += reference.width) {
        const vector = vectors.subarray(from, from + reference.width);
        const length = Math.hypot(...vector);
        for (const [place, value] of vector.entries()) {
          expect(value / length).toBeCloseTo(bytes.readFloatLE(4 * (from + place)), 4);
        }
      }
    }
  });
});

it("gives what is wanted alone", async () => {
  const { tokenize, tokenHeads } = await withHeads("pt");
  const found = await tokenHeads?.embed([tokenize("hello", "none")], new Set(["sparse"]));
  expect(Object.keys(found?.outputs[0] ?? {})).toEqual(["sparse"]);
});

it("refuses a head of another shape", async () => {
  const folder = linkCheckpoint(join(temporary(), "model"), "xlm-roberta", "mean");
  cpSync(join(heads, "pt/colbert_linear.pt"), join(folder, "sparse_linear.pt"));
  const opened = openOnnxEngine({ path: folder, threads: 1 });
  await expect(opened).rejects.toThrow(/weight has the shape \[8, 16\] instead of \[1, 16\]/);
});

describe("torch's archives", () => {
  const whole = readFileSync(join(heads, "pt/colbert_linear.pt"));

  async function read(bytes: Uint8Array) {
    const path = join(temporary(), "some.pt");
    writeFileSync(path, bytes);
    return readTorchArchive(path, "some.pt");
  }

  it("are read where their tensors lie", async () => {
    const tensors = await read(whole);
    expect([...tensors].map(([name, { type, shape, bytes }]) => [name, type, shape, bytes])).toEqual([
      ["weight", "F16", [8, 16], 256],
      ["bias", "F16", [8], 16],
    ]);
  });

  it("are refused when they are none", async () => {
    await expect(read(new Uint8Array())).rejects.toThrow("some.pt is not a zip archive");
    await expect(read(readFileSync(join(heads, "reference.json")))).rejects.toThrow("some.pt is not a zip archive");
    await expect(read(whole.subarray(0, -100))).rejects.toThrow(/some\.pt/);
    const compressed = Buffer.from(whole);
    compressed.writeUInt16LE(8, compressed.indexOf("PK\x01\x02") + 10);
    await expect(read(compressed)).rejects.toThrow(/is compressed or encrypted/);
  });

  it("never make more of damaged bytes than an error or tensors inside of the file", async () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed % below;
    };
    const folder = temporary();
    for (let round = 0; round < 400; round += 1) {
      const damaged = Buffer.from(whole);
      for (let change = 0; change < 3; change += 1) damaged[random(damaged.length)] = random(256);
      const path = join(folder, "some.pt");
      writeFileSync(path, damaged);
      try {
        for (const { offset, bytes } of (await readTorchArchive(path, "some.pt")).values()) {
          expect(offset + bytes).toBeLessThanOrEqual(damaged.length);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(LoquiError);
        expect(error).toHaveProperty("kind", "model_unavailable");
      }
    }
    expect(readdirSync(folder)).toEqual(["some.pt"]);
  });
});

describe("pickles", () => {
  const read = (text: string) => readTorchPickle(Buffer.from(text, "latin1"), "some.pt");

  it.each([
    // What pickle.dumps writes for an object whose __reduce__ is os.system("…").
    ["calls a function", "\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", /it calls posix system/],
    [
      "calls what torch itself would",
      "\x80\x02ctorch._utils\n_rebuild_parameter\n)R.",
      /it calls torch\._utils _rebuild/,
    ],
    [
      "names another storage",
      "\x80\x02(X\x07\x00\x00\x00storagectorch\nLongStorage\nX\x01\x00\x00\x000tQ.",
      /LongStorage/,
    ],
    [
      "names a file outside",
      "\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x02\x00\x00\x00..tQ.",
      /storage/,
    ],
    ["makes an instance", "\x80\x02(cos\nsystem\nos\nsystem\n.", /0x6f is not one of a dict of tensors/],
    ["is no dict", "\x80\x02K\x01.", /it is not a dict/],
    ["is a dict of numbers", "\x80\x02}X\x01\x00\x00\x00aK\x01s.", /it is not a dict of tensors/],
    ["pops too much", "\x80\x02R.", /its stack is empty/],
    ["has no mark", "\x80\x02}u.", /it has no mark/],
    ["asks for what it never kept", "\x80\x02h\x07.", /never kept/],
    ["is cut off", "\x80\x02X\xff\xff\xff\x7fa", /it is cut off/],
    ["has no end", "\x80\x02", /it is cut off/],
    ["never ends", `\x80\x02${"N".repeat(200_000)}.`, /more than 100000 instructions/],
  ])("that %s is refused", (_, text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});
