import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openCheckpoint } from "../../../src/engines/onnx/checkpoint.ts";
import { findTensors, readTensor } from "../../../src/engines/onnx/safetensors.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "loqui-safetensors-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(header: unknown, dataBytes = 16, announced?: bigint): Buffer {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(announced ?? BigInt(text.length));
  return Buffer.concat([length, text, Buffer.from(Array.from({ length: dataBytes }, (_, at) => at))]);
}

function tensor(dtype: string, shape: unknown, offsets: unknown) {
  return { w: { dtype, shape, data_offsets: offsets } };
}

it("finds tensors and reads their bytes, behind links too", async () => {
  mkdirSync(join(folder, "blobs"));
  const header = {
    __metadata__: { format: "pt" },
    a: tensor("F32", [2], [0, 8]).w,
    b: tensor("BF16", [2, 2], [8, 16]).w,
  };
  writeFileSync(join(folder, "blobs", "0123"), file(header));
  mkdirSync(join(folder, "snapshot"));
  symlinkSync("../blobs/0123", join(folder, "snapshot", "model.safetensors"));
  const tensors = await findTensors(openCheckpoint(join(folder, "snapshot")));
  const b = tensors.get("b");
  expect([...tensors.keys()]).toEqual(["a", "b"]);
  expect(b).toMatchObject({ type: "BF16", shape: [2, 2], bytes: 8, file: expect.stringMatching(/blobs\/0123$/) });
  expect(b && [...(await readTensor(b))]).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
});

it("takes the tensors of each shard that the index names", async () => {
  writeFileSync(
    join(folder, "one.safetensors"),
    file({ a: tensor("F32", [2], [0, 8]).w, b: tensor("F32", [2], [8, 16]).w }),
  );
  writeFileSync(join(folder, "two.safetensors"), file({ b: tensor("F16", [2], [0, 4]).w }));
  const index = { weight_map: { a: "one.safetensors", b: "two.safetensors" } };
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  const tensors = await findTensors(openCheckpoint(folder));
  expect([...tensors].map(([name, { type }]) => [name, type])).toEqual([
    ["a", "F32"],
    ["b", "F16"],
  ]);
});

it.each([
  ["nothing", Buffer.alloc(0), "model.safetensors is cut off"],
  ["no header", file({}, 0, 1_000n), "its header can't have 1000 bytes"],
  ["a header beyond the format's maximum", file({}, 0, 2n ** 63n), "its header can't have 9223372036854776000 bytes"],
  ["no JSON", file("{"), "the header of model.safetensors is not JSON"],
  ["a list", file([]), "the header of model.safetensors is not an object"],
  ["a tensor that is none", file({ w: 1 }), "model.safetensors: w is not an object"],
  ["no shape", file(tensor("F32", undefined, [0, 8])), "shape is not a list"],
  ["a fraction in the shape", file(tensor("F32", [1.5], [0, 6])), "shape is not a list of at most 8 whole numbers"],
  ["a negative length", file(tensor("F32", [-2, -1], [0, 8])), "shape is not a list"],
  ["a shape that overflows", file(tensor("F32", [2 ** 52, 2 ** 52], [0, 16])), "its bytes are not where it says"],
  ["nine dimensions", file(tensor("F32", Array(9).fill(1), [0, 4])), "shape is not a list of at most 8"],
  ["offsets beyond the file", file(tensor("F32", [4], [8, 24])), "its bytes are not where it says"],
  ["offsets before the data", file(tensor("F32", [2], [-8, 0])), "data_offsets is not a list"],
  ["offsets backwards", file(tensor("F32", [2], [8, 0])), "its bytes are not where it says"],
  ["one offset", file(tensor("F32", [2], [8])), "w has no data_offsets"],
  ["too few bytes", file(tensor("F32", [4], [0, 8])), "its bytes are not where it says"],
])("refuses a file with %s", async (_, bytes, message) => {
  writeFileSync(join(folder, "model.safetensors"), bytes);
  const error = await findTensors(openCheckpoint(folder)).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ kind: "model_unavailable", message: expect.stringContaining(message) });
});

it.each([
  [{ weight_map: { a: "../../etc/passwd" } }, 'the file name "../../etc/passwd" leads out of the folder'],
  [{ weight_map: { a: "/etc/passwd" } }, 'the file name "/etc/passwd" leads out of the folder'],
  [{ weight_map: { a: "gone.safetensors" } }, "gone.safetensors is missing"],
  [{ weight_map: { a: 1 } }, "weight_map: a is not a text"],
  [{}, "weight_map is not an object"],
])("refuses the index %j", async (index, message) => {
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  const error = await findTensors(openCheckpoint(folder)).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ kind: "model_unavailable", message: expect.stringContaining(message) });
});
