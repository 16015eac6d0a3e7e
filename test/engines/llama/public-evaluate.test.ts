import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { tinyShape, writeRandomModel } from "../../support/gguf-random-model.ts";
import { generate, modelFolder, openEngine } from "./generate.ts";

const inFolder = modelFolder();

it("generates token for token what node-llama-cpp's public API does", async () => {
  const path = inFolder("random.gguf");
  writeRandomModel(path, { ...tinyShape, layers: 4, seed: 5 });
  const prompts = ["hello world", "<|im_start|>user\nthe quick brown fox<|im_end|>\n<|im_start|>assistant\n", "x"];
  const script = join(import.meta.dirname, "public-evaluate.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [script, path, "24", ...prompts]);

  const engine = await openEngine(path, { sequences: 2 });
  const replies: number[][] = [];
  for (const prompt of prompts) replies.push(await generate(engine, engine.tokenize(prompt, true), 24));
  expect(replies).toEqual(JSON.parse(stdout));
});
