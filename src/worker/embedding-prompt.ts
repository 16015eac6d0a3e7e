import type { TextEngine } from "../engines/text-engine.ts";
import { LoquiError } from "../errors.ts";

/** The three ways to choose what stands before a text; at most one of them is set. */
export interface PromptChoice {
  readonly inputType?: string | undefined;
  readonly promptName?: string | undefined;
  readonly instruction?: string | undefined;
}

/**
 * What providers call the parts that a text plays (Cohere, Voyage, Google,
 * Jina, NVIDIA), and models their prompts for them, in small letters with `_`
 * between words. The first name of each is ours.
 */
const parts: readonly (readonly string[])[] = [
  ["query", "search_query", "retrieval_query", "web_search_query"],
  ["document", "search_document", "retrieval_document", "passage", "retrieval_passage", "corpus"],
  ["similarity", "semantic_similarity", "text_matching", "sts"],
  ["classification"],
  ["clustering", "separation"],
];

/** Prompts that hold a task in words, which another can take the place of: of Qwen3 and E5, and of EmbeddingGemma. */
const templates: readonly RegExp[] = [/^(Instruct: ).*(\nQuery: ?)$/s, /^(task: ).*( \| query: ?)$/s];

/**
 * The text to put before each input. Throws `invalid_request` where the model
 * has no prompt of that name, `unsupported` where it takes no instruction.
 */
export function promptOf(choice: PromptChoice, engine: Pick<TextEngine, "prompts" | "defaultPrompt">): string {
  const { prompts, defaultPrompt } = engine;
  const { inputType, promptName, instruction } = choice;
  if (instruction !== undefined) return instructionPrompt(instruction, prompts);
  if (promptName !== undefined) return prompts.get(promptName) ?? unknownPrompt("prompt_name", promptName, prompts);
  if (inputType === undefined) return defaultPrompt === undefined ? "" : (prompts.get(defaultPrompt) ?? "");
  if (prompts.size === 0) return "";
  return partPrompt(inputType, prompts) ?? unknownPrompt("input_type", inputType, prompts);
}

function partPrompt(inputType: string, prompts: ReadonlyMap<string, string>): string | undefined {
  const exact = prompts.get(inputType);
  if (exact !== undefined) return exact;
  const wanted = plain(inputType);
  const names = parts.find((part) => part.includes(wanted)) ?? [wanted];
  const found = [...prompts].find(([name]) => names.includes(plain(name)));
  if (found !== undefined) return found[1];
  // Models that put a prompt before queries only name no other.
  const isDocument = names.includes("document");
  return isDocument && partPrompt("query", prompts) !== undefined ? "" : undefined;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, "_");
}

function instructionPrompt(instruction: string, prompts: ReadonlyMap<string, string>): string {
  for (const prompt of prompts.values()) {
    for (const template of templates) {
      const [, before, after] = template.exec(prompt) ?? [];
      if (before !== undefined && after !== undefined) return before + instruction + after;
    }
  }
  const message = "instruction: the model has no template for instructions";
  throw new LoquiError("unsupported", message, { param: "instruction" });
}

function unknownPrompt(param: string, value: string, prompts: ReadonlyMap<string, string>): never {
  const known = prompts.size === 0 ? "it has none" : `it has ${[...prompts.keys()].join(", ")}`;
  throw new LoquiError("invalid_request", `${param}: the model has no prompt ${value}, ${known}`, { param });
}
