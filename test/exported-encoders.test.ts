import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { expect, it } from "vitest";
import { stringify } from "yaml";
import { readSettings } from "../src/config/settings.ts";
import { startLoqui } from "../src/loqui.ts";
import { linkCheckpoint, onnxFixtures } from "./support/onnx-models.ts";

it("exports that can't be used are models that are unavailable, beside those that answer", async () => {
  const folder = mkdtempSync(join(tmpdir(), "loqui-exports-"));
  const ids = ["chosen", "cut", "alone"];
  for (const id of ids) {
    linkCheckpoint(join(folder, id), "bert", "mean");
    if (id !== "chosen") rmSync(join(folder, id, "model.safetensors"));
    mkdirSync(join(folder, id, "onnx"));
    cpSync(join(onnxFixtures, "exports", "bert", "model.onnx"), join(folder, id, "onnx", "model.onnx"));
  }
  const whole = readFileSync(join(folder, "cut", "onnx", "model.onnx"));
  writeFileSync(join(folder, "cut", "onnx", "model.onnx"), whole.subarray(0, 50_000));
  const models = ids.map((id) => ({
    id,
    type: "embedding",
    engine: "onnxruntime",
    source: { path: id, ...(id === "chosen" && { file: "onnx/model.onnx" }) },
    parameters: { threads: 1 },
  }));
  writeFileSync(join(folder, "models.yaml"), stringify({ models }));
  const loqui = await startLoqui(
    readSettings({ PORT: "0", LOQUI_LOG_LEVEL: "silent", LOQUI_DRAIN_SECONDS: "1" }, {}, folder),
  );
  try {
    const client = new OpenAI({ baseURL: `${loqui.url}/v1`, apiKey: "none", maxRetries: 0 });
    const embed = async (model: string) => (await client.embeddings.create({ model, input: "Hello, world!" })).data;
    const [chosen] = await embed("chosen");
    const [alone] = await embed("alone");
    expect(alone).toEqual(chosen);
    expect(alone?.embedding).toHaveLength(16);
    await expect(embed("cut")).rejects.toMatchObject({
      status: 503,
      code: "model_unavailable",
      message: expect.stringContaining("onnx/model.onnx is cut off or no ONNX model"),
    });
    expect(await embed("alone")).toEqual([chosen]);
  } finally {
    await loqui.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
