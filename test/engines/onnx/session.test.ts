import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openOnnxEngine } from "../../../src/engines/onnx/onnx-engine.ts";
import { openSession } from "../../../src/engines/onnx/session.ts";
import { linkCheckpoint } from "../../support/onnx-models.ts";

it("a model that ONNX Runtime refuses is an error, not the end of the process", async () => {
  const options = { folder: tmpdir(), threads: 1, positions: { first: 0 }, pooling: ["mean"] as const };
  await expect(openSession({ ...options, model: Uint8Array.of(1, 2, 3) })).rejects.toMatchObject({
    kind: "model_unavailable",
    message: "the model's files can't be used: ONNX Runtime refuses the model; the log says why",
    cause: expect.objectContaining({ message: expect.stringMatching(/protobuf|model/i) }),
  });
});

it("a batch that the runtime refuses fails alone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "loqui-onnx-"));
  try {
    await using engine = await openOnnxEngine({
      path: linkCheckpoint(join(folder, "model"), "bert", "mean"),
      threads: 1,
    });
    const right = Uint32Array.of(2, 7, 3);
    // Beyond the vocabulary, which callers are to check.
    await expect(engine.embed([Uint32Array.of(2, 100_000, 3)])).rejects.toThrow(
      /ONNX Runtime: .*indices element out of data bounds/s,
    );
    expect((await engine.embed([right])).length).toBe(16);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
