import { setImmediate } from "node:timers/promises";
import type { CreateCompletionRequest } from "../../gen/loqui/v1/chat_pb.ts";
import type { TokenEngine } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";
import { tokenizeInTurns } from "./loop-turns.ts";
import { checkPromptFits, checkTextFits, checkTokenIds } from "./prompt-tokens.ts";

/** What a completion goes on from. */
export interface CompletionPrompt {
  /** The prompt as the request has it, for `echo`. */
  readonly text: string;
  readonly tokens: Uint32Array;
}

/** A prompt as it stands in a request, and where. */
interface GivenPrompt {
  readonly param: string;
  readonly given: string | readonly number[];
}

/**
 * The prompts of a request, in order. A text begins as the model wants it, and
 * the names of control tokens in it become those tokens; token ids are taken as
 * they are. With `suffix` all of it is text to the model: prefix and suffix stand
 * between the model's own tokens for that. Tokenizing takes the event loop: it
 * turns between two prompts, and within a long one. Throws `invalid_request`, `unsupported` and
 * `context_too_long`, naming the place.
 */
export async function completionPrompts(
  request: CreateCompletionRequest,
  engine: TokenEngine,
  signal: AbortSignal,
): Promise<CompletionPrompt[]> {
  const prompts: CompletionPrompt[] = [];
  for (const { param, given } of givenPrompts(request)) {
    if (prompts.length > 0) await setImmediate();
    signal.throwIfAborted();
    const tokens = await tokensOf(given, param, request.suffix, engine, signal);
    if (tokens.length === 0) throw new LoquiError("invalid_request", `${param} has no tokens`, { param });
    checkPromptFits(tokens.length, engine.contextLength, param);
    const text = typeof given === "string" ? given : echoed(given, request, engine);
    prompts.push({ text, tokens });
  }
  return prompts;
}

function givenPrompts({ prompt }: CreateCompletionRequest): GivenPrompt[] {
  const each = (list: readonly (string | readonly number[])[]) =>
    list.map((given, index) => ({ param: `prompt[${index}]`, given }));
  switch (prompt.case) {
    case "promptText":
      return [{ param: "prompt", given: prompt.value }];
    case "promptTexts":
      return each(prompt.value.texts);
    case "promptTokens":
      return [{ param: "prompt", given: prompt.value.ids }];
    case "promptTokenLists":
      return each(prompt.value.lists.map(({ ids }) => ids));
    case undefined:
      return [];
    default:
      return prompt satisfies never;
  }
}

async function tokensOf(
  given: string | readonly number[],
  param: string,
  suffix: string | undefined,
  engine: TokenEngine,
  signal: AbortSignal,
): Promise<Uint32Array> {
  const { info, contextLength } = engine;
  if (typeof given === "string") {
    checkTextFits(given, engine, param);
  } else {
    checkPromptFits(given.length, contextLength, param);
    checkTokenIds(given, info.vocabularySize, param);
  }
  // What `addSpecial` puts at the end would end the completion before it began.
  const start = info.addBos ? engine.tokenize("", false, true).subarray(0, 1) : new Uint32Array(0);
  if (suffix === undefined) {
    if (typeof given !== "string") return Uint32Array.from(given);
    const tokens = await tokenizeInTurns(engine, given, true, signal);
    // A text may bring it along.
    return tokens[0] === start[0] ? tokens : Uint32Array.from([...start, ...tokens]);
  }
  const { fillIn } = info;
  if (fillIn === undefined) {
    const message = "`suffix` is not supported by this model: it has no tokens for filling in the middle";
    throw new LoquiError("unsupported", message, { param: "suffix" });
  }
  checkTextFits(suffix, engine, "suffix");
  // llama-server's order (tools/server/server-common.cpp, `format_prompt_infill`).
  const prefix = typeof given === "string" ? await tokenizeInTurns(engine, given, false, signal) : given;
  const after = await tokenizeInTurns(engine, suffix, false, signal);
  return Uint32Array.from([...start, fillIn.prefix, ...prefix, fillIn.suffix, ...after, fillIn.middle]);
}

function echoed(tokens: readonly number[], { echo }: CreateCompletionRequest, engine: TokenEngine): string {
  return echo === true ? engine.detokenize(Uint32Array.from(tokens)) : "";
}
