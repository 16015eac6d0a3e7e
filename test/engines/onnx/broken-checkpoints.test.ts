import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openOnnxEngine } from "../../../src/engines/onnx/onnx-engine.ts";
import { linkCheckpoint } from "../../support/onnx-models.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-onnx-"));
  linkCheckpoint(join(folder, "model"), "bert", "dense");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Replaces a file, which may be a link, by what is made of it. */
function change(name: string, edit: (json: Record<string, unknown>) => unknown): void {
  const path = join(folder, "model", name);
  const json = JSON.parse(readFileSync(path, "utf8"));
  rmSync(path);
  writeFileSync(path, JSON.stringify(edit(json)));
}

const open = (options = {}) => openOnnxEngine({ path: join(folder, "model"), threads: 1, ...options });

it.each<[string, string, (json: Record<string, unknown>) => unknown, string]>([
  [
    "an architecture that is not there",
    "config.json",
    (json) => ({ ...json, model_type: "t5" }),
    "model_type t5 is none of bert, ",
  ],
  ["no architecture", "config.json", (json) => ({ ...json, model_type: undefined }), "config.json has no model_type"],
  [
    "another hidden size",
    "config.json",
    (json) => ({ ...json, hidden_size: 64 }),
    "has the shape [420, 16] instead of [420, 64]",
  ],
  [
    "a size that can't be",
    "config.json",
    (json) => ({ ...json, hidden_size: 1e9 }),
    "hidden_size is not a whole number from 1 to 65536",
  ],
  [
    "heads that don't divide it",
    "config.json",
    (json) => ({ ...json, num_attention_heads: 5 }),
    "5 heads don't divide hidden_size 16",
  ],
  [
    "more layers",
    "config.json",
    (json) => ({ ...json, num_hidden_layers: 3 }),
    "no tensor encoder.layer.2.attention.self.query.weight",
  ],
  [
    "relative positions",
    "config.json",
    (json) => ({ ...json, position_embedding_type: "relative_key" }),
    "position_embedding_type relative_key is not supported",
  ],
  [
    "a strange activation",
    "config.json",
    (json) => ({ ...json, hidden_act: "constructor" }),
    "activation function constructor is not supported",
  ],
  [
    "a smaller vocabulary",
    "config.json",
    (json) => ({ ...json, vocab_size: 10 }),
    "tokenizer.json has 420 tokens, config.json's vocab_size is 10",
  ],
  [
    "a tokenizer of unknown kind",
    "tokenizer.json",
    (json) => ({ ...json, model: { type: "Magic" } }),
    "what the tokenizer doesn't know",
  ],
  [
    "an unknown module",
    "modules.json",
    (json) => [...(json as unknown as object[]), { type: "a.b.LSTM", path: "" }],
    "the module LSTM is not supported",
  ],
  [
    "a module outside",
    "modules.json",
    (json) => (json as unknown as object[]).map((module) => ({ ...module, path: "../x" })),
    "leads out of the folder",
  ],
  [
    "no pooling",
    "modules.json",
    (json) => (json as unknown as object[]).slice(0, 1),
    "no Transformer with a Pooling after it",
  ],
  [
    "an unknown pooling",
    "1_Pooling/config.json",
    (json) => ({ ...json, pooling_mode: "median" }),
    "pooling_mode is not made of cls, max",
  ],
  [
    "a Dense of another width",
    "2_Dense/config.json",
    (json) => ({ ...json, in_features: 8 }),
    "2_Dense takes 8 dimensions, before it there are 16",
  ],
  [
    "a strange Dense",
    "2_Dense/config.json",
    (json) => ({ ...json, activation_function: "os.system" }),
    "activation_function system is not supported",
  ],
])("refuses %s", async (_, name, edit, message) => {
  change(name, edit);
  const error = await open().catch((caught: unknown) => caught);
  expect(error).toMatchObject({ kind: "model_unavailable", message: expect.stringContaining(message) });
});

