import { describe, expect, it } from "vitest";
import { writeScriptedModel } from "../../support/scripted-model.ts";
import { generate, modelFolder, openEngine, textOf } from "./generate.ts";

const inFolder = modelFolder();
const bytes = (text: string) => Array.from(Buffer.from(text), (byte) => Uint8Array.of(byte));

describe.each(["byte-bpe", "sentencepiece"] as const)("text of a %s vocabulary", (tokenizer) => {
  const open = async (name: string, reply: (string | Uint8Array)[]) => {
    const path = inFolder(`${tokenizer}-${name}.gguf`);
    writeScriptedModel(path, { tokenizer, reply });
    const engine = await openEngine(path, { sequences: 1 });
    return { engine, tokens: await generate(engine, engine.tokenize("?", false), 50) };
  };

  it("holds a character back until its last byte", async () => {
    const { engine, tokens } = await open("emoji", ["Bird: ", ...bytes("🦜"), " ok"]);
    const decoder = engine.createTextDecoder();
    expect(tokens.map((token) => decoder.push(token))).toEqual(["Bird: ", "", "", "", "🦜", " ok"]);
    expect(decoder.flush()).toBe("");
  });

  it("keeps the spaces between words, the first one too", async () => {
    const { engine, tokens } = await open("spaces", [" Once", " upon", " a", "  time"]);
    expect(textOf(engine, tokens)).toBe(" Once upon a  time");
  });

  it("replaces what was never a character, once it is sure", async () => {
    const { engine, tokens } = await open("broken", [
      "a",
      Uint8Array.of(0xf0),
      Uint8Array.of(0x9f),
      "b",
      Uint8Array.of(0x80),
    ]);
    const decoder = engine.createTextDecoder();
    expect(tokens.map((token) => decoder.push(token))).toEqual(["a", "", "", "�b", "�"]);
    expect(decoder.flush()).toBe("");
  });

  it("gives up on an open character at the end", async () => {
    const { engine, tokens } = await open("open", ["x", ...bytes("é").slice(0, 1)]);
    const decoder = engine.createTextDecoder();
    expect(tokens.map((token) => decoder.push(token))).toEqual(["x", ""]);
    expect(decoder.flush()).toBe("�");
    expect(decoder.flush()).toBe("");
  });

  it("keeps a byte order mark", async () => {
    const { engine, tokens } = await open("bom", ["\ufeff!"]);
    expect(textOf(engine, tokens)).toBe("\ufeff!");
  });

  it("tokenizes and back", async () => {
    const { engine } = await open("round", ["x"]);
    for (const text of ["hello world", "naïve 🦜 日本語\n", "a  b", "<|im_end|>"]) {
      const decoded = textOf(engine, engine.tokenize(text, false));
      // SentencePiece begins a text with a space of its own.
      expect(decoded).toBe(tokenizer === "sentencepiece" ? ` ${text}` : text);
    }
  });

  it("gives control tokens no text unless asked to", async () => {
    const { engine } = await open("control", ["x"]);
    const tokens = engine.tokenize("<|im_start|>", true).subarray(-1);
    expect(textOf(engine, tokens)).toBe("");
    expect(textOf(engine, tokens, true)).toBe("<|im_start|>");
  });
});

it("splits a multi-byte character over pieces of several bytes", async () => {
  const path = inFolder("pieces.gguf");
  const [a, b] = [Buffer.from("日本").subarray(0, 4), Buffer.from("日本").subarray(4)];
  writeScriptedModel(path, { reply: [a, b] });
  const engine = await openEngine(path, { sequences: 1 });
  const decoder = engine.createTextDecoder();
  const tokens = await generate(engine, engine.tokenize("?", false), 5);
  expect(tokens.map((token) => decoder.push(token))).toEqual(["日", "本"]);
});
