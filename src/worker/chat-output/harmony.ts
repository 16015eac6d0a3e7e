import type { Reading } from "./events.ts";
import { peek, type Source, take, takeTo, takeUntil } from "./source.ts";

/** Where the prompt of an answer ends. */
export const messageStart = "<|start|>assistant";

/** The control tokens that a message is made of. */
export const harmonyTokens = [
  "<|start|>",
  "<|channel|>",
  "<|constrain|>",
  "<|message|>",
  "<|end|>",
  "<|call|>",
  "<|return|>",
] as const;

const bodyEnds = ["<|end|>", "<|call|>", "<|return|>", "<|start|>"];

/**
 * gpt-oss' harmony format: messages with a header that names the channel and,
 * for a call, the tool: `<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>`.
 * The channel `analysis` is what it thinks; all that is said to nobody else is
 * the answer. (openai/harmony, docs/format.md)
 */
export function* readHarmony(source: Source): Reading<void> {
  while ((yield* peek(source)) !== "") {
    source.taken = "";
    const header = yield* takeTo(source, "<|message|>");
    const taken = source.taken;
    source.taken = undefined;
    if (header === undefined) {
      const begun = `${taken}${source.text}`;
      take(source, source.text.length);
      const tool = /\bto=(?:functions\.)?([^\s<]+)[\s<]/.exec(begun)?.[1];
      if (source.missing && begun.startsWith("<|")) {
        if (tool !== undefined) yield { type: "call", name: tool };
        return;
      }
      // No header, so no harmony: it is the answer as it stands.
      const text = begun.replace(/^<\|start\|>assistant/, "");
      if (text.trim() !== "" && !text.startsWith("<|")) yield { type: "content", text, from: source.at - text.length };
      return;
    }
    const tool = /\bto=(?:functions\.)?([^\s<]+)/.exec(header)?.[1];
    const analysis = /<\|channel\|>\s*analysis/.test(header);
    if (tool !== undefined) yield { type: "call", name: tool };
    const type = tool !== undefined ? "arguments" : analysis ? "reasoning" : "content";
    const { space, spaceFrom } = yield* takeUntil(source, bodyEnds, (text, from) =>
      type === "content" ? { type, text, from } : { type, text },
    );
    if (space !== "" && type === "content") yield { type, text: space, from: spaceFrom };
  }
}