it.each<[string, string, (json: Record<string, unknown>) => unknown, string]>([
  ["modernbert", "angles for longer texts", (json) => ({ ...json, rope_scaling: {} }), "rope_scaling is not supported"],
  [
    "modernbert",
    "other angles",
    (json) => ({ ...json, rope_parameters: { full_attention: { rope_type: "longrope" } } }),
    "rope_parameters.full_attention: rope_type longrope is not supported",
  ],
  [
    "modernbert",
    "a layer of another kind",
    (json) => ({ ...json, layer_types: Array(4).fill("linear_attention") }),
    "layer_types is not a list of 4, each one of full_attention, sliding_attention",
  ],
  [
    "modernbert",
    "heads of an odd size",
    (json) => ({ ...json, num_attention_heads: 16 }),
    "16 heads don't divide hidden_size 16 into even parts",
  ],
  [
    "mpnet",
    "fewer distances",
    (json) => ({ ...json, relative_attention_num_buckets: 16 }),
    "relative_attention_num_buckets is not a whole number from 32",
  ],
])("refuses of %s %s", async (name, _, edit, message) => {
  rmSync(join(folder, "model"), { recursive: true });
  linkCheckpoint(join(folder, "model"), name, "mean");
  change("config.json", edit);
  const error = await open().catch((caught: unknown) => caught);
  expect(error).toMatchObject({ kind: "model_unavailable", message: expect.stringContaining(message) });
});

it("reads what ModernBERT's configurations said before 2026", async () => {
  const model = join(folder, "model");
  const vectors = async () => {
    await using engine = await open();
    return await engine.embed([engine.tokenize("the quick brown fox jumps over the lazy dog", "end")]);
  };
  rmSync(model, { recursive: true });
  linkCheckpoint(model, "modernbert", "mean");
  const expected = await vectors();
  const old = { global_attn_every_n_layers: 3, global_rope_theta: 160_000.0, local_rope_theta: 10_000.0 };
  change("config.json", ({ layer_types, rope_parameters, ...json }) => ({ ...json, ...old }));
  expect(await vectors()).toEqual(expected);
  change("config.json", (json) => ({ ...json, local_rope_theta: 160_000.0 }));
  expect(await vectors()).not.toEqual(expected);
});

it.each<[string, "qwen3" | "gemma3", Record<string, unknown>, string]>([
  [
    "heads that can't share keys",
    "qwen3",
    { num_key_value_heads: 3 },
    "num_key_value_heads 3 doesn't divide the 4 heads",
  ],
  ["heads of odd size", "qwen3", { head_dim: 12 }, "head_dim 12 is no multiple of 8"],
  ["fewer kinds than layers", "qwen3", { layer_types: ["full_attention"] }, "layer_types is not a list of 3"],
  [
    "an unknown kind of layer",
    "gemma3",
    { layer_types: ["full_attention", "full_attention", "linear_attention"] },
    "each one of full_attention, sliding_attention",
  ],
  [
    "stretched positions of old files",
    "qwen3",
    { rope_parameters: null, rope_scaling: { type: "longrope", factor: 4 } },
    "rope_scaling: rope_type longrope is not supported",
  ],
  [
    "a kind's positions",
    "gemma3",
    { rope_parameters: { sliding_attention: { rope_type: "linear", factor: 0 } } },
    "rope_parameters.sliding_attention: factor is not a number from 0.001 to 1000000",
  ],
  ["capped attention", "gemma3", { attn_logit_softcapping: 50 }, "attn_logit_softcapping is not supported"],
  ["a bias that is missing", "qwen3", { attention_bias: true }, "no tensor layers.0.self_attn.q_proj.bias"],
])("refuses a decoder with %s", async (_, name, edit, message) => {
  rmSync(join(folder, "model"), { recursive: true });
  linkCheckpoint(join(folder, "model"), name, name === "qwen3" ? "lasttoken" : "mean");
  change("config.json", (json) => ({ ...json, ...edit }));
  const error = await open().catch((caught: unknown) => caught);
  expect(error).toMatchObject({ kind: "model_unavailable", message: expect.stringContaining(message) });
});

it("refuses a folder without weights, and one without anything", async () => {
  rmSync(join(folder, "model", "model.safetensors"));
  await expect(open()).rejects.toThrow("model.safetensors is missing");
  await expect(open({ path: join(folder, "nothing") })).rejects.toThrow("config.json is missing");
});

it("refuses a context that the model doesn't have", async () => {
  await expect(open({ contextLength: 41 })).rejects.toThrow("n_ctx 41 is above the model's maximum 40");
});
