import { isUtf8 } from "node:buffer";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ChatTokenLogprobSchema, CompletionLogprobsSchema } from "../../gen/loqui/v1/chat_pb.ts";
import type { TokenEngine, TokenLogprob, TokenLogprobs } from "../engines/token-engine.ts";
import { LoquiError } from "../errors.ts";

/** A token by its bytes. Its log-probability is finite: −9999 where it is impossible, as OpenAI has it. */
export interface NamedLogprob {
  readonly bytes: Uint8Array;
  readonly logprob: number;
}

/** A token of a text, among the likeliest at its place. */
export interface TrailEntry extends NamedLogprob {
  readonly top: readonly NamedLogprob[];
  /** Where its text begins, in characters (code points) from the beginning. */
  readonly at: number;
}

/**
 * Keeps the log-probabilities of a choice's tokens until their text goes out,
 * which may be later: an open character, a possible stop string and a possible
 * tool call are held back.
 */
export interface TokenTrail {
  /**
   * The next token, and the text that became complete with it. A token without
   * log-probabilities, which was forced, leaves no entry.
   */
  push(token: number, logprobs: TokenLogprobs | undefined, text: string): void;
  /** Text that became complete at the end. */
  end(text: string): void;
  /**
   * Takes the tokens that make the text between two places, in UTF-16 units from
   * the beginning, and drops those before. Each comes once, with the first of its
   * text that goes out; at an edge its text may reach over it.
   */
  take(from: number, to: number): TrailEntry[];
  /** Drops the tokens of the text before a place: nothing of it goes out any more. */
  drop(to: number): void;
  /** Tokens that are kept. */
  readonly length: number;
}

/** Tokens whose text became complete together: often one, of a character in pieces several. */
interface Group {
  readonly tokens: readonly { readonly logprobs: TokenLogprobs; readonly at: number }[];
  readonly from: number;
  readonly to: number;
}

export function createTokenTrail(engine: Pick<TokenEngine, "tokenBytes">): TokenTrail {
  const groups: Group[] = [];
  let open: { logprobs: TokenLogprobs; at: number }[] = [];
  let length = 0;
  let characters = 0;

  const name = namingOf(engine);

  function close(text: string): void {
    if (text === "") return;
    groups.push({ tokens: open, from: length, to: length + text.length });
    open = [];
    length += text.length;
    characters += charactersOf(text);
  }

  return {
    push(token, logprobs, text) {
      // What makes no text and opens no character is a control token that isn't shown.
      const isShown = text !== "" || !isUtf8(engine.tokenBytes(token));
      if (isShown && logprobs !== undefined) open.push({ logprobs, at: characters });
      close(text);
    },
    end: close,
    take(from, to) {
      const taken: TrailEntry[] = [];
      for (let group = groups[0]; group !== undefined && group.from < to; group = groups[0]) {
        groups.shift();
        if (group.to <= from) continue;
        for (const { logprobs, at } of group.tokens) {
          taken.push({ ...entryOf(logprobs, name), at });
        }
      }
      return taken;
    },
    drop(to) {
      const kept = groups.findIndex((group) => group.to > to);
      groups.splice(0, kept === -1 ? groups.length : kept);
    },
    get length() {
      return groups.reduce((sum, { tokens }) => sum + tokens.length, open.length);
    },
  };
}

/** Names tokens by their bytes. */
type Naming = (token: TokenLogprob) => NamedLogprob;

function namingOf(engine: Pick<TokenEngine, "tokenBytes">): Naming {
  return ({ token, logprob }) => ({
    bytes: engine.tokenBytes(token),
    // JSON has no infinities.
    logprob: Math.max(logprob, -9999),
  });
}

function entryOf(logprobs: TokenLogprobs, name: Naming): Omit<TrailEntry, "at"> {
  return { ...name(logprobs), top: logprobs.top.map(name) };
}

