import { join } from "node:path";
import { writeScriptedModel } from "../support/scripted-model.ts";

/** The exact reply of the model `hello`, as every client must see it. */
export const helloReply = "Hello, this is a scripted reply 👋.";

/**
 * Writes the models that the clients talk to and returns their paths:
 * `hello` says {@link helloReply}, `endless` never stops by itself, `small`
 * has a context of 64 tokens.
 */
export function writeInteropModels(folder: string): string[] {
  const pieces = ["Hello", ", ", "this ", "is ", "a ", "scripted ", "reply ", Uint8Array.of(0xf0, 0x9f), Uint8Array.of(0x91, 0x8b), "."];
  const scripts = {
    hello: { reply: pieces },
    endless: { reply: ["on ", "and ", "off "], loop: true, contextLength: 8192 },
    small: { reply: pieces, contextLength: 64 },
  };
  return Object.entries(scripts).map(([name, script]) => {
    const path = join(folder, `${name}.gguf`);
    writeScriptedModel(path, script);
    return path;
  });
}
