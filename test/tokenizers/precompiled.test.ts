import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createPrecompiledNormalizer } from "../../src/tokenizers/precompiled.ts";

/** Made by test/engines/onnx/reference/charsmap.py; LOQUI_TEST_CHARSMAP is the path of another that it wrote. */
const path = process.env.LOQUI_TEST_CHARSMAP ?? join(import.meta.dirname, "fixtures/charsmap.json");
const { charsmap, cases } = JSON.parse(readFileSync(path, "utf8")) as {
  readonly charsmap: string;
  readonly cases: readonly (readonly [text: string, normalized: string])[];
};

it("makes of texts what Hugging Face's tokenizers do", () => {
  const normalize = createPrecompiledNormalizer(charsmap);
  expect(cases.map(([text]) => [text, normalize(text)]).filter((found, at) => found[1] !== cases[at]?.[1])).toEqual([]);
});

it.each([
  ["nothing", Buffer.alloc(0)],
  ["no trie", Buffer.from([0, 0, 0, 0])],
  ["a trie beyond its end", Buffer.from([255, 255, 255, 127, 1, 2, 3, 4])],
  ["a trie of odd length", Buffer.from([5, 0, 0, 0, 1, 2, 3, 4, 5])],
])("refuses %s", (_, bytes) => {
  expect(() => createPrecompiledNormalizer(bytes.toString("base64"))).toThrow(RangeError);
});

it("leaves a text as it is where the table is nonsense", () => {
  const wild = Buffer.alloc(4 + 4096, 0xff);
  wild.writeUInt32LE(4096);
  expect(createPrecompiledNormalizer(wild.toString("base64"))("any text é\u0301")).toBe("any text é\u0301");
});