/** A token of a prompt. The first has no log-probabilities: nothing is before it. */
export type PromptEntry = Pick<TrailEntry, "bytes" | "at"> & Partial<TrailEntry>;

/**
 * The tokens of a prompt as they stand in its text. `logprobs` has those of all
 * but the first. The text may lack what the tokens begin with: a
 * beginning-of-sequence token and a space that the tokenizer puts there.
 */
export function promptEntries(
  prompt: { readonly text: string; readonly tokens: Uint32Array },
  logprobs: readonly TokenLogprobs[],
  engine: Pick<TokenEngine, "tokenBytes" | "createTextDecoder">,
): PromptEntry[] {
  const name = namingOf(engine);
  const decoder = engine.createTextDecoder(true);
  let length = 0;
  const entries = Array.from(prompt.tokens, (token, index): PromptEntry => {
    const at = length;
    length += charactersOf(decoder.push(token));
    const known = index === 0 ? undefined : logprobs[index - 1];
    return { bytes: engine.tokenBytes(token), at, ...(known !== undefined && entryOf(known, name)) };
  });
  const added = length + charactersOf(decoder.flush()) - charactersOf(prompt.text);
  return entries.map((entry) => ({ ...entry, at: Math.max(0, entry.at - added) }));
}

/**
 * Log-probabilities that are held for one answer, those of the likeliest tokens
 * counted too: all of one that is not streamed, and those of echoed prompts.
 * While the answer is encoded each takes some 450 bytes.
 */
const maxHeld = 500_000;

/** Throws `invalid_request` for more log-probabilities of an answer than are held; `how` it may have as many. */
export function checkHeldLogprobs(held: number, param: string, how: string): void {
  if (held <= maxHeld) return;
  const message = `${param}: the answer has more than ${maxHeld} log-probabilities; ${how}`;
  throw new LoquiError("invalid_request", message, { param, code: "limit_exceeded" });
}

/** Unicode code points, as Python counts. */
export function charactersOf(text: string): number {
  let characters = 0;
  for (const _ of text) characters += 1;
  return characters;
}

/** Entries as completions have them: lists of one length. */
export function completionLogprobs(entries: readonly PromptEntry[]): MessageInitShape<typeof CompletionLogprobsSchema> {
  return {
    tokens: entries.map(({ bytes }) => labelOf(bytes)),
    tokenLogprobs: entries.map(({ logprob }) => (logprob === undefined ? {} : { logprob })),
    topLogprobs: entries.map(({ bytes, logprob, top = [] }) => {
      if (logprob === undefined) return {};
      const byLabel = new Map<string, number>();
      // The token itself is there too. Of two with the same text the likelier stays.
      for (const other of [...top, { bytes, logprob }]) {
        const label = labelOf(other.bytes);
        if (!byLabel.has(label)) byLabel.set(label, other.logprob);
      }
      return { logprobs: { logprobs: Object.fromEntries(byLabel) } };
    }),
    textOffset: entries.map(({ at }) => at),
  };
}

/** A token's text; of one that is no whole characters OpenAI's `bytes:\xf0\x9f`. */
function labelOf(bytes: Uint8Array): string {
  if (isUtf8(bytes)) return Buffer.from(bytes).toString();
  const escaped = Array.from(bytes, (byte) =>
    byte < 0x20 || byte > 0x7e ? `\\x${byte.toString(16).padStart(2, "0")}` : String.fromCharCode(byte),
  );
  return `bytes:${escaped.join("")}`;
}

/** Entries as chat has them. */
export function chatLogprobs(entries: readonly TrailEntry[]): MessageInitShape<typeof ChatTokenLogprobSchema>[] {
  const inChat = ({ bytes, logprob }: NamedLogprob) => ({
    token: Buffer.from(bytes).toString(),
    logprob,
    bytes: Array.from(bytes),
  });
  return entries.map((entry) => ({ ...inChat(entry), topLogprobs: entry.top.map(inChat) }));
}
