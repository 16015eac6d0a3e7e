import { readFileSync } from "node:fs";
import { join } from "node:path";
import { onnxFixtures } from "./onnx-models.ts";

/** Made by test/engines/onnx/reference/make.py. */
export const texts = JSON.parse(readFileSync(join(onnxFixtures, "texts.json"), "utf8")) as string[];
export const bert = JSON.parse(readFileSync(join(onnxFixtures, "bert/reference.json"), "utf8"));
export const { width } = bert.layouts.mean;
/** Of the vectors, float32 one after the other. */
export const bytes = Buffer.from(bert.layouts.mean.vectors, "base64");

/** The reference's vector of a text, its first numbers scaled to length 1. */
export function expected(index: number, dimensions = width): number[] {
  const vector = Array.from({ length: dimensions }, (_, at) => bytes.readFloatLE(4 * (index * width + at)));
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}
