import { expect, it } from "vitest";
import { nearestNames } from "../../src/gateway/nearest-names.ts";

const known = ["loqui/tiny-chat", "loqui/tiny-embed", "Qwen/Qwen3-4B-Instruct-2507", "llama3.1:latest"];

it.each([
  ["loqui/tiny-chta", ["loqui/tiny-chat", "loqui/tiny-embed"]],
  ["tiny-chat", ["loqui/tiny-chat"]],
  ["LOQUI/TINY-CHAT", ["loqui/tiny-chat", "loqui/tiny-embed"]],
  ["qwen3-4b-instruct", ["Qwen/Qwen3-4B-Instruct-2507"]],
  ["llama3.1", ["llama3.1:latest"]],
  ["tiny", ["loqui/tiny-chat", "loqui/tiny-embed"]],
  ["gpt-4o", []],
  ["", []],
])("for %j suggests %j", (name, expected) => {
  expect(nearestNames(name, known)).toEqual(expected);
});

it("looks at no more than 512 characters", () => {
  expect(nearestNames("x".repeat(10_000_000), known)).toEqual([]);
});
