import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigError } from "../../src/config/config-error.ts";
import { readSettings } from "../../src/config/settings.ts";
import { bool, type GgufValue, str, u32, writeGguf } from "../support/gguf.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "loqui-path-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A folder with JSON files. */
function checkpoint(path: string, files: Readonly<Record<string, unknown>>): string {
  const folder = join(root, path);
  mkdirSync(folder, { recursive: true });
  for (const [name, value] of Object.entries(files)) {
    writeFileSync(join(folder, name), typeof value === "string" ? value : JSON.stringify(value));
  }
  return folder;
}

const modelOf = (folder: string) => readSettings({ MODELS: folder }, {}, root).models[0];

describe("a folder in MODELS", () => {
  it.each<[string, Readonly<Record<string, unknown>>, object]>([
    ["an encoder embeds", { "config.json": { architectures: ["BertModel"] } }, { type: "embedding" }],
    [
      "what sentence-transformers embeds with does, whatever its encoder was",
      { "config.json": { architectures: ["Qwen3ForCausalLM"] }, "modules.json": [] },
      { type: "embedding", capabilities: ["text-embedding"] },
    ],
    [
      "a classifier of pairs scores them",
      { "config.json": { architectures: ["XLMRobertaForSequenceClassification"] } },
      { type: "rerank", capabilities: ["rerank"] },
    ],
    [
      "and so does a CrossEncoder",
      {
        "config.json": { architectures: ["BertModel"] },
        "config_sentence_transformers.json": { model_type: "CrossEncoder" },
        "modules.json": [],
      },
      { type: "rerank", capabilities: ["rerank"] },
    ],
  ])("%s", (_, files, expected) => {
    const folder = checkpoint("some-model", files);
    expect(modelOf(folder)).toMatchObject({
      id: "some-model",
      engine: "onnxruntime",
      source: { path: folder },
      preload: true,
      ...expected,
    });
  });

  it("is named after its repository in the hub's cache", () => {
    const snapshot = "hub/models--BAAI--bge-m3/snapshots/5617a9f61b028005a4858fdac845db406aefb181";
    const folder = checkpoint(snapshot, { "config.json": { architectures: ["XLMRobertaModel"] } });
    expect(modelOf(folder)?.id).toBe("BAAI/bge-m3");
  });

  it.each<[string, Readonly<Record<string, unknown>>, RegExp]>([
    ["that has no config.json", {}, /some-model: the folder has no config\.json$/],
    ["whose config.json is none", { "config.json": "{" }, /some-model: config\.json can't be read: /],
    ["whose config.json is a list", { "config.json": [] }, /some-model: config\.json is not an object$/],
  ])("is refused %s", (_, files, message) => {
    const folder = checkpoint("some-model", files);
    expect(() => modelOf(folder)).toThrow(ConfigError);
    expect(() => modelOf(folder)).toThrow(message);
  });

  it("is refused where it isn't there", () => {
    expect(() => modelOf(join(root, "nowhere"))).toThrow(/nowhere: no such file$/);
  });
});

describe("a .gguf file in MODELS", () => {
  type Content = readonly [metadata: Readonly<Record<string, GgufValue>>, tensors?: readonly string[]];
  const write = ([metadata, tensors = []]: Content) => {
    const path = join(root, "Some-Model.Q8_0.gguf");
    const data = Buffer.alloc(4);
    writeGguf(
      path,
      metadata,
      tensors.map((name) => ({ name, type: "f32", shape: [1], data })),
    );
    return path;
  };
  const of = (architecture: string, more: Readonly<Record<string, GgufValue>> = {}) => ({
    "general.architecture": str(architecture),
    ...more,
  });
  const chat = { type: "chat", capabilities: ["chat-completion"] };
  const embedding = { type: "embedding", capabilities: ["text-embedding"] };
  const rerank = { type: "rerank", capabilities: ["rerank"] };

  it.each<[string, Content, object]>([
    ["a decoder is for chat", [of("qwen3", { "general.type": str("model") })], chat],
    ["and one that pools nothing", [of("qwen3", { "qwen3.pooling_type": u32(0) })], chat],
    ["an architecture that is unknown, too", [of("new-lm")], chat],
    ["a decoder that pools embeds", [of("qwen3", { "qwen3.pooling_type": u32(3) })], embedding],
    ["and one that looks ahead", [of("llama", { "llama.attention.causal": bool(false) })], embedding],
    ["an encoder embeds", [of("nomic-bert", { "nomic-bert.pooling_type": u32(1) })], embedding],
    ["and one that says nothing of pooling", [of("gemma-embedding")], embedding],
    ["an encoder with a pooler alone", [of("bert", { "bert.pooling_type": u32(2) }), ["cls.weight"]], embedding],
    ["what pools by rank scores pairs", [of("bert", { "bert.pooling_type": u32(4) })], rerank],
    ["and what has a classifier", [of("jina-bert-v2"), ["cls.weight"]], rerank],
    ["a decoder's as well", [of("qwen3"), ["cls.output.weight"]], rerank],
  ])("%s", (_, content, expected) => {
    const path = write(content);
    const found = { id: "Some-Model.Q8_0", engine: "llama.cpp", source: { path }, preload: true };
    expect(modelOf(path)).toMatchObject({ ...found, ...expected });
  });

  it("is known where only its tensors are cut short", () => {
    const path = write([of("bert"), ["cls.weight", "cls.output.weight"]]);
    truncateSync(path, statSync(path).size - 40);
    expect(modelOf(path)).toMatchObject(rerank);
  });

  it.each<[string, Content | string, RegExp]>([
    ["that is none", "PK\u0003\u0004 and so on, a zip archive", /Q8_0\.gguf: .*it is not a GGUF file$/],
    ["that ends before it says what it is", "GGUF", /Q8_0\.gguf: .*it ends within the header$/],
    ["without an architecture", [{}], /general\.architecture is missing$/],
    ["with an adapter", [of("llama", { "general.type": str("adapter") })], /its general\.type is adapter$/],
    ["with a projector of images", [of("clip", { "general.type": str("mmproj") })], /its general\.type is mmproj$/],
  ])("is refused %s", (_, content, message) => {
    const path = write(typeof content === "string" ? [{}] : content);
    if (typeof content === "string") writeFileSync(path, content);
    expect(() => modelOf(path)).toThrow(ConfigError);
    expect(() => modelOf(path)).toThrow(message);
  });
});

describe("pooling in a models file", () => {
  const write = (pooling: string) =>
    writeFileSync(
      join(root, "models.yaml"),
      `models:\n  - {id: a, type: embedding, engine: onnxruntime, source: {path: a}, parameters: {pooling: ${pooling}}}\n`,
    );

  it.each([
    ["mean", ["mean"]],
    ["last", ["lasttoken"]],
    ["[cls, weighted_mean]", ["cls", "weightedmean"]],
  ])("may be %s", (pooling, expected) => {
    write(pooling);
    expect(readSettings({}, {}, root).models[0]?.parameters.pooling).toEqual(expected);
  });

  it("is for models that embed", () => {
    write("mean");
    const path = join(root, "models.yaml");
    writeFileSync(path, readFileSync(path, "utf8").replace("type: embedding", "type: rerank"));
    expect(() => readSettings({}, {}, root)).toThrow(/parameters\.pooling: is for models of type embedding/);
  });

  it.each([["median"], ["[]"], ["[cls, cls]"]])("may not be %s", (pooling) => {
    write(pooling);
    expect(() => readSettings({}, {}, root)).toThrow(/models\[0\]\.parameters\.pooling/);
  });
});
