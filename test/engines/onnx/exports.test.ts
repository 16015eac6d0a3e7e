import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeModel, type Graph } from "../../../src/engines/onnx/model-proto.ts";
import { openOnnxEngine } from "../../../src/engines/onnx/onnx-engine.ts";
import { openOnnxPairEngine } from "../../../src/engines/onnx/onnx-pair-engine.ts";
import { cosine } from "../../support/cosine.ts";
import { linkCheckpoint, linkReranker, onnxFixtures, rerankerFixtures } from "../../support/onnx-models.ts";

/** The initializer of our graphs that says where Unsqueeze puts its axis. */
const axis = { name: "axis", type: "int64", shape: [1], data: new Uint8Array(BigInt64Array.of(2n).buffer) } as const;

const texts = JSON.parse(readFileSync(join(onnxFixtures, "texts.json"), "utf8")) as string[];

let folder: string;
let model: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-onnx-"));
  model = join(folder, "model");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A checkpoint without its weights; what has been exported of it lies in `onnx`, as links. */
function linkExport(name: string, exported = name): void {
  linkCheckpoint(model, name, "mean");
  rmSync(join(model, "model.safetensors"));
  mkdirSync(join(model, "onnx"));
  const files = join(onnxFixtures, "exports", exported);
  for (const file of ["model.onnx", ...(name === "xlm-roberta" ? ["model.onnx_data"] : [])]) {
    symlinkSync(join(files, file), join(model, "onnx", file));
  }
}

function expectedOf(name: string) {
  const { ids, layouts } = JSON.parse(readFileSync(join(onnxFixtures, name, "reference.json"), "utf8"));
  const bytes = Buffer.from(layouts.mean.vectors, "base64");
  const vectors = Float32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));
  return { ids: ids as number[][], width: layouts.mean.width as number, vectors };
}

const open = (options = {}) => openOnnxEngine({ path: model, threads: 1, ...options });

