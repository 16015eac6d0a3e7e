import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A text that make-models.py has drawn. */
export interface BenchText {
  readonly text: string;
  /** In the model's tokenizer, the special ones included. */
  readonly tokens: number;
}

/** The texts of a model's folder. */
export function readTexts(model: string): BenchText[] {
  return JSON.parse(readFileSync(join(model, "texts.json"), "utf8")) as BenchText[];
}
