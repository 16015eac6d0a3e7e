import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { expect, it } from "vitest";
import { startWithEncoders } from "./support/running-encoders.ts";

it("a model of int8 answers beside that of float32, its weights kept in LOQUI_HOME", async () => {
  const home = mkdtempSync(join(tmpdir(), "loqui-home-"));
  try {
    const model = { encoder: "bert", layout: "mean" };
    await using server = await startWithEncoders(
      { float32: model, int8: { ...model, parameters: { quantization: "int8" } } },
      { LOQUI_HOME: home },
    );
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
    const embed = async (id: string) =>
      (await client.embeddings.create({ model: id, input: "Hello, world!" })).data[0]?.embedding ?? [];
    const [float32, int8] = [await embed("float32"), await embed("int8")];
    expect(int8).not.toEqual(float32);
    // Both have the length 1.
    expect(int8.reduce((sum, value, at) => sum + value * (float32[at] ?? 0), 0)).toBeGreaterThan(0.999);
    const kept = readdirSync(join(home, "cache", "int8"), { recursive: true }).map(String);
    expect(kept.filter((name) => name.endsWith(".safetensors"))).toHaveLength(1);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