it("refuses another pooling than that which an export holds", async () => {
  linkExport("mpnet");
  await expect(open({ pooling: ["cls"] })).rejects.toThrow(/pooling can't be chosen: the export makes vectors/);
});

it.each([
  ["bert", "all inputs, hidden states", "bert", 1e-4],
  ["xlm-roberta", "32-bit inputs, external data", "xlm-roberta", 1e-4],
  ["mpnet", "vectors", "mpnet", 1e-4],
  // Numbers of up to 4, of which float16 has 11 bits.
  ["bert", "weights and hidden states of float16", "bert-float16", 4e-3],
])("%s, an export with %s: the ids and vectors of sentence-transformers", async (name, _, exported, bound) => {
  linkExport(name, exported);
  await using engine = await open();
  const expected = expectedOf(name);
  expect(engine.width).toBe(expected.width);
  const rows = texts.map((text) => engine.tokenize(text, "end"));
  expect(rows.map((row) => [...row])).toEqual(expected.ids);
  const vectors = new Float32Array(expected.vectors.length);
  for (let at = 0, size = 1; at < rows.length; at += size, size = (size % 64) + 7) {
    vectors.set(await engine.embed(rows.slice(at, at + size)), at * engine.width);
  }
  const furthest = vectors.reduce(
    (most, value, at) => Math.max(most, Math.abs(value - (expected.vectors[at] ?? 0))),
    0,
  );
  expect(furthest).toBeLessThan(bound);
  const cosines = rows.map((_, row) => cosine(vectors, expected.vectors, row * engine.width, engine.width));
  expect(Math.min(...cosines)).toBeGreaterThan(0.9999);
});

describe("a reranker", () => {
  beforeEach(() => {
    linkReranker(model, "bert");
    mkdirSync(join(model, "onnx"));
    symlinkSync(join(onnxFixtures, "exports/rerankers/bert/model.onnx"), join(model, "onnx", "model.onnx"));
  });

  it.each([
    ["float32", "bert", 1e-4],
    ["float16", "bert-float16", 2e-2],
  ])("scores by an export of %s as sentence-transformers does, the types of tokens too", async (_, name, bound) => {
    rmSync(join(model, "model.safetensors"));
    rmSync(join(model, "onnx", "model.onnx"));
    symlinkSync(join(onnxFixtures, "exports/rerankers", name, "model.onnx"), join(model, "onnx", "model.onnx"));
    await using engine = await openOnnxPairEngine({ path: model, threads: 1 });
    const pairs = JSON.parse(readFileSync(join(rerankerFixtures, "pairs.json"), "utf8")) as [string, string][];
    const { ids, raw } = JSON.parse(readFileSync(join(rerankerFixtures, "bert", "reference.json"), "utf8"));
    const rows = pairs.map(([first, second]) =>
      engine.pair(engine.tokenizeQuery(first), engine.tokenizeDocument(second).tokens, "end"),
    );
    expect(rows.map(({ tokens }) => [...tokens])).toEqual(ids);
    const scores = [...(await engine.score(rows.slice(0, 100))), ...(await engine.score(rows.slice(100)))];
    expect(scores.length).toBe(raw.length);
    for (const [at, score] of scores.entries()) expect(Math.abs(score - raw[at])).toBeLessThan(bound);
    expect(engine.info.sizeBytes).toBe(readFileSync(join(model, "onnx", "model.onnx")).length);
  });

  it("runs the export that is chosen, and refuses one without logits or with other labels", async () => {
    {
      await using chosen = await openOnnxPairEngine({ path: model, file: "onnx/model.onnx", threads: 1 });
      expect(chosen.info.sizeBytes).toBe(readFileSync(join(model, "onnx", "model.onnx")).length);
    }
    symlinkSync(join(onnxFixtures, "exports/mpnet/model.onnx"), join(model, "onnx", "encoder.onnx"));
    await expect(openOnnxPairEngine({ path: model, file: "onnx/encoder.onnx" })).rejects.toThrow(
      "has the outputs sentence_embedding, but none of logits",
    );
    rmSync(join(model, "modules.json"));
    await expect(openOnnxEngine({ path: model, file: "onnx/model.onnx" })).rejects.toThrow(
      "has the outputs logits, but none of last_hidden_state",
    );
    const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
    rmSync(join(model, "config.json"));
    writeFileSync(join(model, "config.json"), JSON.stringify({ ...config, id2label: { 0: "a", 1: "b" } }));
    await expect(openOnnxPairEngine({ path: model, file: "onnx/model.onnx" })).rejects.toThrow(
      "the output logits has 1 labels, config.json has 2",
    );
  });
});

it("weights come before an export, a chosen export before them", async () => {
  linkExport("bert");
  symlinkSync(join(onnxFixtures, "bert", "model.safetensors"), join(model, "model.safetensors"));
  const tokens = Uint32Array.of(2, 7, 9, 3);
  // Only the one that was exported can be told from its size.
  const sizeOf = async (options = {}) => {
    await using engine = await open(options);
    const [first] = await engine.embed([tokens]);
    return { size: engine.info.sizeBytes, first };
  };
  const [weights, exported] = [await sizeOf(), await sizeOf({ file: "onnx/model.onnx" })];
  expect(exported.size).toBe(readFileSync(join(model, "onnx", "model.onnx")).length);
  expect(weights.size).not.toBe(exported.size);
  expect(weights.first).toBeCloseTo(exported.first ?? 0, 5);
  await expect(open({ file: "onnx/gone.onnx" })).rejects.toThrow("onnx/gone.onnx is missing");
  await expect(open({ file: "../model.onnx" })).rejects.toThrow("leads out of the folder");
});

describe("refuses", () => {
  const opening = () => open().catch((caught: unknown) => caught);
  const refused = (message: string | RegExp) =>
    expect.objectContaining({
      kind: "model_unavailable",
      message: typeof message === "string" ? expect.stringContaining(message) : expect.stringMatching(message),
    });

  function writeModel(bytes: Uint8Array): void {
    linkExport("bert");
    rmSync(join(model, "onnx", "model.onnx"));
    writeFileSync(join(model, "onnx", "model.onnx"), bytes);
  }

  it.each([
    ["nothing", Buffer.alloc(0), "onnx/model.onnx is cut off or no ONNX model"],
    ["what is no Protobuf", Buffer.from("<html>not found</html>"), "onnx/model.onnx is cut off or no ONNX model"],
    ["zeros", Buffer.alloc(1000), "onnx/model.onnx is cut off or no ONNX model"],
  ])("a file of %s", async (_, bytes, message) => {
    writeModel(bytes);
    expect(await opening()).toEqual(refused(message));
  });

  it("a file that is cut off, wherever", async () => {
    const whole = readFileSync(join(onnxFixtures, "exports", "bert", "model.onnx"));
    for (const length of [5, 100, 5_000, whole.length >> 1, whole.length - 20]) {
      writeModel(whole.subarray(0, length));
      expect(await opening()).toEqual(refused("onnx/model.onnx is cut off or no ONNX model"));
      rmSync(model, { recursive: true });
    }
  });

  /** A graph that gives hidden states of 16 dimensions, changed. */
  function graph(change: Partial<Graph>): Uint8Array {
    const shape = ["rows", "longest"];
    const node = (type: string, inputs: string[], output: string, attributes = {}) => ({
      ...{ type, domain: "", inputs, outputs: [output], attributes },
    });
    return encodeModel({
      nodes: [
        node("Add", ["input_ids", "attention_mask"], "sum"),
        node("Unsqueeze", ["sum", "axis"], "column"),
        node("Cast", ["column"], "numbers", { to: { int: 1 } }),
        node("Mul", ["numbers", "row"], "last_hidden_state"),
      ],
      inputs: [
        { name: "input_ids", type: "int64", shape },
        { name: "attention_mask", type: "int64", shape },
      ],
      outputs: [{ name: "last_hidden_state", type: "float", shape: [...shape, 16] }],
      initializers: [
        axis,
        { name: "row", type: "float", shape: [16], data: new Uint8Array(new Float32Array(16).fill(1).buffer) },
      ],
      opsets: { "": 17 },
      ...change,
    });
  }
  const shape = ["rows", "longest"];
  const ids = { name: "input_ids", type: "int64", shape } as const;
  const mask = { name: "attention_mask", type: "int64", shape } as const;

  it("nothing of the graph that the others are made of", async () => {
    writeModel(graph({}));
    await using engine = await open();
    expect(engine.width).toBe(16);
    expect((await engine.embed([Uint32Array.of(2, 5)]))[0]).toBeCloseTo(4.5);
  });

  it.each<[string, Partial<Graph>, string]>([
    [
      "an input of another name",
      { inputs: [ids, mask, { ...ids, name: "pixel_values" }] },
      "the input pixel_values is none of input_ids, ",
    ],
    [
      "inputs of fractions",
      { inputs: [{ ...ids, type: "float" }, mask] },
      "the input input_ids is not of whole numbers",
    ],
    ["no mask", { inputs: [ids] }, "onnx/model.onnx has no input attention_mask"],
    ["no ids", { inputs: [mask] }, "onnx/model.onnx has no input input_ids"],
    [
      "other outputs",
      { outputs: [{ name: "logits", type: "float", shape }] },
      "has the outputs logits, but none of last_hidden_state, token_embeddings, sentence_embedding",
    ],
    ["no outputs", { outputs: [] }, "but none of last_hidden_state"],
    [
      "an output of whole numbers",
      { outputs: [{ name: "last_hidden_state", type: "int64", shape: [...shape, 16] }] },
      "the output last_hidden_state is not of float32 or float16",
    ],
    [
      "an output of two axes",
      { outputs: [{ name: "last_hidden_state", type: "float", shape }] },
      "has 2 axes instead of 3",
    ],
    [
      "an output of too many dimensions",
      { outputs: [{ name: "last_hidden_state", type: "float", shape: [...shape, 10 ** 9] }] },
      "doesn't have from 1 to 65536 dimensions",
    ],
    [
      "an operator that isn't there",
      { nodes: [{ type: "Magic", domain: "", inputs: ["input_ids"], outputs: ["last_hidden_state"], attributes: {} }] },
      "ONNX Runtime refuses the model",
    ],
    [
      "hidden states of other dimensions than it says",
      {
        outputs: [{ name: "last_hidden_state", type: "float", shape: [...shape, "width"] }],
        initializers: [
          axis,
          { name: "row", type: "float", shape: [8], data: new Uint8Array(new Float32Array(8).buffer) },
        ],
      },
      "the exported graph can't be run: last_hidden_state has the shape [2, 2, 8] instead of [2, 2, 16]",
    ],
  ])("%s", async (_, change, message) => {
    writeModel(graph(change));
    expect(await opening()).toEqual(refused(message));
  });

  const data = { location: "model.onnx_data", offset: 0, length: 64 };
  it.each([
    [
      "external data outside",
      { ...data, location: "../../secret" },
      'the file name "../../secret" leads out of the folder',
    ],
    [
      "external data by an absolute path",
      { ...data, location: "/etc/passwd" },
      'the file name "/etc/passwd" leads out of the folder',
    ],
    [
      "external data at an address of the memory",
      { ...data, location: "*/_ORT_MEM_ADDR_/*", offset: 4096 },
      "leads out of the folder",
    ],
    ["external data without a file", { ...data, location: "" }, 'the file name "" leads out of the folder'],
    ["external data that isn't there", { ...data, location: "gone" }, 'its external data "gone" is missing'],
    ["external data that is a folder", { ...data, location: "folder" }, 'its external data "folder" is not a file'],
    ["external data beyond the file", { ...data, offset: 8 }, "row: its bytes are not where it says"],
    ["an offset that is none", { ...data, offset: -8 }, "row: offset of its external data is not a whole number"],
    ["a length that is none", { ...data, length: 0.5 }, "row: length of its external data is not a whole number"],
    ["too few bytes for the tensor", { ...data, length: 32 }, "ONNX Runtime refuses the model"],
  ])("%s", async (_, external, message) => {
    writeModel(graph({ initializers: [axis, { name: "row", type: "float", shape: [16], data: external }] }));
    writeFileSync(join(model, "onnx", "model.onnx_data"), Buffer.alloc(64));
    writeFileSync(join(folder, "secret"), Buffer.alloc(64));
    mkdirSync(join(model, "onnx", "folder"));
    expect(await opening()).toEqual(refused(message));
  });

  it("external data of what is no initializer of the graph", async () => {
    // A node's attribute (5) that is a tensor (5) with a location (13) of its own.
    const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string("location");
    entry.tag(2, WireType.LengthDelimited).string("/etc/passwd");
    const wrap = (bytes: Uint8Array, ...fields: number[]) =>
      fields.reduce(
        (inner, field) => new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(inner).finish(),
        bytes,
      );
    const nested = wrap(entry.finish(), 13, 5, 5, 1, 7);
    writeModel(Buffer.concat([graph({}), nested]));
    expect(await opening()).toEqual(refused("has external data, but is no initializer of the main graph"));
    // Graphs within graphs without end: attribute (5), graph (6), node (1).
    let deep: Uint8Array = new Uint8Array();
    for (let depth = 0; depth < 200; depth += 1) deep = wrap(deep, 6, 5, 1);
    writeFileSync(join(model, "onnx", "model.onnx"), Buffer.concat([graph({}), wrap(deep, 7)]));
    expect(await opening()).toEqual(refused("onnx/model.onnx is cut off or no ONNX model"));
  });

  it("files of external data in several folders", async () => {
    const tensor = (name: string, length: number, location: string) =>
      ({ name, type: "float", shape: [length], data: { location, offset: 0, length: 4 * length } }) as const;
    writeModel(graph({ initializers: [axis, tensor("row", 16, "one"), tensor("other", 4, "folder/two")] }));
    mkdirSync(join(model, "onnx", "folder"));
    for (const name of ["one", "folder/two"]) writeFileSync(join(model, "onnx", name), Buffer.alloc(64));
    expect(await opening()).toEqual(refused("the files of its external data lie in several folders"));
  });
});

it("finds external data behind a link, as in the hub's cache", async () => {
  linkExport("xlm-roberta");
  const blobs = join(folder, "blobs");
  mkdirSync(blobs);
  cpSync(join(onnxFixtures, "exports", "xlm-roberta", "model.onnx_data"), join(blobs, "0123"));
  rmSync(join(model, "onnx", "model.onnx_data"));
  symlinkSync(join(blobs, "0123"), join(model, "onnx", "model.onnx_data"));
  await using engine = await open();
  expect(engine.width).toBe(16);
});
